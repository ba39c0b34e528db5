"""predict --output cells: the map, and its cells, in one go."""

import numpy as np
import pytest
import tifffile

import sfseg
from sfseg.errors import OutputExistsError
from sfseg.io import write_stack
from sfseg.prediction.predict import map_path

pytestmark = pytest.mark.usefixtures("small_shipped")
OPTIONS = {"output": "cells", "precision": "float32"}


@pytest.fixture
def source(tissue, tmp_path):
    write_stack(tmp_path / "in.tif", tissue[0][:2], voxel_size_nm=(50, 4, 4))
    return tmp_path / "in.tif"


def test_cells_are_those_of_the_map_which_stays_beside_them(source, tmp_path):
    out = tmp_path / "cells.tif"
    told = []
    result = sfseg.predict_file(source, out, say=told.append, **OPTIONS)
    assert result.job.output == out
    assert map_path(out).name == "cells.map.tif"
    probability = tifffile.imread(map_path(out))
    np.testing.assert_array_equal(
        probability, sfseg.predict(tifffile.imread(source), precision="float32")
    )
    np.testing.assert_array_equal(tifffile.imread(out), sfseg.segment(probability))
    assert "; its map is " in told[-1]
    with pytest.raises(OutputExistsError):
        sfseg.predict_file(source, out, **OPTIONS)
    before = out.stat().st_mtime_ns
    again = sfseg.predict_file(source, out, resume=True, **OPTIONS)
    assert again.resumed == again.tiles
    assert out.stat().st_mtime_ns == before


def test_resuming_makes_the_cells_that_are_missing(source, tmp_path):
    out = tmp_path / "cells.tif"
    sfseg.predict_file(source, out, **OPTIONS)
    expected = tifffile.imread(out)
    out.unlink()
    result = sfseg.predict_file(source, out, resume=True, **OPTIONS)
    assert result.resumed == result.tiles
    np.testing.assert_array_equal(tifffile.imread(out), expected)
