"""Distorted digits: where the middle, the edges and the corners of a digit come to lie, and how large it is."""

import numpy as np
import pytest

from datasets import DistortedMNIST
from datasets.mnist_distorted import KINDS, homography, similar


class Digits:
    """Digits with one bright patch each, whose middle is at (x, y) = (10, 6) pixels from the edge."""

    split, classes = "train", tuple("0123456789")

    def __init__(self, n=5):
        self.digits, self.labels = np.zeros((n, 28, 28), np.uint8), np.arange(n)
        self.digits[:, 4:8, 8:12] = 200

    def __len__(self):
        return len(self.labels)


def middle(image):
    """(x, y) of the centre of gravity, from the edge; and the sum of all values."""
    grey = image[..., 0].astype(float)
    (y, x), mass = np.mgrid[: grey.shape[0], : grey.shape[1]] + 0.5, grey.sum()
    return np.array([(grey * x).sum(), (grey * y).sum()]) / mass, mass


@pytest.mark.parametrize("kind, size", [("R", 28), ("RTS", 42), ("P", 42), ("E", 28)])
def test_samples(kind, size):
    data = DistortedMNIST(Digits(), kind, seed=3, copies=2)
    assert len(data) == 10 and data.classes == tuple("0123456789") and set(KINDS) == {"R", "RTS", "P", "E"}
    for i in (0, 7):
        sample = data[i]
        assert sample["image"].shape == (size, size, 3) and sample["image"].dtype == np.uint8
        assert (sample["label"], sample["id"]) == (i % 5, f"train/{i}")
        again = DistortedMNIST(Digits(), kind, seed=3, copies=9)[i]
        np.testing.assert_array_equal(sample["image"], again["image"])
    assert (data[0]["image"] != data[5]["image"]).any()
    assert [tuple(listed) for listed in data.listing()][-1][:2] == ("train/9", (size, size))
    with pytest.raises(IndexError):
        data[10]


def test_rotations_keep_the_distance_from_the_middle_and_the_size():
    angles = []
    for i in range(60):
        (x, y), mass = middle(DistortedMNIST(Digits(60), "R")[i]["image"])
        assert np.hypot(x - 14, y - 14) == pytest.approx(np.hypot(4, 8), abs=0.15)
        assert mass == pytest.approx(16 * 200, rel=0.06)  # interpolation neither adds nor loses much
        angles.append(np.degrees(np.arctan2(y - 14, x - 14) - np.arctan2(-8, -4)))
    turned = (np.array(angles) + 180) % 360 - 180
    assert turned.min() < -70 and turned.max() > 70 and abs(turned).max() < 91


def test_rotated_scaled_and_translated_digits_stay_inside():
    scales, middles = [], []
    for i in range(80):
        found, mass = middle(DistortedMNIST(Digits(80), "RTS")[i]["image"])
        scales.append(np.sqrt(mass / (16 * 200)))
        middles.append(found)
    assert 0.68 < min(scales) < 0.78 and 1.12 < max(scales) < 1.22
    assert np.std(middles, axis=0).min() > 3 and np.min(middles) > 0 and np.max(middles) < 42


def test_a_known_rotation_scaling_and_translation():
    """A quarter turn clockwise takes what is above the middle to its right; doubled, twice as far."""
    rows, columns = similar(42, np.pi / 2, 2.0, (21, 21))
    i, j = 20, 21 + 8 - 1  # half a pixel above the middle, 7.5 pixels to its right
    assert (rows[i, j], columns[i, j]) == (pytest.approx(13.5 - 7.5 / 2), pytest.approx(13.5 - 0.25))


def test_a_homography_sends_four_points_to_four_others():
    source, target = np.random.default_rng(0).uniform(0, 30, (2, 4, 2))
    h = homography(source, target)
    u, v, w = h @ np.concatenate([source, np.ones((4, 1))], axis=1).T
    np.testing.assert_allclose(np.stack([u / w, v / w], axis=1), target, rtol=1e-8)
    np.testing.assert_allclose(homography(target, target), np.eye(3), atol=1e-8)


def test_projected_digits_are_smaller_on_average_and_bent_ones_as_large():
    mass = {kind: [middle(DistortedMNIST(Digits(150), kind)[i]["image"])[1] for i in range(150)] for kind in "PE"}
    assert min(mass["P"]) > 0.2 * 16 * 200
    assert 0.6 < np.mean(mass["P"]) / (16 * 200) < 0.95  # 0.75 to 1 squared is 0.77 on average
    assert 0.9 < np.mean(mass["E"]) / (16 * 200) < 1.1
    assert np.std(mass["E"]) / (16 * 200) > 0.05


@pytest.mark.parametrize(
    "options, message",
    [({"kind": "Q"}, "DistortedMNIST: kind must be one of R, RTS, P, E, got 'Q'"),
     ({"kind": "R", "copies": 0}, "DistortedMNIST: copies must be at least 1, got 0")],
)  # fmt: skip
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        DistortedMNIST(Digits(), **options)
