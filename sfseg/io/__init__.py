"""Read and write image files: stacks, labels and pictures.

`open_stack` reads sections or windows of a TIFF, a folder or pattern of images, a PNG or JPEG, an
OME-Zarr, or an array ``file.h5:/path/in/file``. `write_stack` writes TIFF or OME-Zarr.
"""

from sfseg.io.arguments import as_path, as_stack_array
from sfseg.io.canvas import Canvas
from sfseg.io.folders import container, list_files
from sfseg.io.hashing import hash_input
from sfseg.io.labels import read_labels
from sfseg.io.open import open_array, open_stack
from sfseg.io.pictures import write_picture
from sfseg.io.stack import Stack, require_finite
from sfseg.io.write import (
    STACK_SUFFIXES,
    create_canvas,
    reopen_canvas,
    require_writable,
    write_sections,
    write_stack,
)

__all__ = [
    "STACK_SUFFIXES",
    "Canvas",
    "Stack",
    "as_path",
    "as_stack_array",
    "container",
    "create_canvas",
    "hash_input",
    "list_files",
    "open_array",
    "open_stack",
    "read_labels",
    "reopen_canvas",
    "require_finite",
    "require_writable",
    "write_picture",
    "write_sections",
    "write_stack",
]
