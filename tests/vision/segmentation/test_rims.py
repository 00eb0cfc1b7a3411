"""Objects that touch: their rims, and how they come apart."""

import json

import numpy as np
import pytest
from PIL import Image

import vision
from vision.segmentation.object_classifier import ObjectClassifier
from vision.segmentation.objects import match_objects
from vision.segmentation.rims import by_distance, by_rims, classes_of, rims, seams, without_specks
from vision.segmentation.task import describe_areas, draw_areas, save_labels, segmentation_batch

CLASSES = ("background", "cell", "nucleus")
SIZES = {"width": 1, "depth": 1, "short_side": 12, "max_side": 20}


def cells():
    """(12, 20): two cells of 8 rows that touch, one at the edge of the image; a third one of 2 x 2 pixels."""
    objects = np.zeros((12, 20), int)
    objects[2:10, :7], objects[2:10, 7:14], objects[5:7, 16:18] = 4, 2, 9
    return objects


def naive_rims(objects, width):
    """By looking at each pixel's neighbourhood; beyond the edge is more of the same."""
    padded, found = np.pad(objects, width, mode="edge"), np.zeros(objects.shape, bool)
    for y, x in np.ndindex(*objects.shape):
        window = padded[y : y + 2 * width + 1, x : x + 2 * width + 1]
        found[y, x] = objects[y, x] > 0 and (window != objects[y, x]).any()
    return found


@pytest.mark.parametrize("width", [1, 2, 3])
def test_rims_lie_within_a_distance_of_what_is_not_the_object(width):
    np.testing.assert_array_equal(rims(cells(), width), naive_rims(cells(), width))
    rng = np.random.default_rng(width)
    random = rng.integers(0, 3, (4, 5)).repeat(4, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(rims(random, width), naive_rims(random, width))


def test_what_lies_inside_grows_to_the_edges():
    objects = cells()
    mask, rim = objects > 0, rims(objects, 1)
    found = by_rims(np.where(rim, 0.0, 1.0), mask)
    assert match_objects(found, objects) == (3, 0, 0)  # the third has no seed, and is one all the same
    assert match_objects(by_rims(np.full(mask.shape, 0.4), mask), objects)[0] == 1  # one object of both cells
    assert match_objects(by_rims(np.where(rim, 0.1, 0.3), mask, 0.2), objects) == (3, 0, 0)
    assert not by_rims(np.zeros((3, 3)), np.zeros((3, 3), bool)).any()


def test_round_objects_come_apart_where_they_are_narrow():
    """Two discs whose middles are 14 pixels apart overlap; of radius 12 they are one."""
    y, x = np.mgrid[:30, :50]
    near, far = ((x - c) ** 2 + (y - 14) ** 2 for c in (15, 29))
    truth = np.where(near < far, 1, 2) * (np.minimum(near, far) < 8**2)
    mask = truth > 0
    assert match_objects(by_distance(mask), truth) == (2, 0, 0)
    assert match_objects(by_distance(mask.T), truth.T) == (2, 0, 0)
    assert by_distance(mask, height=9).max() == 1  # no peak is so high: the part without a seed is one object
    assert by_distance(near < 12**2).max() == 1
    assert not by_distance(np.zeros((4, 5), bool)).any() and (by_distance(np.ones((4, 5), bool)) == 1).all()


def test_seams_lie_between_objects():
    wanted = np.zeros((12, 20), bool)
    wanted[2:10, 7] = True
    np.testing.assert_array_equal(seams(cells()), wanted)
    np.testing.assert_array_equal(seams(cells().T), wanted.T)


def test_classes_and_specks():
    objects = without_specks(cells(), 5)
    np.testing.assert_array_equal(np.unique(objects), [0, 1, 2])
    np.testing.assert_array_equal(objects == 1, cells() == 2)
    p = np.zeros((2, 12, 20))
    p[0], p[1] = 0.2, 0.7 * (np.arange(20) < 7)
    np.testing.assert_array_equal(classes_of(objects, p), np.array([0, 1, 2])[objects])


def told_apart(objects, **options) -> ObjectClassifier:
    """A U-Net of two classes of objects that sees in every image what is true in one: cells, their rims, background."""
    model = vision.build("unet_small", CLASSES, **SIZES, rim=1, separate="rims", **options)
    truth = model.target({"segmentation": np.minimum(objects, 1), "instances": objects})[0]
    model.predict = lambda images: np.eye(4, dtype=np.float32)[truth].transpose(2, 0, 1)[None]
    return model


def test_a_model_with_rims_tells_touching_objects_apart(tmp_path):
    objects = cells()
    model = told_apart(objects, smallest_object=5)
    sample = {"image": np.zeros((12, 20, 3), np.uint8), "segmentation": np.minimum(objects, 1), "instances": objects}
    found = model.segment(sample["image"])
    assert match_objects(found["instances"], objects) == (2, 0, 1)
    np.testing.assert_array_equal(found["labels"], (objects > 0) & (objects < 9))
    cell = describe_areas(found, CLASSES)[1]
    assert cell == {"class": "cell", "label": 1, "pixels": 112, "share": 0.4667, "objects": 2} and json.dumps(cell)
    drawn = draw_areas(sample["image"], found, CLASSES, sample)
    assert drawn[16 * 5, 16 * 7 + 1].tolist() == [0, 0, 0] != drawn[16 * 5, 16 * 6 + 1].tolist()
    assert save_labels(found, tmp_path, "a") == "a.png"
    with Image.open(tmp_path / "a.objects.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), found["instances"])


def test_a_rim_belongs_to_the_class_inside_where_nothing_is_separated():
    model = vision.build("unet_small", CLASSES, **SIZES, rim=1)
    p = np.array([[0.3, 0.1], [0.2, 0], [0.1, 0], [0.4, 0.9]], np.float32)[:, None]
    np.testing.assert_allclose(model.refine(None, p)[:, 0, 0], [0.3, 0.2 + 0.8 / 3, 0.1 + 0.4 / 3], rtol=1e-4)
    np.testing.assert_allclose(model.refine(None, p)[:, 0, 1], [0.1, 0.45, 0.45], rtol=1e-4)
    found = model.segment(np.zeros((12, 20, 3), np.uint8))
    assert found["labels"].max() <= 2 and "instances" not in found


def test_rims_are_a_class_of_the_targets():
    objects = cells()
    model = vision.build("unet_small", CLASSES, **SIZES, rim=1, border_weights=(10, 5), class_weights=(1, 2, 4))
    sample = {"image": np.zeros((12, 20, 3), np.uint8), "segmentation": np.minimum(objects, 1), "instances": objects}
    sample["segmentation"][3, 0] = -1
    images, labels, weights = segmentation_batch(model, [sample])
    assert model(images).shape[1] == 4 and model.class_weights.tolist() == [1, 2, 4, 3]
    np.testing.assert_array_equal(labels[0] == 3, rims(objects, 1))
    assert labels[0, 3, 0] == -1 and labels[0, 5, 3] == 1
    assert weights[0, 5, 7] > 5 > weights[0, 5, 3] == 1  # between the cells; inside one
    losses, cache = model.loss((images, labels, weights), np.random.default_rng(0))
    model.backward(cache)
    assert np.isfinite(losses["pixels"])


def test_mistakes():
    model = vision.build("unet_small", CLASSES, **SIZES, rim=2)
    sample = {"id": "a", "image": np.zeros((12, 20, 3), np.uint8), "segmentation": np.zeros((12, 20), int)}
    with pytest.raises(ValueError, match="UNet: rim=2 needs data with a value for each object, .* nuclei; a has none"):
        segmentation_batch(model, [sample])
    with pytest.raises(ValueError, match="UNet: rim must be at least 0 pixels, got -1"):
        vision.build("unet_small", CLASSES, rim=-1)
    with pytest.raises(ValueError, match="UNet: seed_threshold must lie between 0 and 1, got 1"):
        vision.build("unet_small", CLASSES, rim=1, seed_threshold=1)
    with pytest.raises(ValueError, match="UNet: seed_height must be above 0 pixels, got 0"):
        vision.build("unet_small", CLASSES, separate="distance", seed_height=0)
    with pytest.raises(ValueError, match="UNet: separate=rims needs a network trained with rim=1 or more, got rim=0"):
        vision.build("unet_small", CLASSES, separate="rims")
