"""Zarr and OME-Zarr: the store, the reader, the writer."""
