"""The machine: files that are whole or not there, locks, devices, processes."""
