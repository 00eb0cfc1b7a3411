"""OverFeat: dense evaluation against windows, the greedy merge by hand, random windows, candidates, both models."""

import numpy as np
import pytest

import vision
from datasets import Shapes
from tests.vision.localization.models import batch_of, tiny
from vision.localization import OverFeatNet
from vision.localization.overfeat import Candidates
from vision.localization.overfeat_draw import draw_merge
from vision.localization.overfeat_merge import greedy_merge, match_scores
from vision.localization.overfeat_net import FEATURES
from vision.localization.windows import Windows, around, beside, corners, cut

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("features", "cells", "window", "stride", "more"),
    [("small", 3, 60, 4, (41, 27)), ("small", 2, 48, 4, (5, 0)), ("alexnet", 1, 195, 16, (20, 49))],
)
def test_dense_evaluation_gives_the_outputs_of_every_window(features, cells, window, stride, more):
    """A fully connected layer as a convolution, nine shifts of the last pooling: equal crop by crop within 1e-5."""
    width = 2
    net = OverFeatNet(FEATURES[features](width, rng=RNG), 4, 3, cells, 5, rng=RNG)
    assert (net.window, net.stride) == (window, stride)
    images = RNG.standard_normal((2, 3, window + more[0], window + more[1])).astype(np.float32)
    net.forward(RNG.standard_normal((4, 3, window, window)).astype(np.float32))  # statistics that are not 0 and 1
    logits, deltas = net.dense(images)
    assert logits.shape == (2, 4, more[0] // stride + 1, more[1] // stride + 1)
    for r, c in np.ndindex(logits.shape[2:]):
        crop = images[:, :, stride * r : stride * r + window, stride * c : stride * c + window]
        (one_logits, one_deltas), _ = net.forward(crop, training=False)
        assert abs(one_logits - logits[:, :, r, c]).max() < 1e-5
        assert abs(one_deltas.reshape(2, 12) - deltas[:, :, r, c]).max() < 1e-5


def test_published_alexnet_has_windows_of_243_pixels():
    model = vision.build("overfeat", ["a"], np.random.default_rng(0), width=2, hidden=2)
    assert (model.network.window, model.network.stride, model.needs_weights) == (243, 16, True)
    renamed = model.pretrained_names({"features.0.weight": 1})
    assert list(renamed) == ["network.features.features.0.weight"]
    assert set(renamed) <= set(model.state_dict())


def test_what_is_too_small_is_named():
    net = OverFeatNet(FEATURES["small"](1, rng=RNG), 2, 2, 1, 2, rng=RNG)
    with pytest.raises(ValueError, match=rf"at least {net.window} pixels, got \(10, 90\)"):
        net.dense(np.zeros((1, 3, 10, 90), np.float32))
    with pytest.raises(ValueError, match="OverFeatNet: windows must have shape"):
        net.forward(np.zeros((1, 3, 90, 90), np.float32))


def test_match_scores_by_hand():
    a = np.array([[0, 0, 10, 10.0]])
    b = np.array([[0, 0, 10, 10], [3, 4, 13, 14], [100, 0, 110, 10], [0, 0, 20, 20.0]])
    apart = 5 / 10 + 1 - 7 * 6 / 100  # centres 5 apart; 42 of 100 pixels shared
    np.testing.assert_allclose(match_scores(a, b), [[0, apart, 11, np.sqrt(50) / 20 + 1 - 100 / 400]])


def test_greedy_merge_by_hand():
    """Two boxes agree, then the third joins them; a fourth is far away, and wins nothing though it is surest."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 12, 10], [2, 0, 12, 10], [50, 50, 60, 60.0]])
    merged = greedy_merge(boxes, np.array([0.5, 0.5, 1.0, 0.9]), threshold=0.6)
    np.testing.assert_allclose(merged.scores, [2.0, 0.9])
    np.testing.assert_allclose(merged.boxes, [[1, 0, 11.5, 10], [50, 50, 60, 60]])
    assert merged.windows.tolist() == [3, 1]


def naive_merge(boxes, scores, threshold):
    """The loop of sec. 4.3, with all pairs anew in each round."""
    items = [(np.array(b), s) for b, s in zip(boxes, scores)]
    while len(items) > 1:
        pairs = [(match_scores(a[0][None], b[0][None])[0, 0], i, j)
                 for i, a in enumerate(items) for j, b in enumerate(items) if i < j]  # fmt: skip
        best, i, j = min(pairs)
        if best > threshold:
            break
        (a, s), (b, t) = items[i], items[j]
        items = [each for k, each in enumerate(items) if k not in (i, j)] + [((s * a + t * b) / (s + t), s + t)]
    return sorted((round(s, 9), *b.round(9)) for b, s in items)


def test_greedy_merge_against_a_loop():
    start = RNG.random((25, 2)) * 60
    boxes, scores = np.concatenate([start, start + 10 + 15 * RNG.random((25, 2))], axis=1), 0.1 + RNG.random(25)
    merged = greedy_merge(boxes, scores, 0.7)
    got = sorted((round(s, 9), *b.round(9)) for b, s in zip(merged.boxes, merged.scores))
    np.testing.assert_allclose(got, naive_merge(boxes, scores, 0.7), rtol=1e-6)
    assert 1 < len(merged.boxes) < 25 and merged.windows.sum() == 25
    assert len(greedy_merge(boxes[:0], scores[:0]).boxes) == 0


def test_windows_around_an_object_hold_more_than_half_of_it():
    boxes = np.tile([[10, 20, 40, 30.0], [0, 0, 8, 24]], (500, 1))
    centre, side = around(boxes, (0.3, 1.0), np.random.default_rng(1))
    share = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / side
    assert 0.3 <= share.min() < 0.35 and 0.95 < share.max() <= 1
    seen = corners(Windows(np.zeros(1000, int), centre, side))
    inside = np.minimum(seen[:, 2:], boxes[:, 2:]) - np.maximum(seen[:, :2], boxes[:, :2])
    parts = inside / (boxes[:, 2:] - boxes[:, :2])
    assert parts.min() >= 0.75 - 1e-9 and parts.min() < 0.8


def test_windows_of_the_background_hold_no_object():
    boxes = np.array([[10, 10, 30, 30.0]])
    centre, side = beside(boxes, (60, 90), (20, 40), 50, 0.2, np.random.default_rng(1))
    seen = corners(Windows(np.zeros(len(side), int), centre, side))
    inside = np.maximum(np.minimum(seen[:, 2:], boxes[:, 2:]) - np.maximum(seen[:, :2], boxes[:, :2]), 0)
    assert len(side) == 50 and inside.prod(axis=1).max() <= 0.2 * 400
    assert seen.min() >= 0 and (seen[:, 2:] <= [90, 60]).all()
    assert len(beside(np.array([[0, 0, 90, 60.0]]), (60, 90), (20, 40), 5, 0.0, RNG)[1]) == 0


def test_a_cut_of_its_own_size_is_the_part_of_the_image():
    images = RNG.standard_normal((2, 3, 20, 30))
    part = cut(images, Windows(np.array([1]), np.array([[13.0, 9.0]]), np.array([8.0])), 8)
    np.testing.assert_allclose(part, images[1:, :, 5:13, 9:17], atol=1e-12)


def test_a_regressor_that_is_right_gives_the_object_at_every_window_and_scale():
    """Candidates of all scales are the same box in the image's pixels, and merge into it with all their scores."""
    model, _ = tiny("overfeat_small", scales=[1.0, 1.5], per_scale=1000, floor=0.0)
    net, box = model.network, np.array([20, 24, 60, 70.0])
    image, dense = np.zeros((3, 80, 100), np.float32), net.dense

    def perfect(images):
        logits, deltas = dense(images)
        scale = np.array(images.shape[:1:-1] * 2) / np.array([100, 80, 100, 80])
        corner = net.stride * np.stack([*np.indices(logits.shape[2:])[::-1]] * 2)
        target = ((box * scale)[:, None, None] - corner) / net.window
        deltas = np.tile((target - np.array([0.25, 0.25, 0.75, 0.75])[:, None, None]) / 0.2, (3, 1, 1))[None]
        logits = np.zeros_like(logits)
        logits[:, 1] = 5.0
        return type(dense(images))(logits, deltas)

    net.dense = perfect
    found = model.candidates(image)
    np.testing.assert_allclose(found.boxes[found.labels == 1], np.tile(box, ((found.labels == 1).sum(), 1)), atol=0.02)
    (answer,) = model.predict(image[None])
    assert answer["labels"].tolist() == [2]
    np.testing.assert_allclose(answer["boxes"], [box], atol=0.02)
    assert 0.9 < answer["scores"][0] <= 1


def test_the_detector_has_a_background_and_learns_from_empty_windows():
    model, data = tiny("overfeat_detector_small")
    _, objects = model.objects_of(batch_of(model, data))
    sampled = model.sample(objects, np.random.default_rng(0))
    assert model.network.classifier[-1].out_channels == 4 and model.network.boxes == 3
    assert (sampled.labels == -1).any() and (sampled.labels >= 0).any()
    _, gradient = model.box_error(np.zeros((len(sampled.labels), 3, 4), np.float32), sampled)
    assert not gradient[sampled.labels < 0].any() and gradient[sampled.labels >= 0].any(axis=(1, 2)).all()
    found = model.detect(data[0]["image"])
    assert set(found) == {"boxes", "labels", "scores", "names"} and len(found["boxes"]) == len(found["scores"])


def test_bad_options_and_batches():
    for options in ({"scales": []}, {"scales": [0.0]}, {"shares": [0.9, 0.5]}):
        with pytest.raises(ValueError, match="scales and shares must be above 0"):
            tiny("overfeat_small", **options)
    with pytest.raises(ValueError, match="OverFeat: top must be at least 1, got 0"):
        tiny("overfeat_small", top=0)
    model, data = tiny("overfeat_small")
    images, labels, boxes = batch_of(model, data)
    with pytest.raises(ValueError, match="a batch must have objects"):
        model.class_loss((images, labels * 0 - 1, boxes), np.random.default_rng(0))


@pytest.mark.parametrize("name", ["overfeat_small", "overfeat_detector_small"])
def test_boxes_before_and_after_the_merge_are_drawn(name):
    data = Shapes(2, (48, 64), classes=["circle"])
    model = vision.build(name, data.classes, np.random.default_rng(0), width=2, hidden=4, scales=[1.0], short_side=64)
    drawn = model.pictures(data)["merge"]
    assert drawn.dtype == np.uint8 and drawn.ndim == 3
    found = Candidates(np.array([[2, 2, 20, 20], [3, 3, 21, 21.0]]), np.zeros(2, int), np.array([0.9, 0.8]))
    sheet = draw_merge(data[0]["image"], found, model.merged(found), ["circle"])
    assert sheet.shape[1] > 2 * 64 and len(model.merged(found).boxes) == 1
