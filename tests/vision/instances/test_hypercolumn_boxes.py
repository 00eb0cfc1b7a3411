"""Hypercolumns in boxes: crops and their masks, two stages, two images by heart, a grid drawn."""

import numpy as np
import pytest

import vision
from nn import Adam
from tests.vision.instances.by_heart import scenes
from vision.boxes import iou
from vision.instances.task import TASKS, evaluate_instances, instance_batch

CLASSES = ("circle", "square", "triangle")
SMALL = {
    "width": 4, "hidden": 24, "short_side": 64, "max_side": 96, "anchor_scales": (12, 24, 48), "roi_samples": 16,
    "grid": 3, "size": 24, "padding": 2, "taps": ("conv1", "conv2"), "columns": 6,
}  # fmt: skip


def build(**options):
    return vision.build("hypercolumn_boxes_small", CLASSES, np.random.default_rng(3), **SMALL | options)


class TrueBoxes:
    """In place of the detector: the objects of the images of a data set."""

    def __init__(self, model, data):
        self.known = {model.preprocess.batch([s["image"]]).tobytes(): s for s in (data[i] for i in range(len(data)))}

    def predict(self, images, sizes):
        found = [self.known[image.tobytes()] for image in images[:, None]]
        return [
            {key: each[key] for key in ("boxes", "labels")} | {"scores": np.ones(len(each["labels"]), np.float32)}
            for each in found
        ]


def test_masks_of_two_images_are_learned_by_heart():
    data, model = scenes(3), build()
    rpn, model.detector = model.detector.rpn, TrueBoxes(model, data)
    batch, optimiser = instance_batch(model, [data[0], data[1]]), Adam(model.network.parameters(), lr=0.01)
    for step in range(60):
        _, cache = model.loss(batch, np.random.default_rng(step))
        optimiser.zero_grad()
        model.backward(cache)
        optimiser.step(1 - step / 60)
    metrics = evaluate_instances(model, data)
    assert metrics["APr_0.7"] == 1 and metrics["mask_AP"] > 0.7
    model.detector.rpn = rpn  # whose device is looked at
    picture = TASKS["instances"].pictures(model, data)["grid"]
    assert picture.shape == (4 * 94, 3 * 94, 3)


def test_crops_show_what_their_masks_cover():
    data, model = scenes(3), build(shift=0.0)
    images, targets = instance_batch(model, [data[0], data[1]])
    crops, labels, masks = model.sample(images, targets, np.random.default_rng(0))
    assert labels.tolist() == [*data[0]["labels"], *data[1]["labels"]] and crops.shape == (len(labels), 3, 24, 24)
    boxes = model.around(data[0]["boxes"])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for k, mask in enumerate(data[0]["masks"]):  # the box is 20 of 24 pixels: its mask fills as much of the crop
        assert masks[k].mean() == pytest.approx(mask.sum() / area[k], abs=0.05)
    moved = build(shift=0.1).sample(images, targets, np.random.default_rng(0)).masks
    assert (moved != masks).any()
    assert len(build(crops=2).sample(images, targets, np.random.default_rng(0)).crops) == 2


def test_stages_train_one_part_each():
    model = build()
    batch = instance_batch(model, [scenes(2)[0]])
    for stage in model.stages():
        model.zero_grad()
        losses, cache = getattr(model, stage.loss)(batch, np.random.default_rng(0))
        getattr(model, stage.backward)(cache)
        moved = {name.split(".")[0] for name, p in model.parameters().items() if p.grad.any()}
        assert moved == set(stage.trains) and losses
    assert np.diag(iou(model.around(scenes(2)[0]["boxes"]), scenes(2)[0]["boxes"])) == pytest.approx((20 / 24) ** 2)


def test_nothing_there_and_bad_options():
    data, model = scenes(2), build()
    empty = data[0] | {key: data[0][key][:0] for key in ("boxes", "labels", "difficult", "masks")}
    losses, cache = model.loss(instance_batch(model, [empty]), np.random.default_rng(0))
    model.backward(cache)
    assert losses == {"mask": 0.0}
    found = model.segment_objects(np.zeros((70, 50, 3), np.uint8))
    assert found["masks"].shape == (len(found["boxes"]), 70, 50)
    with pytest.raises(ValueError, match="HypercolumnBoxes: grid must be"):
        build(grid=0)
