"""Architectures compared under one recipe."""
