"""The machine: files that are written whole or not at all, locks, devices, processes."""
