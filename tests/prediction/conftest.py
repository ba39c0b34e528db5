"""The networks that several modules of this folder try."""

import pytest
import torch

from sfseg import models
from tests.networks import narrow_networks, warm_statistics


@pytest.fixture(scope="module", params=sorted(models.ARCHITECTURES))
def network(request):
    """Each architecture, of few channels, with statistics that depend on the input."""
    with narrow_networks():
        built = models.build(request.param, seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        warm_statistics(built)
    return built
