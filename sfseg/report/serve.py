"""Stacks in Neuroglancer: a server on this machine, which reads what is looked at, and no more.

The server is that of the package `neuroglancer`, for one's own browser: it listens on 127.0.0.1,
and answers only to addresses with a random token. The viewer is in the package, too.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from sfseg.errors import MissingExtraError
from sfseg.report.layers import Layer, voxel_size_of
from sfseg.report.paint import span_of
from sfseg.report.sections import middle
from sfseg.types import AnyArray, Shape

ADDRESS = "127.0.0.1"
"""Loopback: other machines cannot connect."""

SAMPLE_PX = 512
"""Side of what is looked at to choose black and white."""

_GREY = """#uicontrol invlerp normalized(range=[{low:g}, {high:g}])
void main() {{ emitGrayscale(normalized()); }}
"""
_MEMBRANE = """#uicontrol float below slider(min=0, max=1, default=0.5)
void main() {{
  float p = toNormalized(getDataValue()) * {scale:.9f};
  emitRGBA(vec4(1.0, 0.48, 0.0, p < below ? 0.75 : 0.0));
}}
"""
"""Programs of the viewer, in GLSL."""


class LazyArray:
    """A stack as an array that Neuroglancer indexes: each box is read from the file.

    Parameters
    ----------
    layer : Layer
        An open stack.

    Attributes
    ----------
    shape : tuple of int
        (Z, Y, X).
    dtype : numpy.dtype
        Of the boxes; numbers of cells have no sign.
    """

    def __init__(self, layer: Layer) -> None:
        self._stack = layer.stack
        self.shape: Shape = layer.stack.shape
        self.dtype = layer.stack.dtype
        if layer.kind == "labels" and self.dtype.kind != "u":
            self.dtype = np.dtype(np.uint64 if self.dtype.itemsize == 8 else np.uint32)

    def __getitem__(self, box: tuple[slice, slice, slice]) -> AnyArray:
        """Read a box, shape (Z, Y, X)."""
        sections, rows, columns = (
            slice(*span.indices(length)[:2]) for span, length in zip(box, self.shape, strict=True)
        )
        found = np.empty([span.stop - span.start for span in (sections, rows, columns)], self.dtype)
        for place, index in enumerate(range(sections.start, sections.stop)):
            found[place] = self._stack.window(index, rows, columns)
        return found


class Neuroglancer:
    """A running server, stopped at the end of the block.

    Parameters
    ----------
    layers : sequence of Layer
        Open stacks of the same shape, the lowest first. They stay open while the server runs.

    Attributes
    ----------
    url : str
        The address of the viewer, with its token.

    Raises
    ------
    MissingExtraError
        If the extra is not installed.
    OSError
        If there is no free port.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        try:
            import neuroglancer
        except ImportError as error:
            raise MissingExtraError.from_extra("neuroglancer", "--neuroglancer") from error
        self._package: Any = neuroglancer
        neuroglancer.set_server_bind_address(ADDRESS)
        self._voxel_size_nm = voxel_size_of(layers)
        self._viewer: Any = neuroglancer.Viewer(allow_credentials=False)
        with self._viewer.txn() as state:
            state.dimensions = self._space("xyz")  # as one looks at it
            state.layout = "xy"
            for layer in layers:
                is_lowest = layer is layers[0]
                name = layer.stack.name if layer.name in state.layers else layer.name
                state.layers[name] = self._layer(layer, is_lowest=is_lowest)
        self.url: str = self._viewer.get_viewer_url()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._package.stop()

    def state(self) -> dict[str, Any]:
        """Return what the viewer shows, as JSON."""
        return dict(self._viewer.state.to_json())

    def _space(self, names: str) -> Any:
        """Describe the axes: nm, or sections and pixels where the voxel size is unknown.

        All stacks have the same, else the viewer would not lay them on each other.
        """
        voxel = self._voxel_size_nm
        sizes = dict(zip("zyx", voxel or (1, 1, 1), strict=True))
        if not np.isfinite(sizes["z"]):
            sizes["z"] = sizes["x"]  # unknown: then sections look as if they were pixels
        return self._package.CoordinateSpace(
            names=list(names),
            units="" if voxel is None else "nm",
            scales=[sizes[name] for name in names],
        )

    def _layer(self, layer: Layer, *, is_lowest: bool) -> Any:
        """Describe one stack to the viewer; the lowest one covers all."""
        is_labels = layer.kind == "labels"
        volume = self._package.LocalVolume(
            LazyArray(layer),
            dimensions=self._space("zyx"),
            volume_type="segmentation" if is_labels else "image",
            downsampling="2d",  # sections are thicker than pixels are wide
        )
        volume.get_object_mesh = self._refuse_mesh
        if is_labels:
            return self._package.SegmentationLayer(source=volume)
        shader = _shade(layer) if layer.kind == "image" or is_lowest else _shade_membrane(layer)
        return self._package.ImageLayer(source=volume, shader=shader, opacity=1)

    def _refuse_mesh(self, _: int) -> None:
        """Make no surface of a cell: that would read the whole stack into memory."""
        raise self._package.local_volume.MeshesNotSupportedForVolume


def _shade(layer: Layer) -> str:
    """Write the program that shows grey values: an image, or a map by itself."""
    low, high = 0.0, layer.largest
    if layer.kind == "image":
        low, high = span_of(layer, [middle(layer.stack, len(layer.stack) // 2, SAMPLE_PX)])
    return _GREY.format(low=low, high=high)


def _shade_membrane(layer: Layer) -> str:
    """Write the program that colours what is below a probability."""
    dtype = layer.stack.dtype
    full = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    return _MEMBRANE.format(scale=full / layer.largest)
