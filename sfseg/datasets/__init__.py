"""Datasets by name: the table of them, and how one arrives whole and verified."""
