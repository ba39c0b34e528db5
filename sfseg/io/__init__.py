"""Stacks in, stacks out: the only door to image files.

`open_stack` reads, by sections or windows of them, a TIFF, a folder or pattern of numbered images,
a single PNG, JPEG or TIFF, an OME-Zarr, or an array ``file.h5:/path/in/file`` or
``store.zarr:/path/in/store``. `hash_input` tells one input from another. `read_labels` turns
labels of any polarity into 255 = interior, 0 = membrane. `write_stack` writes a TIFF as its
sections come. The voxel size is carried from the input's metadata to the output's.
"""

from sfseg.io.arguments import as_path, as_stack_array
from sfseg.io.canvas import Canvas
from sfseg.io.folders import container, list_files
from sfseg.io.hashing import hash_input
from sfseg.io.labels import read_labels
from sfseg.io.open import open_array, open_stack
from sfseg.io.stack import Stack, require_finite
from sfseg.io.write import create_canvas, reopen_canvas, write_sections, write_stack

__all__ = [
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
    "write_sections",
    "write_stack",
]
