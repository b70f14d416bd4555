"""Pictures passed through a diffusion model: same shape, same bytes every time, and nearer to the original than to another."""

import numpy as np
import pytest
from test_objectives import joined

from ldznet_bench.minicut import captioned
from ldznet_bench.training.redraw import Redraw


@pytest.fixture(scope="module")
def redraw(frozen, tmp_path_factory):
    return Redraw(joined(frozen, tmp_path_factory.mktemp("sd") / "sd"))


def test_a_picture_is_redrawn_the_same_way_every_time(redraw):
    images, captions = zip(*(captioned("val", index) for index in range(2)), strict=True)
    once, again = redraw(np.stack(images), captions), redraw(np.stack(images), captions)
    assert once.shape == (2, 96, 96, 3)
    assert once.dtype == np.uint8
    assert np.array_equal(once, again)
    assert not np.array_equal(once[0], images[0])


def test_a_pictures_noise_is_its_own(redraw):
    """Alone or beside others, up to the order of sums."""
    images, captions = zip(*(captioned("val", index) for index in range(2)), strict=True)
    together, alone = redraw(np.stack(images), captions), redraw(np.stack(images[1:]), captions[1:])
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1
