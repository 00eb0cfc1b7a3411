"""Ten crops and several scales, and the means of their probabilities."""

from dataclasses import replace

import numpy as np
import pytest

import vision
from vision import Preprocess
from vision.classification.views import ten_crops, views

CLASSES = ("cat", "dog", "cow")


def photograph(h=40, w=50):
    return np.random.default_rng(1).integers(0, 256, (h, w, 3), np.uint8)


def test_ten_crops():
    """Four corners and the centre, worked on an image of numbered pixels, and their reflections."""
    image = np.arange(30).reshape(5, 6, 1).repeat(3, axis=2)
    crops = ten_crops(image, 3)
    assert [int(crop[0, 0, 0]) for crop in crops] == [0, 3, 12, 15, 7, 2, 5, 14, 17, 9]
    assert all(crop.shape == (3, 3, 3) for crop in crops)
    for crop, mirrored in zip(crops[:5], crops[5:]):
        np.testing.assert_array_equal(mirrored, crop[:, ::-1])
    with pytest.raises(ValueError, match="ten crops of 6x6 need an image as large, got 5x6: set short_side higher"):
        ten_crops(image, 6)


def test_views():
    preprocess = Preprocess(short_side=20, max_side=40)
    assert [v.shape for v in views(photograph(), preprocess)] == [(20, 25, 3)]
    assert [v.shape for v in views(photograph(), preprocess, scales=(16, 32))] == [(16, 20, 3), (32, 40, 3)]
    assert [v.shape for v in views(photograph(), preprocess, 16, (16, 32))] == 20 * [(16, 16, 3)]
    image, mirrored = views(photograph(), preprocess, mirrored=True)
    np.testing.assert_array_equal(mirrored, image[:, ::-1])


def test_probabilities_are_means_over_the_views():
    model = vision.build("resnet20_cifar", CLASSES, np.random.default_rng(0), n=1, width=2)
    pictures = [photograph(), photograph(64, 48), photograph(32, 32)]
    for options in ({"test_crops": 24}, {"test_scales": [32, 48]}, {"test_crops": 24, "test_scales": [24, 32]}):
        tested = vision.build("resnet20_cifar", CLASSES, n=1, width=2, **options)
        tested.load_state_dict(model.state_dict())
        got = tested.probabilities(pictures)
        assert got.shape == (3, 3)
        np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-6)
        for picture, found in zip(pictures, got):
            each = views(picture, model.preprocess, options.get("test_crops", 0), options.get("test_scales", ()))
            alone = [model.predict(model.preprocess.batch([view]))[0] for view in each]
            np.testing.assert_allclose(found, np.mean(alone, axis=0), rtol=1e-5)
            assert tested.classify(picture)["labels"][0] == found.argmax()


def test_crops_are_normalised_by_their_whole_photograph():
    """A photograph of one grey but for a corner: by itself a crop without the corner would be 0 everywhere."""
    model = vision.build("resnet20_cifar", CLASSES, n=1, width=2, per_image=True, test_crops=24)
    picture, seen = np.full((32, 32, 3), 100, np.uint8), []
    picture[:4, :4] = 200
    model.predict = lambda images: seen.append(images) or np.full((len(images), 3), 1 / 3)
    model.probabilities([picture])
    expected = (100 - picture.mean()) / picture.std()
    np.testing.assert_allclose(seen[0][:, :, 12, 12], expected, rtol=1e-5)
    model.preprocess = replace(model.preprocess, percentiles=(0, 100), dark_background=True)  # stretched to 0 .. 255
    model.probabilities([picture])
    np.testing.assert_allclose(seen[1][:, :, 12, 12], -((picture - 100).mean() / (picture - 100.0).std()), rtol=1e-2)
