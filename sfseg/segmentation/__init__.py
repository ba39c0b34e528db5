"""Cells from membrane maps: superpixels, a graph of their contacts, and its cut."""
