"""DeepPose on maps: both views, windows and crops of the map in the picture's pixels, bad options."""

import numpy as np
import pytest

from tests.vision.localization.models import batch_of, tiny
from vision.localization.deep_pose import SPREAD, Simulated
from vision.localization.deep_pose_maps import Drawn, other_side

RNG = np.random.default_rng(2)


def pose(**options):
    return tiny("deep_pose_maps", **options)


def test_a_mirrored_picture_has_the_mirrored_pose():
    """Points in the order top, right, bottom, left; after both stages."""
    model, data = pose()
    model.advance()
    image = data[0]["image"]
    one, other = (model.pose(each)["stages"] for each in (image, np.ascontiguousarray(image[:, ::-1])))
    np.testing.assert_allclose(other, (np.array([32, 0]) + one * [-1, 1])[:, [0, 3, 2, 1]], atol=1e-3)
    assert one.shape == (2, 4, 2) and abs(one[1] - one[0]).max() > 0


def test_names_of_the_other_side():
    assert [other_side(name) for name in ("left_eye", "right_eye", "nose", "leftmost")] == [
        "right_eye", "left_eye", "nose", "rightmost",
    ]  # fmt: skip


def test_the_window_of_the_whole_picture_is_its_map_in_larger_cells():
    model, _ = pose()
    maps = RNG.standard_normal((2, 4, 8, 8)).astype(np.float32)
    whole = model.window(maps, Drawn(np.zeros(2), np.ones(2), np.zeros((2, 2))))
    np.testing.assert_allclose(whole, maps.reshape(2, 4, 4, 2, 4, 2).mean(axis=(3, 5)), atol=1e-6)
    half = model.window(maps, Drawn(np.zeros(2), np.full(2, 0.5), np.tile([8.0, -8], (2, 1))))
    np.testing.assert_allclose(half, maps[:, :, :4, 4:], atol=1e-6)  # 16 of 32 pixels, off to the upper right


def test_the_first_loss_is_that_of_the_points_in_the_window():
    model, data = pose(dropout=0.0)
    features, points, seen = batch_of(model, data)
    drawn = Drawn(np.array([0, 1, 0]), np.array([1.0, 0.8, 1.2]), np.array([[0, 0], [2.0, -1], [0, 3]]))
    predicted, _ = model.networks[0].forward(
        model.window(np.stack([model.views.split(f[v][None])[0][0] for f, v in zip(features, drawn.turned)]), drawn)
    )
    wanted = 0
    for n, turned in enumerate(drawn.turned):
        own = (np.array([32, 0]) + points[n] * [-1, 1])[[0, 3, 2, 1]] if turned else points[n]
        target = ((own - 16 - drawn.shift[n]) / drawn.scale[n] + 16) / 32 - 0.5
        own_seen = seen[n, [0, 3, 2, 1]] if turned else seen[n]
        wanted += 0.5 * (((predicted[n] - target / SPREAD) ** 2).sum(axis=1) * own_seen).sum()
    losses, cache = model.loss((features, points, seen), None, drawn)
    assert losses["pose"] == pytest.approx(wanted / seen.sum(), rel=1e-5) and cache.sampled is drawn


def test_a_crop_of_the_map_is_around_the_point():
    """Cells of 4 pixels: a crop of 12 pixels around (14, 18) is the 3x3 cells around the cell of column 3, row 4."""
    model, _ = pose()
    maps = RNG.standard_normal((1, 2, 8, 8)).astype(np.float32)
    crops = Simulated(np.array([0]), np.array([1]), np.array([[14.0, 18]]), np.array([12.0]))
    np.testing.assert_allclose(model.cut(maps, crops), maps[:, :, 3:6, 2:5], atol=1e-6)


def test_features_are_computed_once():
    model, data = pose()
    batch = batch_of(model, data)
    model.features.encoder.see = None  # not needed again
    batch_of(model, data)
    _, cache = model.loss(batch, np.random.default_rng(0))
    assert set(cache.sampled.turned) <= {0, 1} and (abs(cache.sampled.scale - 1) <= 0.25).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"move": 1.0}, "move must be from 0 on and below 1"), ({"coarse": 0}, "coarse"), ({"frozen": "conv9"}, "conv9")],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        pose(**options)
