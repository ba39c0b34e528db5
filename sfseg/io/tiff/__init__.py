"""TIFF: checks before any pixel is read, the reader, the writer."""
