"""Datasets by name: the table, and how to fetch one completely and check it."""
