"""Shifts, resized crops and colours of training images."""

import numpy as np
import pytest
from PIL import Image

from datasets import (
    Shapes,
    colour_components,
    colour_pca,
    exposure_jitter,
    random_crop,
    random_resized_crop,
    random_shift,
)

SCENES = Shapes(6, size=(60, 81), seed=3)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_shift_is_a_border_and_a_random_crop():
    """Every result is one of the crops of the padded image, and all (2 p + 1)^2 of them occur."""
    image = rng().integers(1, 256, (5, 7, 3), np.uint8)
    padded, seen = np.pad(image, ((2, 2), (2, 2), (0, 0))), set()
    for seed in range(300):
        got = random_shift({"image": image}, rng(seed), pixels=2, fill=(0, 0, 0))["image"]
        found = [(y, x) for y in range(5) for x in range(5) if (padded[y : y + 5, x : x + 7] == got).all()]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) == 25


def test_shifts_and_resized_crops_carry_every_field():
    for i in range(6):
        scene = SCENES[i]
        kept = {key: np.copy(scene[key]) for key in ("image", "boxes", "masks")}
        for change, size in ((random_shift, (60, 81)), (random_resized_crop, (32, 40))):
            options = {"pixels": 9} if change is random_shift else {"size": size, "area": (0.3, 1)}
            got = change(scene, rng(i), **options)
            assert got["image"].shape == (*size, 3) and got["segmentation"].shape == size
            assert got["masks"].shape == (len(got["boxes"]), *size) and len(got["labels"]) == len(got["boxes"])
        assert all((scene[key] == value).all() for key, value in kept.items())


def test_areas_and_shapes_of_resized_crops():
    """An image whose red and green are the coordinates: the ends of both say which part was taken."""
    y, x = np.mgrid[:200, :200].astype(np.uint8)
    image, areas, shapes = np.stack([y, x, x], axis=2), [], []
    for seed in range(200):
        got = random_resized_crop({"image": image}, rng(seed), size=(64, 64), area=(0.25, 0.5))["image"].astype(int)
        h, w = np.ptp(got[..., 0]) * 65 / 64, np.ptp(got[..., 1]) * 65 / 64
        areas.append(h * w / 200**2)
        shapes.append(w / h)
    assert 0.23 < min(areas) < 0.28 and 0.45 < max(areas) < 0.53
    assert 0.7 < min(shapes) < 0.8 and 1.25 < max(shapes) < 1.42
    assert np.mean(areas) == pytest.approx(0.375, abs=0.02) and np.mean(np.log(shapes)) == pytest.approx(0, abs=0.04)


def test_the_centre_where_no_part_fits():
    stripe = rng().integers(0, 256, (10, 300, 3), np.uint8)  # no part of 90 % of it is less than 4/3 wide
    got = random_resized_crop({"image": stripe}, rng(), size=(10, 13), area=(0.9, 1))["image"]
    np.testing.assert_array_equal(got, stripe[:, 143:156])


@pytest.mark.parametrize("shape, aspect", [((1, 30, 3), (0.1, 0.2)), ((30, 1, 3), (5, 10))])
def test_a_part_has_a_pixel_at_least(shape, aspect):
    """Of an image a pixel high the part of a fifth of its height was 0 pixels wide."""
    got = random_resized_crop({"image": np.full(shape, 7, np.uint8)}, rng(), size=(4, 4), aspect=aspect)["image"]
    np.testing.assert_array_equal(got, np.full((4, 4, 3), 7))


def test_colours_change_along_their_principal_components():
    """Worked: the covariance of the change is P diag(std lambda)^2 P^T."""
    pixels = rng(1).multivariate_normal([120, 130, 110], [[900, 500, 300], [500, 700, 200], [300, 200, 400]], 9000)
    image = np.clip(pixels.round(), 0, 255).astype(np.uint8).reshape(90, 100, 3)
    covariance = np.cov(image.reshape(-1, 3).T / 255)
    components = colour_components([image[:40], image[40:]])
    np.testing.assert_allclose(components @ components.T, covariance @ covariance, atol=1e-12)  # P lambda^2 P^T

    grey = np.full((1, 1, 3), 128, np.uint8)
    changes = [
        colour_pca({"image": grey}, rng(i), components=components, std=9.0)["image"] - 128.0 for i in range(4000)
    ]
    got = np.cov(np.reshape(changes, (-1, 3)).T)
    wanted = (9 * 255) ** 2 * covariance @ covariance
    np.testing.assert_allclose(got, wanted, rtol=0.1, atol=20)


def test_one_change_for_all_pixels():
    image = rng().integers(60, 180, (4, 5, 3), np.uint8)
    got = colour_pca({"image": image}, rng(3), components=np.diag([0.02, 0.03, 0.05]), std=1.0)["image"]
    change = got.astype(int) - image
    assert np.ptp(change.reshape(-1, 3), axis=0).tolist() == [0, 0, 0] and change.any()
    np.testing.assert_array_equal(colour_pca({"image": image}, rng(), components=np.zeros((3, 3)))["image"], image)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: random_shift(SCENES[0], rng(), pixels=-1), "pixels must be a whole number >= 0, got -1"),
        (lambda: random_resized_crop(SCENES[0], rng(), size=(9, 9), area=(0, 1)), "need 0 < low <= high, area to 1"),
        (
            lambda: random_resized_crop(SCENES[0], rng(), size=(9, 9), area=(0.5, 1.2)),
            "need 0 < low <= high, area to 1",
        ),
        (lambda: random_resized_crop(SCENES[0], rng(), size=(9, 9), aspect=(2, 1)), "need 0 < low <= high"),
        (lambda: random_crop(SCENES[0], rng(), size=(0, 1)), "whole numbers"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_exposure_jitter_worked_examples():
    """Of a colour HSV (h, 100, 100) saturation and value become 150 or 67; grey stays grey; a factor of 1 is none."""
    sample = {"image": np.array(Image.fromarray(np.full((1, 1, 3), (30, 100, 100), np.uint8), "HSV").convert("RGB"))}
    seen = set()
    for seed in range(40):
        changed = exposure_jitter(sample, Fixed(seed, 1.5), factor=1.5)["image"]
        seen.add(tuple(np.array(Image.fromarray(changed).convert("HSV"))[0, 0, 1:].tolist()))
    assert len(seen) == 4
    for saturation, value in seen:
        assert min(abs(value - 150), abs(value - 67)) <= 1 and min(abs(saturation - 150), abs(saturation - 67)) <= 3
    grey = {"image": np.full((2, 2, 3), 60, np.uint8)}
    bright = [exposure_jitter(grey, rng(i), factor=2)["image"] for i in range(20)]
    assert all((image == image[0, 0, 0]).all() for image in bright)
    assert {30 <= image[0, 0, 0] <= 120 for image in bright} == {True}
    np.testing.assert_array_equal(exposure_jitter(grey, rng(), factor=1)["image"], grey["image"])
    with pytest.raises(ValueError, match="factor must be at least 1, got 0.5"):
        exposure_jitter(grey, rng(), factor=0.5)


class Fixed:
    """A generator that draws `factor` itself, and the directions at random."""

    def __init__(self, seed, factor):
        self.factor, self.choice = factor, rng(seed).choice

    def uniform(self, low, high, size):
        return np.full(size, self.factor)
