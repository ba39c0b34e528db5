"""What the tests of the commands share: stacks, and an engine that is chosen once."""

import pytest


@pytest.fixture(scope="session")
def tried(tmp_path_factory):
    """The choice of an engine for the shipped network, which takes seconds to find."""
    from sfseg.config import PredictConfig
    from sfseg.prediction.predict import Model

    memory = tmp_path_factory.mktemp("tried") / "engines.json"
    Model.load(PredictConfig(), memory=memory)
    return memory.read_text() if memory.exists() else "{}"  # without bf16 there is no choice


@pytest.fixture
def remembered(tried, tmp_path):
    """A cache in which that choice is known already."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "engines.json").write_text(tried)


@pytest.fixture
def volume(tissue_files):
    return tissue_files / "volume.tif"


@pytest.fixture
def labels(tissue_files):
    return tissue_files / "labels.tif"
