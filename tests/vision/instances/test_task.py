"""The task of instances: batches, metrics by hand, tables, files."""

import json

import numpy as np
import pytest
from PIL import Image

from datasets import Shapes, encode_rle
from vision import TASKS, Preprocess
from vision.instances import InstanceSegmenter
from vision.instances.task import (
    describe_instances,
    evaluate_instances,
    instance_batch,
    instance_table,
    object_counts,
    object_f1,
    save_instances,
)

PREPROCESS = Preprocess(short_side=48, max_side=64, mean=0, std=1)


class Oracle(InstanceSegmenter):
    """Finds the objects of a data set, with a change."""

    def __init__(self, data, change=lambda found: found):
        super().__init__(data.classes, None, PREPROCESS)
        self.known = {data[i]["image"].tobytes(): data[i] for i in range(len(data))}
        self.change = change

    def segment_objects(self, photograph):
        sample = self.known[photograph.tobytes()]
        found = {key: sample[key] for key in ("boxes", "masks", "labels")}
        return self.change(found | {"scores": np.full(len(found["labels"]), 0.9)})


def swapped(found):
    """Each object has the mask of another one: boxes are right, masks wrong."""
    return found | {"masks": found["masks"][::-1] & False}


def test_metrics_of_the_truth_and_of_wrong_masks():
    data = Shapes(6, (48, 64), seed=3)
    metrics = evaluate_instances(Oracle(data), data)
    for key in ("mask_AP50", "mask_AP", "APr_0.5", "APr_0.7", "object_F1"):
        assert metrics[key] == 1, key
    assert metrics["coco_boxes"]["AP"] == metrics["coco_masks"]["AR_100"] == 1
    json.dumps(metrics, allow_nan=False)
    text = instance_table(metrics)
    assert "class     objects  AP^r 0.5  AP^r 0.7  mask AP (COCO)" in text and "F1 of objects at IoU 0.5: 1.000" in text
    wrong = evaluate_instances(Oracle(data, swapped), data)
    assert wrong["coco_boxes"]["AP"] == 1 and wrong["mask_AP50"] == wrong["APr_0.5"] == 0 and wrong["object_F1"] == 0


def test_objects_are_counted_whatever_their_class():
    masks = np.zeros((3, 10, 30), bool)
    masks[0, :, :10], masks[1, :, 10:20], masks[2, :, 20:] = True, True, True
    truth = {"masks": masks, "labels": np.array([1, 2, 1]), "difficult": np.array([False, False, True])}
    half = masks.copy()
    half[1, :, 14:] = False  # IoU 0.4
    found = {"masks": half, "scores": np.array([0.9, 0.8, 0.7]), "labels": np.array([2, 2, 2])}
    assert object_counts(found, truth) == (1, 1, 1)  # the difficult one does not count, found or not
    assert object_f1([(1, 1, 1), (3, 0, 1)]) == 2 * 4 / (2 * 4 + 1 + 2)
    assert object_f1([(0, 0, 0)]) is None
    low = found | {"scores": np.array([0.9, 0.4, 0.1])}
    assert object_counts(low, truth) == (1, 0, 1)


def test_batches_have_masks_and_leave_out_empty_ones():
    model, data = Oracle(Shapes(2, (48, 64))), Shapes(2, (48, 64))
    samples = [data[0], data[1]]
    samples[0]["masks"][0] = False
    images, targets = instance_batch(model, samples)
    assert images.shape == (2, 3, 48, 64)
    for target, sample, lost in zip(targets, samples, (1, 0)):
        assert len(target["boxes"]) == len(target["masks"]) == len(sample["labels"]) - lost
        np.testing.assert_array_equal(target["masks"], sample["masks"][lost:])
    for wrong in ({"masks": data[0]["masks"][:, :-1]}, {"masks": data[0]["masks"][:0]}):
        with pytest.raises(ValueError, match=r"wanted masks \(K, 48, 64\) of \d objects, got \("):
            instance_batch(model, [data[0] | wrong])
    with pytest.raises(ValueError, match="got none"):
        instance_batch(model, [{key: value for key, value in data[0].items() if key != "masks"}])


def test_description_and_file(tmp_path):
    masks = np.zeros((2, 12, 20), bool)
    masks[0, 2:9, 2:12], masks[1, 5:12, 8:20] = True, True
    boxes = np.array([[2, 2, 12, 9], [8, 5, 20, 12]], np.float32)
    found = {"masks": masks, "boxes": boxes, "labels": np.array([1, 2]), "scores": np.array([0.6, 0.9])}
    rows = describe_instances(found, ["cat", "dog"])
    assert [(row["class"], row["pixels"], row["box"]) for row in rows] == [
        ("dog", 84, [8, 5, 20, 12]), ("cat", 70, [2, 2, 12, 9]),
    ]  # fmt: skip
    assert save_instances(found, tmp_path, "a") == "a.png"
    with Image.open(tmp_path / "a.png") as picture:
        values = np.asarray(picture).astype(int)
    np.testing.assert_array_equal(values == 1, masks[1])  # the best lies on top
    np.testing.assert_array_equal(values == 2, masks[0] & ~masks[1])
    assert encode_rle(values == 1) == encode_rle(masks[1])
    sure = TASKS["instances"].select(found, 0.7)
    assert [len(sure[key]) for key in sure] == [1, 1, 1, 1]
