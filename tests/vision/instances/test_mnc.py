"""Multi-task network cascades: gradients through the coordinates of boxes, masks by hand, two images by heart."""

import numpy as np
import pytest

import vision
from datasets import Shapes
from nn.gradcheck import GradientError, check_model
from scripts.gradcheck import off_the_kinks, tiny_batch, tiny_data
from tests.vision.instances.by_heart import learn, scenes
from vision.boxes.boxes import decode, decode_backward
from vision.instances.mnc import within
from vision.instances.task import instance_batch
from vision.registry import find

CLASSES = ("circle", "square", "triangle")
SMALL = {
    "width": 6, "hidden": 48, "short_side": 64, "max_side": 96, "anchor_scales": (12, 24, 48), "roi_samples": 32,
    "mask_pooled": 8, "mask_hidden": 48,
}  # fmt: skip


def build(**options):
    return vision.build("mnc_small", CLASSES, np.random.default_rng(3), **SMALL | options)


def check(**options):
    """check_model of the tiny version with other options."""
    tiny = find("mnc_small").tiny
    data = tiny_data("mnc_small", tiny)
    model = vision.build("mnc_small", data.classes, np.random.default_rng(3), **tiny.options | options)
    return check_model(off_the_kinks(model), tiny_batch(model, data, tiny.scenes), tolerance=1e-6)


def test_decoding_backward():
    rng = np.random.default_rng(0)
    deltas, anchors = 0.3 * rng.standard_normal((4, 3, 4)), rng.uniform(0, 9, (4, 3, 4))
    anchors[..., 2:] += anchors[..., :2] + 3
    deltas[0, 0, 2] = 9.0  # beyond the largest size
    dboxes = rng.standard_normal((4, 3, 4))
    for given, down in zip((deltas, anchors), decode_backward(dboxes, deltas, anchors)):
        for index in np.ndindex(given.shape):
            value, sides = given[index], []
            for step in (1e-6, -1e-6):
                given[index] = value + step
                sides.append((dboxes * decode(deltas, anchors)).sum())
            given[index] = value
            assert down[index] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-6)


def test_the_gradient_reaches_the_boxes():
    """With the coordinates held, backward lacks what the boxes change, and the numerical check sees it."""
    with pytest.raises(GradientError, match="derivative"):
        check(box_gradient=0.0)


def test_three_stages():
    assert max(check(cascade=3).values()) < 1e-6


def test_a_masked_feature_is_the_product():
    model = build()
    rng, head = np.random.default_rng(0), model.head
    features = rng.standard_normal((1, head.box_path[0].in_features // 16, 12, 12)).astype(np.float32)
    boxes, index = np.array([[3, 4, 30, 35]], np.float32), np.zeros(1, np.int64)
    head.mask[2].bias.value[:] = -1000  # no pixel is figure
    outputs, _ = head.forward(features, boxes, index)
    hidden = np.concatenate([
        head.box_path(head.pool(head.warp(features, boxes, index)).reshape(1, -1)),
        head.mask_path(np.zeros((1, head.mask_path[0].in_features), np.float32)),  # all of F_mask is 0
    ], axis=1)  # fmt: skip
    np.testing.assert_allclose(outputs.logits, head.cls_score(hidden), rtol=1e-5)
    assert outputs.mask_logits.shape == (1, 16, 16)


@pytest.mark.parametrize("cascade", [3, 5])
def test_candidates_are_those_of_all_passes(cascade):
    """Boxes of the RPN, and those that stage 3 has moved: by the deltas of the likeliest class, clipped."""
    model = build(cascade=cascade)
    rng, n = np.random.default_rng(0), 3
    features = rng.standard_normal((1, model.backbone.out_channels, 8, 8)).astype(np.float32)
    boxes = np.array([[3, 4, 30, 25], [0, 0, 9, 9], [12, 8, 32, 32]], np.float32)
    model.head.bbox_pred.bias.value[:] = rng.uniform(-3, 3, 4 * len(CLASSES))
    found, scores, masks = model.candidates(features, boxes, 0, (32, 32))
    outputs = model.head(features, boxes, np.zeros(n, np.int64))
    likeliest = outputs.logits[:, 1:].argmax(axis=1)
    moved = decode(outputs.deltas[np.arange(n), likeliest] * np.array([0.1, 0.1, 0.2, 0.2], np.float32), boxes)
    wanted = np.concatenate([boxes, np.clip(moved, 0, 32)])[: n * model.rounds]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert scores.shape == (n * model.rounds, 3) and masks.shape == (n * model.rounds, 16, 16)
    assert cascade == 3 or np.abs(found[:n] - found[n:]).max() > 1


def test_clipping_lets_the_gradient_through_inside():
    boxes = np.array([[-1.0, 2, 3, 99]])
    assert within(boxes, np.array([[50.0, 40, 50, 40]])).tolist() == [[0, 2, 3, 40]]


def test_two_images_are_learned_by_heart():
    assert learn(build(width=4), scenes(2), steps=60, slower=42)["mask_AP50"] == 1


@pytest.mark.parametrize("cascade", [3, 5])
def test_no_objects_no_proposals(cascade):
    data, model = Shapes(1, (64, 80)), build(cascade=cascade)
    empty = data[0] | {key: data[0][key][:0] for key in ("boxes", "labels", "difficult", "masks")}
    losses, cache = model.loss(instance_batch(model, [empty]), np.random.default_rng(0))
    model.backward(cache)
    assert losses["mask"] == 0
    assert ("mask2" in losses) == (cascade == 5)
    model.rpn.bbox_pred.bias.value[2::4] = -20  # all proposals shrink to nothing
    losses, cache = model.loss(instance_batch(model, [empty]), np.random.default_rng(0))
    model.backward(cache)
    assert losses["cls"] == 0
    found = model.segment_objects(np.zeros((70, 50, 3), np.uint8))
    assert found["masks"].shape == (0, 70, 50)
