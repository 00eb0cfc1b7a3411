"""Elastic deformation against a loop over pixels: no label is mixed, image and labels move alike."""

import math

import numpy as np
import pytest

from datasets import Shapes, elastic_deformation
from datasets.elastic import _bicubic

FIELDS = ("image", "segmentation")


def rng(seed=0):
    return np.random.default_rng(seed)


def scene(size=(48, 63)):
    sample = Shapes(2, size)[1]
    return {key: sample[key] for key in FIELDS} | {"instances": 7 * sample["segmentation"], "id": "a"}


def cubic(s):
    """Keys 1981, eq. 15."""
    s = abs(s)
    return 1.5 * s**3 - 2.5 * s**2 + 1 if s < 1 else -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2 if s < 2 else 0.0


def displacement(grid, h, w, r, c):
    """Bicubic interpolation of a 3 x 3 grid (nodes at the corners, edges and centre), at one pixel."""
    y, x = r * 2 / (h - 1), c * 2 / (w - 1)
    total = 0.0
    for i in range(-3, 6):
        for j in range(-3, 6):
            total += cubic(y - i) * cubic(x - j) * grid[min(max(i, 0), 2), min(max(j, 0), 2)]
    return total


def by_loops(sample, sigma, seed):
    (h, w), grids = sample["segmentation"].shape, rng(seed).normal(0, sigma, (2, 3, 3))
    image = np.empty((h, w, 3))
    labels = np.full((h, w), -1)
    for r, c in np.ndindex(h, w):
        y, x = r + displacement(grids[0], h, w, r, c), c + displacement(grids[1], h, w, r, c)
        image[r, c] = 0
        for i in (math.floor(y), math.floor(y) + 1):
            for j in (math.floor(x), math.floor(x) + 1):
                inside = 0 <= i < h and 0 <= j < w
                colour = sample["image"][i, j] if inside else np.array((124, 116, 104))
                image[r, c] += (1 - abs(y - i)) * (1 - abs(x - j)) * colour
        i, j = math.floor(y + 0.5), math.floor(x + 0.5)
        if 0 <= i < h and 0 <= j < w:
            labels[r, c] = sample["segmentation"][i, j]
    return image, labels


@pytest.mark.parametrize("sigma", [1.0, 6.0])
def test_against_loops(sigma):
    sample = scene((32, 37))
    got = elastic_deformation(sample, rng(3), sigma=sigma)
    image, labels = by_loops(sample, sigma, 3)
    np.testing.assert_array_equal(got["segmentation"], labels)
    assert abs(got["image"] - image).max() <= 0.5 + 1e-9
    assert got["image"].dtype == np.uint8 and got["segmentation"].dtype == np.int64
    assert (labels == -1).any()


def test_labels_stay_labels_and_fields_move_together():
    sample = scene()
    before = {key: np.copy(value) for key, value in sample.items()}
    got = elastic_deformation(sample, rng(1), sigma=5)
    assert set(np.unique(got["segmentation"])) <= {-1, *np.unique(sample["segmentation"])}
    known = got["segmentation"] >= 0
    np.testing.assert_array_equal(got["instances"][known], 7 * got["segmentation"][known])
    assert (got["instances"][~known] == -1).all()
    assert got["id"] == "a"
    assert (got["segmentation"] != sample["segmentation"]).mean() > 0.05
    for key, value in before.items():
        np.testing.assert_array_equal(sample[key], value)


def test_no_displacement_changes_nothing():
    sample = scene()
    got = elastic_deformation(sample, rng(), sigma=0.0)
    for key in sample:
        np.testing.assert_array_equal(got[key], sample[key])


def test_the_field_passes_through_the_grid():
    """At the nodes a cubic convolution has the nodes' own values; weights sum to 1 everywhere."""
    weights = _bicubic(9)
    np.testing.assert_allclose(weights[[0, 4, 8]], np.eye(3), atol=1e-15)
    np.testing.assert_allclose(_bicubic(12).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(weights[::-1, ::-1], weights, atol=1e-15)


def test_mistakes_are_named():
    for sigma in (-1, np.nan, np.inf):
        with pytest.raises(
            ValueError, match=f"elastic_deformation: sigma must be finite and at least 0 pixels, got {sigma}"
        ):
            elastic_deformation(scene(), rng(), sigma=sigma)
    with pytest.raises(ValueError, match="elastic_deformation: cannot bend the boxes of a sample"):
        elastic_deformation(Shapes(1)[0], rng())
