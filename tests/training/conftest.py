"""The shipped weights take longer than a small training: only the tests about them score them."""

import pytest

from sfseg.training import trainer


@pytest.fixture(scope="module", autouse=True)
def _without_shipped():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainer, "score_shipped", lambda *_: None)
        yield
