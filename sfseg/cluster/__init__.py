"""The work of many machines: the workers of a Dask cluster."""
