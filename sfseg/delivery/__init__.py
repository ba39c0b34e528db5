"""How a dataset arrives whole; `sfseg.fetch` is the verb that others import."""
