"""Read and write image files: stacks, labels and pictures.

`open_stack` reads sections or windows of a TIFF, an MRC, a folder or pattern of images, an
OME-Zarr, an array ``file.h5:/path/in/file``, or other formats. `write_stack` writes TIFF, MRC or
OME-Zarr.
"""

from sfseg.io.arguments import as_path, as_stack_array
from sfseg.io.canvas import Canvas
from sfseg.io.folders import container, list_files
from sfseg.io.formats import (
    STACK_SUFFIXES,
    create_canvas,
    create_shared,
    reopen_canvas,
    require_writable,
    shard_px,
    writing_ticket,
)
from sfseg.io.hashing import hash_input, stamp_input
from sfseg.io.labels import read_labels
from sfseg.io.mrc.reader import has_rows_from_below
from sfseg.io.open import open_array, open_stack
from sfseg.io.pictures import write_picture
from sfseg.io.stack import Stack, require_finite
from sfseg.io.write import write_sections, write_stack

__all__ = [
    "STACK_SUFFIXES",
    "Canvas",
    "Stack",
    "as_path",
    "as_stack_array",
    "container",
    "create_canvas",
    "create_shared",
    "has_rows_from_below",
    "hash_input",
    "list_files",
    "open_array",
    "open_stack",
    "read_labels",
    "reopen_canvas",
    "require_finite",
    "require_writable",
    "shard_px",
    "stamp_input",
    "write_picture",
    "write_sections",
    "write_stack",
    "writing_ticket",
]
