"""The synthetic tissue as sample data of napari."""

from sfseg.datasets.synthetic import make_tissue
from sfseg.napari_plugin.geometry import scale_of
from sfseg.napari_plugin.reader import LayerData

SHAPE = (6, 256, 256)
SEED = 2
VOXEL_SIZE_NM = (50.0, 4.0, 4.0)


def make_sample() -> list[LayerData]:
    """Draw synthetic neuropil and its labels; see `sfseg.make_tissue`."""
    volume, labels = make_tissue(SHAPE, seed=SEED)
    size = scale_of(VOXEL_SIZE_NM)
    return [
        (volume, {"name": "tissue", **size}, "image"),
        (labels, {"name": "tissue labels", "visible": False, **size}, "labels"),
    ]
