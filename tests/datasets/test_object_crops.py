"""Crops round objects: what is in their middle, what is background, how far proposals may stray."""

import numpy as np
import pytest

from datasets.object_crops import draw_object, extended, object_crop, proposal, tight_box
from vision.segmentation.objects import components


def picture():
    """30 x 40, a block of class 2 in a picture of class 0 with a strip of class 1; red where the label is 2."""
    labels = np.zeros((30, 40), np.int64)
    labels[10:20, 15:25] = 2
    labels[:, 28:32] = 1
    labels[0, 0] = -1
    image = np.zeros((30, 40, 3), np.uint8)
    image[labels == 2] = (200, 0, 0)
    return {"id": "one", "image": image, "segmentation": labels, "boxes": np.zeros((0, 4))}


def crop(kind, seed=0, sample=None, size=(24, 24)):
    return object_crop(sample or picture(), np.random.default_rng(seed), kind=kind, size=size, components=components)


def test_the_object_is_in_the_middle_with_a_fifth_round_it():
    """Block of 10 x 10 in a crop of 12 x 12, enlarged twice: 20 x 20 in 24 x 24, all else background."""
    sample = picture()
    sample["segmentation"][:, 28:32] = 0
    found = crop("objects", sample=sample)
    wanted = np.zeros((24, 24), np.int64)
    wanted[2:22, 2:22] = 2
    np.testing.assert_array_equal(found["segmentation"], wanted)
    assert found["image"].shape == (24, 24, 3) and found["image"][12, 12, 0] == 200
    assert set(found) == {"id", "image", "segmentation"}


def test_other_objects_are_background_in_the_first_stage_only():
    sample = picture()
    sample["segmentation"][10:20, 25:27] = 1  # beside the block, within its crop
    labels = {kind: [np.unique(crop(kind, seed, sample)["segmentation"]).tolist() for seed in range(40)]
              for kind in ("objects", "proposals")}  # fmt: skip
    assert all(len([c for c in each if c > 0]) <= 1 for each in labels["objects"])
    assert any({1, 2} <= set(each) for each in labels["proposals"])


def test_the_argument_stays_as_it_was():
    sample = picture()
    copy = {key: np.array(value) for key, value in sample.items()}
    crop("objects", sample=sample)
    assert all(np.array_equal(sample[key], copy[key]) for key in sample)


def test_outside_of_the_picture_nothing_counts():
    labels = np.zeros((20, 20), np.int64)
    labels[:10, :10] = 1
    found = crop("objects", sample={"image": np.zeros((20, 20, 3), np.uint8), "segmentation": labels})
    assert (found["segmentation"][:2] == -1).all() and (found["segmentation"][:, :2] == -1).all()
    assert (found["segmentation"][2:22, 2:22] == 1).all()
    assert (found["image"][0, 0] == (124, 116, 104)).all()


def test_classes_are_drawn_alike():
    """A hundred parts of class 1 and one of class 2: each class about every second time."""
    labels = np.zeros((60, 60), np.int64)
    for i in range(10):
        for j in range(10):
            labels[6 * i : 6 * i + 4, 6 * j : 6 * j + 4] = 1
    labels[54:58, 54:58] = 2
    rng = np.random.default_rng(0)
    drawn = [labels[draw_object(labels, rng, components)][0] for _ in range(60)]
    assert 18 < sum(label == 2 for label in drawn) < 42
    assert draw_object(labels, rng, components).sum() == 16


def test_a_picture_without_objects_and_specks():
    labels = np.zeros((30, 40), np.int64)
    labels[5, 5:9] = 1  # fewer pixels than an object must have
    sample = {"image": np.zeros((30, 40, 3), np.uint8), "segmentation": labels}
    found = crop("objects", sample=sample, size=(15, 20))
    assert found["image"].shape == (15, 20, 3) and found["segmentation"].shape == (15, 20)


def iou(a, b):
    inside = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return inside / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inside)


def test_proposals_overlap_by_half_or_more():
    box, rng = np.array([10.0, 20.0, 40.0, 60.0]), np.random.default_rng(0)
    overlaps = [iou(box, proposal(box, rng)) for _ in range(200)]
    assert min(overlaps) >= 0.5 and max(overlaps) > 0.8 and np.mean(overlaps) < 0.75


def test_stage_two_crops_round_random_boxes():
    """The block of class 2 is in the middle of every crop of the first stage, and here and there in the second's."""
    sample = picture()
    sample["segmentation"][:, 28:32] = 0
    first, second = (
        [np.argwhere(crop(kind, seed, sample)["segmentation"] == 2).mean(axis=0) for seed in range(20)]
        for kind in ("objects", "proposals")
    )
    assert {tuple(middle) for middle in first} == {(11.5, 11.5)}
    assert len({tuple(middle) for middle in second}) > 15


@pytest.mark.parametrize("pixels", [15, 16])
def test_the_least_object_has_16_pixels(pixels):
    labels = np.zeros((30, 40), np.int64)
    labels[5, 5 : 5 + pixels] = 1
    assert (draw_object(labels, np.random.default_rng(0), components) is None) == (pixels < 16)


def test_a_sample_without_labels():
    with pytest.raises(ValueError, match="object_crop: the sample must have labels of its pixels, got image, label"):
        crop("objects", sample={"image": np.zeros((9, 9, 3), np.uint8), "label": 1})


def test_boxes():
    mask = np.zeros((6, 9), bool)
    mask[2, 3] = mask[4, 7] = True
    np.testing.assert_array_equal(tight_box(mask), [3, 2, 8, 5])
    np.testing.assert_array_equal(extended(np.array([0.0, 10.0, 10.0, 30.0]), 1.2), [-1, 8, 11, 32])


def test_an_unknown_kind():
    with pytest.raises(ValueError, match="object_crop: kind must be 'objects' or 'proposals', got 'boxes'"):
        crop("boxes")
