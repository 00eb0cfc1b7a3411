"""The generalized distance transform, of both kinds, equals a search over all displacements."""

import numpy as np
import pytest

import nn
from vision.detection.distance_transform import distance_transform, owners, upper_envelope


def brute_force(scores, costs):
    """Values and positions by looking at every displacement from every position."""
    (h, w), (a, b, c, d) = scores.shape, costs
    values, positions = np.zeros((h, w)), np.zeros((h, w, 2), int)
    for y, x in np.ndindex(h, w):
        dy, dx = np.mgrid[:h, :w] - np.array([y, x])[:, None, None]
        total = scores - (a * dx + b * dy + c * dx**2 + d * dy**2)
        values[y, x], positions[y, x] = total.max(), np.unravel_index(total.argmax(), total.shape)
    return values, positions


@pytest.mark.parametrize("quadratic", [0.003, 0.1, 5.0])
@pytest.mark.parametrize("size", [(13, 17), (1, 9), (9, 1)])
@pytest.mark.parametrize("plain", [True, False])
def test_equal_to_brute_force(quadratic, size, plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    rng = np.random.default_rng(0)
    scores = 3 * rng.standard_normal((2, 3, *size))
    costs = np.concatenate([rng.uniform(-0.5, 0.5, (3, 2)), quadratic * rng.uniform(0.5, 2, (3, 2))], axis=1)
    values, positions = distance_transform(scores, costs)
    for i, k in np.ndindex(2, 3):
        wanted, where = brute_force(scores[i, k], costs[k])
        np.testing.assert_allclose(values[i, k], wanted, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(positions[i, k], where)


def test_a_single_peak_by_hand():
    """A peak of 10 at column 2, 0 elsewhere, cost (q - p)^2: 1 away it is worth 9; 4 away 10 - 16 < 0."""
    values, positions = distance_transform(np.array([[0, 0, 10.0, 0, 0, 0, 0]]), np.array([0, 0, 1.0, 1.0]))
    np.testing.assert_array_equal(values, [[6, 9, 10, 9, 6, 1, 0]])
    np.testing.assert_array_equal(positions[0, :, 1], [2, 2, 2, 2, 2, 2, 6])


def test_the_envelope_by_hand():
    """Of f = 0, 5, 0 with cost (q - p)^2, parabola 1 hides the others: 0 and 1 cross at -2, 1 and 2 at 4."""
    peaks, bounds = upper_envelope(np.array([[0.0, 5.0, 0.0]]), np.zeros(1), np.ones(1))
    assert peaks[0, :3].tolist() == [0, 1, 2] and bounds[0].tolist() == [-np.inf, -2, 4]
    assert owners(peaks, bounds).tolist() == [[1, 1, 1]]


def test_single_precision_stays():
    scores = np.random.default_rng(1).standard_normal((4, 20, 30)).astype(np.float32)
    values, _ = distance_transform(scores, np.array([0, 0, 0.1, 0.1], np.float32))
    assert values.dtype == np.float32 and (values >= scores).all()


def test_bad_costs():
    with pytest.raises(ValueError, match="quadratic costs must be above 0, got 0"):
        distance_transform(np.zeros((3, 3)), np.array([0, 0, 1.0, 0.0]))
