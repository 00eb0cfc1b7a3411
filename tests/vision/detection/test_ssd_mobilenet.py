"""SSD on MobileNet: sizes, the sigmoid loss by loops, the published weights and what they find."""

import os
from pathlib import Path

import numpy as np
import pytest

import vision
from datasets import Shapes
from nn.gradcheck import check_model
from vision.detection.ssd_mobilenet import COCO
from vision.detection.task import detector_batch
from vision.training.saving import load_pretrained

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data"))
WEIGHTS = DATA / "weights" / "ssd_mobilenet_v1_075" / "ssd_mobilenet_v1_075.npz"
PHOTOGRAPHS = DATA / "coco_det_open" / "images"
NAMES = tuple(name for name in COCO.values() if name)
CLASSES = ("circle", "square", "triangle")
SMALL = {"short_side": 32, "width": 0.07, "sizes": [0.2, 0.4, 0.6, 0.8], "ratios": [[2], [2, 3], [2, 3]]}
with_data = pytest.mark.skipif(not (WEIGHTS.is_file() and PHOTOGRAPHS.is_dir()), reason="no shared data")


def small(**options):
    return vision.build("ssd_mobilenet", CLASSES, np.random.default_rng(3), **SMALL | options)


def batch(model):
    data = Shapes(2, (32, 32), seed=5)
    images, targets = detector_batch(model, [data[i] for i in range(2)])
    return images.astype(np.float64), targets


def test_1917_default_boxes_on_six_maps():
    model = vision.build("ssd_mobilenet", CLASSES, np.random.default_rng(0), width=0.1)
    maps, _ = model.forward_maps(np.zeros((1, 3, 300, 300), np.float32), training=False)
    assert [x.shape[2] for x in maps] == [19, 10, 5, 3, 2, 1]
    assert len(model.defaults(maps, (300, 300))) == 1917
    assert len(NAMES) == 80
    assert COCO[90] == "toothbrush"  # COCO's own numbers, with gaps


def test_loss_is_a_sigmoid_of_each_class():
    model = small(matching_iou=0.05)
    losses, cache = model.loss(batch(model), np.random.default_rng(0))
    maps, _ = model.forward_maps(batch(model)[0])
    (logits, _), _ = model.forward_heads(maps)
    labels, total = cache.sampled.labels, 0
    for n, a in zip(*np.nonzero(labels >= 0)):
        for column, z in enumerate(logits[n, a]):
            p = 1 / (1 + np.exp(-z))
            total -= np.log(p if column == labels[n, a] else 1 - p)
    assert losses["cls"] == pytest.approx(total / (labels > 0).sum(), rel=1e-5)
    background = -np.log(1 / (1 + np.exp(-logits[..., 0]))) - np.log(1 - 1 / (1 + np.exp(-logits[..., 1:]))).sum(axis=2)
    np.testing.assert_allclose(model.background_loss(logits), background, rtol=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_gradients_by_the_complex_step(batch_norm):
    model = small(matching_iou=0.05, negative_ratio=1e3, batch_norm=batch_norm)
    errors = check_model(model, batch(model), complex_step=True, tolerance=1e-8)
    assert errors.keys() == {name for name, p in model.parameters().items() if p.trainable}


def test_names_that_are_not_cocos_leave_the_class_heads_random():
    """Of a published file a detector of other classes takes all but the heads of classes."""
    heads = {"BoxPredictor_0.ClassPredictor.bias": np.arange(3 * 91.0), "Conv2d_0.bias": np.zeros(8)}
    assert len(small().pretrained_names(heads)["class_heads.0.bias"]) == 3 * 91
    person = vision.build("ssd_mobilenet", ("person", "dog"), np.random.default_rng(0), width=0.1)
    chosen = person.pretrained_names(heads)["class_heads.0.bias"]
    np.testing.assert_array_equal(chosen, [0, 1, 18, 91, 92, 109, 182, 183, 200])


@pytest.fixture(scope="module")
def published():
    model = vision.build("ssd_mobilenet", NAMES, np.random.default_rng(0))
    assert len(load_pretrained(WEIGHTS, model)) == len(model.state_dict())
    return model


@with_data
def test_default_boxes_are_the_published_ones(published):
    """Those of the file are rounded to 8 bits: 1.43 pixels of 300 at most, measured."""
    maps, _ = published.forward_maps(np.zeros((1, 3, 300, 300), np.float32), training=False)
    y, x, h, w = 300 * np.load(WEIGHTS)["anchors"].T
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    np.testing.assert_allclose(published.defaults(maps, (300, 300)), boxes, atol=1.5)


@with_data
@pytest.mark.parametrize(
    ("photograph", "wanted"),
    [
        (
            "000000000790",
            [
                ("person", 0.782, [104, 37, 155, 99]),
                ("person", 0.739, [173, 55, 240, 141]),
                ("dining table", 0.726, [53, 82, 248, 208]),
                ("person", 0.716, [3, 57, 96, 199]),
            ],
        ),
        ("000000030213", [("refrigerator", 0.776, [243, 60, 313, 173]), ("chair", 0.635, [151, 166, 285, 224])]),
    ],
)
def test_published_detections(published, photograph, wanted):
    """Scores within 0.01 and boxes within 1.5 pixels of those that come with the weights."""
    found = published.detect(PHOTOGRAPHS / f"{photograph}.jpg")
    for i, (name, score, box) in enumerate(wanted):
        assert found["names"][i] == name
        assert found["scores"][i] == pytest.approx(score, abs=0.01)
        np.testing.assert_allclose(found["boxes"][i], box, atol=1.5)
