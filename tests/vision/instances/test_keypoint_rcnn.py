"""The key-point branch of Mask R-CNN: cells and loss by hand, there and back, two images by heart."""

import numpy as np
import pytest

import vision
from datasets import Shapes
from tests.vision.instances.by_heart import learn, scenes
from vision.instances.keypoint_rcnn import keypoint_loss, keypoint_targets, most_likely
from vision.instances.task import count_keypoints, instance_batch

CLASSES = ("circle", "square", "triangle")
SMALL = {
    "width": 6, "hidden": 48, "short_side": 64, "max_side": 96, "anchor_scales": (12, 24, 48), "roi_samples": 32,
    "mask_convs": 1, "mask_channels": 16, "mask_pooled": 7, "keypoints": 4, "keypoint_convs": 1,
    "keypoint_channels": 24,
}  # fmt: skip


def build(**options):
    return vision.build("keypoint_rcnn_small", CLASSES, np.random.default_rng(3), **SMALL | options)


def test_cells_by_hand():
    rois = np.array([[10.0, 20, 18, 36]])  # 8 x 16 pixels, cells of 2 x 4
    points = np.array([[[10, 20, 2], [17.9, 35.9, 1], [14, 28, 2], [18, 30, 2], [12, 25, 0]]], float)
    assert keypoint_targets(points, rois, 4).tolist() == [[0, 15, 10, 11, -1]]  # the fourth is on the right border
    outside = np.array([[[18.01, 30, 2], [12, 36.01, 2], [9.99, 25, 2], [12, 36, 1]]])
    assert keypoint_targets(outside, rois, 4).tolist() == [[-1, -1, -1, 13]]


def test_the_loss_is_a_softmax_over_the_cells_of_marked_points():
    rng = np.random.default_rng(0)
    scores, cells = rng.standard_normal((2, 3, 4, 4)), np.array([[5, -1, 0], [15, 3, -1]])
    value, dscores = keypoint_loss(scores, cells)
    p = np.exp(scores.reshape(2, 3, 16))
    p /= p.sum(axis=2, keepdims=True)
    marked = [(r, j) for r in range(2) for j in range(3) if cells[r, j] >= 0]
    assert value == pytest.approx(-np.mean([np.log(p[r, j, cells[r, j]]) for r, j in marked]))
    assert not dscores[cells < 0].any()
    assert keypoint_loss(scores[:0], cells[:0])[0] == 0


def test_there_and_back():
    rng = np.random.default_rng(1)
    boxes = np.array([[3.0, 4, 31, 40]])
    points = np.concatenate([rng.uniform(5, 30, (1, 6, 2)), np.full((1, 6, 1), 2)], axis=2)
    cells, scores = keypoint_targets(points, boxes, 56), np.zeros((1, 6, 56, 56))
    for j, cell in enumerate(cells[0]):
        scores[0, j, cell // 56, cell % 56] = 20
    found = most_likely(scores, boxes)
    assert np.abs(found[..., :2] - points[..., :2]).max() <= 36 / 56 / 2 + 1e-9  # half a cell
    assert (found[..., 2] > 0.99).all()


def test_two_images_are_learned_by_heart():
    data, model = scenes(2), build()
    assert learn(model, data, steps=60)["mask_AP50"] == 1
    found = model.segment_objects(data[0]["image"])
    nearest = np.abs(found["keypoints"][:, None, :, :2] - data[0]["keypoints"][None, :, :, :2]).max(axis=(2, 3))
    assert nearest[found["scores"].argmax()].min() < 6  # pixels, the farthest of its four points


def test_bad_data_and_an_image_without_objects():
    data, model = Shapes(1, (64, 80)), build()
    images, targets = instance_batch(model, [data[0]])
    with pytest.raises(ValueError, match=r"wanted keypoints \(K, 4, 3\), got none"):
        model.loss((images, [{k: v for k, v in targets[0].items() if k != "keypoints"}]), np.random.default_rng(0))
    keys = ("boxes", "labels", "difficult", "masks", "keypoints")
    empty = data[0] | {key: data[0][key][:0] for key in keys}
    losses, cache = model.loss(instance_batch(model, [empty]), np.random.default_rng(0))
    model.backward(cache)
    assert losses["keypoint"] == 0
    assert count_keypoints(build(keypoints=17), data) == {"keypoints": 4}
    with pytest.raises(ValueError, match="the training data has none"):
        count_keypoints(model, object())
