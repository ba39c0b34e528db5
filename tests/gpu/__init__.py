"""Everything that is measured on a machine with a GPU: ``python -m tests.gpu FOLDER``."""
