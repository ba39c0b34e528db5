"""Neuroglancer: only this machine, only with the token, and only what is looked at."""

import json
import urllib.error
import urllib.request
import zlib
from io import BytesIO

import numpy as np
import pytest

from sfseg.io import Stack, open_array
from sfseg.report.layers import Layer

pytest.importorskip("neuroglancer", reason="the extra neuroglancer is not installed")
SHAPE = (3, 40, 50)


class Served:
    """A running server, what it was asked to read, and how to ask it."""

    def __init__(self, server, reads, layers):
        self.server, self.reads, self.layers = server, reads, layers
        self.origin = server.url.partition("/v/")[0]

    def get(self, path):
        """Return the status and the body of an answer."""
        try:
            with urllib.request.urlopen(self.origin + path, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def key(self, number):
        """Return the viewer's key of a layer, which begins with the token."""
        state = self.server.state()
        return state["layers"][number]["source"][0]["url"].removeprefix("python://volume/")

    def box(self, number, start, end, factor="1,1,1"):
        """Read a box of a layer: first and last corner, (Z, Y, X)."""
        corners = "/".join(",".join(map(str, corner)) for corner in (start, end))
        status, body = self.get(f"/neuroglancer/npz/{self.key(number)}/{factor}/{corners}")
        assert status == 200
        return np.load(BytesIO(zlib.decompress(body)))


@pytest.fixture(scope="module")
def served():
    from sfseg.report.serve import Neuroglancer

    rng = np.random.default_rng(0)
    volume = rng.integers(0, 256, SHAPE, np.uint8)
    probability = rng.random(SHAPE, np.float32)
    cells = rng.integers(0, 9, SHAPE, np.int32)
    reads = []

    def read(index, rows, columns):
        reads.append((index, rows, columns))
        return volume[index, rows, columns]

    image = Stack(
        "<b>volume.tif",
        SHAPE,
        volume.dtype,
        (50, 4, 4),
        read_window=read,
        sha256=str,
        close=int,
    )
    layers = [Layer(image, "image")]
    layers += [Layer(open_array(probability, "map.tif"), "map")]
    layers += [Layer(open_array(cells, "cells.tif"), "labels")]
    with Neuroglancer(layers) as server:
        yield Served(server, reads, (volume, probability, cells))


def test_the_server_listens_on_this_machine_only_and_the_address_has_a_token(served):
    assert served.origin.startswith("http://127.0.0.1:")
    token = served.server.url.rstrip("/").rpartition("/")[2]
    assert len(token) == 40
    status, page = served.get(f"/v/{token}/")
    assert status == 200
    assert b"neuroglancer" in page


def test_without_the_token_there_is_no_answer(served):
    start_to_end = "1,1,1/0,0,0/1,4,4"
    wrong = "0" * 40 + "." + served.key(0).partition(".")[2]
    for path in (
        "/",
        f"/v/{'0' * 40}/",
        f"/neuroglancer/info/{wrong}",
        f"/neuroglancer/npz/{wrong}/{start_to_end}",
    ):
        assert served.get(path)[0] == 404


def test_a_box_has_the_values_of_the_file_and_no_more_is_read(served):
    served.reads.clear()
    boxes = [served.box(number, (1, 8, 16), (3, 24, 40)) for number in range(3)]
    for box, array in zip(boxes, served.layers, strict=True):
        assert np.array_equal(box, array[1:3, 8:24, 16:40])
    assert served.reads == [(index, slice(8, 24), slice(16, 40)) for index in (1, 2)]
    assert [box.dtype.name for box in boxes] == ["uint8", "float32", "uint32"]


def test_a_box_may_be_smaller_than_what_it_shows(served):
    small = served.box(0, (0, 0, 0), (1, 20, 25), "1,2,2")
    blocks = served.layers[0][:1].reshape(1, 20, 2, 25, 2)
    assert np.abs(small - blocks.mean((2, 4))).max() <= 1


def test_no_surface_is_made_which_would_read_the_whole_stack(served):
    assert served.get(f"/neuroglancer/mesh/{served.key(2)}/1")[0] == 405


def test_the_viewer_is_told_the_voxel_size_and_what_each_stack_is(served):
    state = served.server.state()
    assert state["dimensions"] == {"x": [4e-9, "m"], "y": [4e-9, "m"], "z": [5e-8, "m"]}
    assert [layer["type"] for layer in state["layers"]] == ["image", "image", "segmentation"]
    info = json.loads(served.get(f"/neuroglancer/info/{served.key(2)}")[1])
    assert info["coordinateSpace"] == {name: state["dimensions"][name] for name in "zyx"}
    assert (info["shape"], info["volumeType"]) == ([3, 40, 50], "segmentation")
