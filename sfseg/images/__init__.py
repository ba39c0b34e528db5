"""Image files one kind at a time; `sfseg.io` is the door to them and what others import."""
