"""MRC files, in and out."""
