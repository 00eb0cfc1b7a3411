"""Boxes against naive loops, examples worked by hand, and bad input."""

import math

import numpy as np
import pytest

import nn
from nn.cpu import nms as fast
from vision.boxes.boxes import area, clip, decode, encode, iou
from vision.boxes.nms import nms


def random_boxes(rng, n, size=100, dtype=np.float64, whole=False):
    """Boxes of positive size; on whole pixels overlaps are exact and often equal."""
    low = rng.uniform(0, size, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, size / 2, (n, 2))], axis=1)
    return (np.ceil(boxes) if whole else boxes).astype(dtype)


def naive_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    return intersection / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection)


def naive_nms(boxes, scores, threshold, classes=None, max_keep=None):
    """The textbook loop: take the best box left, drop what it suppresses, repeat."""
    left = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    keep = []
    while left and len(keep) != max_keep:
        best, *left = left
        keep.append(best)
        left = [
            i
            for i in left
            if (classes is not None and classes[i] != classes[best]) or naive_iou(boxes[best], boxes[i]) <= threshold
        ]
    return keep


def test_iou_by_hand():
    a = np.array([[0, 0, 10, 10], [20, 20, 30, 40]], float)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [25, 30, 45, 50]], float)
    expected = [[1, 50 / 150, 0, 0], [0, 0, 0, 50 / 550]]  # touching boxes share no pixel
    assert iou(a, b) == pytest.approx(np.array(expected), abs=1e-15)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-14), (np.float32, 1e-5)])
def test_iou_equals_the_loop(dtype, tolerance):
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 23, dtype=dtype), random_boxes(rng, 31, dtype=dtype)
    result = iou(a, b)
    assert result.dtype == dtype
    expected = [[naive_iou(x, y) for y in b.tolist()] for x in a.tolist()]
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)
    assert iou(a[:0], b).shape == (0, 31) and iou(a, b[:0]).shape == (23, 0)


def test_boxes_without_area_overlap_nothing():
    odd = np.array([[5, 5, 5, 5], [5, 2, 5, 8], [8, 8, 2, 2], [8, 2, 2, 8]], float)  # a point, a line, two inverted
    with np.errstate(all="raise"):
        assert (iou(odd, odd) == 0).all()
        assert (iou(odd, np.array([[0, 0, 10, 10.0]])) == 0).all()
    assert (area(odd) == 0).all()


def test_encode_by_hand():
    anchor = np.array([[10, 20, 30, 60]], float)  # centre (20, 40), 20 x 40
    box = np.array([[20, 30, 60, 50]], float)  # centre (40, 40), 40 x 20
    np.testing.assert_allclose(encode(box, anchor), [[1, 0, math.log(2), -math.log(2)]], atol=1e-15)
    assert (encode(anchor, anchor) == 0).all()


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-11), (np.float32, 1e-3)])
def test_decode_is_the_inverse_of_encode(dtype, tolerance):
    rng = np.random.default_rng(1)
    boxes, anchors = random_boxes(rng, 200, dtype=dtype), random_boxes(rng, 200, dtype=dtype)
    deltas = encode(boxes, anchors)
    assert deltas.dtype == dtype and decode(deltas, anchors).dtype == dtype
    np.testing.assert_allclose(decode(deltas, anchors), boxes, rtol=0, atol=tolerance)
    np.testing.assert_allclose(encode(decode(deltas, anchors), anchors), deltas, rtol=0, atol=tolerance)


def test_decode_of_deltas_per_class():
    rng = np.random.default_rng(2)
    rois, deltas = random_boxes(rng, 7), rng.normal(size=(7, 3, 4))
    together = decode(deltas, rois[:, None])
    for c in range(3):
        np.testing.assert_array_equal(together[:, c], decode(deltas[:, c], rois))


def test_decode_limits_wild_sizes():
    anchor = np.array([[0, 0, 16, 8]], np.float32)
    with np.errstate(all="raise"):
        box = decode(np.array([[0, 0, 1e9, 4.2]], np.float32), anchor)
    np.testing.assert_allclose(box[0, 2] - box[0, 0], 1000, rtol=1e-6)  # 16 * 1000 / 16
    np.testing.assert_allclose(box[0, 3] - box[0, 1], 8 * 62.5, rtol=1e-6)
    shrunk = decode(np.array([[0, 0, -1e9, 0]], np.float32), anchor)  # shrinking needs no limit
    np.testing.assert_array_equal(shrunk, [[8, 0, 8, 8]])


def test_clip():
    boxes = np.array([[-5, -5, 5, 5], [10, 10, 200, 300], [-9, -9, -1, -1]], np.float32)
    before = boxes.copy()
    np.testing.assert_array_equal(clip(boxes, (50, 80)), [[0, 0, 5, 5], [10, 10, 80, 50], [0, 0, 0, 0]])
    np.testing.assert_array_equal(boxes, before)
    assert clip(boxes, (50, 80)).dtype == np.float32
    assert clip(boxes.reshape(3, 1, 4), (50, 80)).shape == (3, 1, 4)


@pytest.fixture(params=["plain", "default"], autouse=True)
def textbook_too(request, monkeypatch):
    """Every test here runs on the textbook's loop over boxes as well."""
    monkeypatch.setattr(nn.config, "plain", request.param == "plain")


@pytest.mark.parametrize("seed", range(25))
def test_nms_equals_the_loop(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 120))
    boxes = random_boxes(rng, n, size=30, whole=True, dtype=rng.choice([np.float32, np.float64]))
    scores = rng.integers(0, 8, n) / 8  # many ties
    classes = rng.integers(1, 4, n)
    for threshold in (0.0, 0.25, 0.5, 0.7, 1.0):  # 1/4 and 1/2 sometimes occur exactly
        for kinds in (None, classes):
            expected = naive_nms(boxes.astype(float), scores, threshold, kinds)
            assert nms(boxes, scores, threshold, kinds).tolist() == expected
            assert nms(boxes, scores, threshold, kinds, max_keep=5).tolist() == expected[:5]
            assert nms(boxes, scores, threshold, kinds, max_keep=0).tolist() == []


@pytest.mark.parametrize("block", [1, 2, 7, 64, 1000])
def test_nms_does_not_depend_on_the_block_size(block, monkeypatch):
    rng = np.random.default_rng(3)
    boxes, scores, classes = random_boxes(rng, 150), rng.random(150), rng.integers(0, 2, 150)
    expected = naive_nms(boxes, scores, 0.4, classes)
    monkeypatch.setattr(fast, "NMS_BLOCK", block)
    assert nms(boxes, scores, 0.4, classes).tolist() == expected
    assert nms(boxes, scores, 0.4, classes, max_keep=60).tolist() == expected[:60]


def test_nms_of_5000_boxes_spans_many_blocks():
    rng = np.random.default_rng(4)
    boxes = random_boxes(rng, 5000, size=400, dtype=np.float32)
    scores = rng.random(5000).astype(np.float32)
    keep = nms(boxes, scores, 0.5)
    assert len(keep) > 3 * fast.NMS_BLOCK
    assert keep.tolist() == naive_nms_of_rows(boxes, scores, 0.5)
    assert nms(boxes, scores, 0.5, max_keep=700).tolist() == keep[:700].tolist()


def naive_nms_of_rows(boxes, scores, threshold):
    """The textbook loop again, vectorised over all other boxes, so that it is fast enough for thousands."""
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    order, keep = np.argsort(-scores), []
    while len(order):
        i, order = order[0], order[1:]
        keep.append(int(i))
        width = np.maximum(0, np.minimum(x2[i], x2[order]) - np.maximum(x1[i], x1[order]))
        height = np.maximum(0, np.minimum(y2[i], y2[order]) - np.maximum(y1[i], y1[order]))
        overlap = width * height / (areas[i] + areas[order] - width * height)
        order = order[overlap <= threshold]
    return keep


def test_nms_a_suppressed_box_suppresses_nothing():
    """Each box overlaps its neighbours only (IoU 0.6): first kept, second dropped by it, third kept, ..."""
    start = 2.5 * np.arange(900)
    chain = np.stack([start, 0 * start, start + 10, 0 * start + 10], axis=1)
    scores = np.linspace(1, 0, 900)
    assert nms(chain, scores, 0.5).tolist() == list(range(0, 900, 2))
    assert nms(chain, scores, 0.7).tolist() == list(range(900))


def test_nms_drops_only_above_the_threshold():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)  # IoU exactly 1/2
    assert nms(boxes, np.array([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert nms(boxes, np.array([0.9, 0.8]), 0.499).tolist() == [0]


def test_nms_ties_and_degenerate_boxes():
    same = np.tile(np.array([[1, 1, 5, 5.0]]), (4, 1))
    assert nms(same, np.array([0.5, 0.7, 0.7, 0.5]), 0.3).tolist() == [1]  # the first of two best
    points = np.tile(np.array([[3, 3, 3, 3.0]]), (3, 1))
    assert nms(points, np.array([0.1, 0.2, 0.3]), 0.0).tolist() == [2, 1, 0]  # no area, no overlap


BOX = np.array([[0, 0, 10, 10.0]])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: iou(BOX[0], BOX), r"iou: a must have shape \(A, 4\), got \(4,\)"),
        (lambda: iou(BOX, BOX[:, :3]), r"iou: b must have shape \(B.*, 4\), got \(1, 3\)"),
        (
            lambda: encode(BOX[:, [0, 1, 0, 3]], BOX),
            r"encode: boxes must have x2 > x1 and y2 > y1, got \[0.0, 0.0, 0.0",
        ),
        (
            lambda: encode(BOX, BOX[:, [2, 1, 0, 3]]),
            r"encode: anchors must have x2 > x1 .* got \[10.0, 0.0, 0.0, 10.0\]",
        ),
        (lambda: encode(BOX * np.nan, BOX), r"encode: boxes must have x2 > x1 .* got \[nan"),
        (lambda: decode(BOX[:, :2], BOX), r"decode: deltas must have shape \(1, 4\), got \(1, 2\)"),
        (lambda: clip(BOX[:, :2], (5, 5)), r"clip: boxes must have shape \(1, 4\), got \(1, 2\)"),
        (lambda: nms(BOX, np.zeros(2), 0.5), r"nms: scores must have shape \(N=1\), got \(2,\)"),
        (
            lambda: nms(BOX, np.zeros(1), 0.5, np.zeros(2, int)),
            r"nms: classes must be integers of shape \(1,\).*\(2,\)",
        ),
        (lambda: nms(BOX, np.zeros(1), 0.5, np.zeros(1)), r"nms: classes must be integers .* got float64 \(1,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
