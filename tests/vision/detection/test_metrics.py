"""Average precision against examples by hand and a transcript of the VOC development kit."""

import math
from fractions import Fraction

import numpy as np
import pytest

from vision.detection.metrics import evaluate_detections, precision_recall, voc_ap

METHODS = ("area", "11point")


def image(boxes, labels=None, scores=None, difficult=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    entry = {"boxes": boxes, "labels": np.ones(len(boxes), np.int64) if labels is None else np.array(labels, np.int64)}
    if scores is not None:
        entry["scores"] = np.array(scores, np.float32)
    if difficult is not None:
        entry["difficult"] = np.array(difficult, bool)
    return entry


def ap_of(detected, truth, **options):
    return evaluate_detections([detected], [truth], 1, **options)["1"]


A, B, C = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]
FAR = [80, 80, 90, 90]


def devkit_ap(detections, ground_truth, label, iou_threshold, method):
    """VOCevaldet.m and VOCap.m, line by line, in VOC's own inclusive pixels (1-based corners, width x2 - x1 + 1).

    Recalls are rational numbers, so that a recall of 3/10 reaches the point 0.3 without rounding.
    """
    gts, npos = [], 0
    for entry in ground_truth:
        mine = entry["labels"] == label
        difficult = entry.get("difficult", np.zeros(len(mine), bool))[mine]
        gts.append({"BB": entry["boxes"][mine] + [1, 1, 0, 0], "diff": difficult, "det": [False] * mine.sum()})
        npos += np.count_nonzero(~difficult)
    found = []
    for i, entry in enumerate(detections):
        for box, kind, score in zip(entry["boxes"] + [1, 1, 0, 0], entry["labels"], entry["scores"]):
            if kind == label:
                found.append((score, i, box))
    found.sort(key=lambda f: -f[0])

    tp, fp = np.zeros(len(found), int), np.zeros(len(found), int)
    for d, (_, i, bb) in enumerate(found):
        ovmax, jmax = -math.inf, None
        for j, bbgt in enumerate(gts[i]["BB"]):
            bi = [max(bb[0], bbgt[0]), max(bb[1], bbgt[1]), min(bb[2], bbgt[2]), min(bb[3], bbgt[3])]
            iw, ih = bi[2] - bi[0] + 1, bi[3] - bi[1] + 1
            if iw > 0 and ih > 0:
                ua = (
                    (bb[2] - bb[0] + 1) * (bb[3] - bb[1] + 1)
                    + (bbgt[2] - bbgt[0] + 1) * (bbgt[3] - bbgt[1] + 1)
                    - iw * ih
                )
                if iw * ih / ua > ovmax:
                    ovmax, jmax = iw * ih / ua, j
        if ovmax >= iou_threshold:
            if not gts[i]["diff"][jmax]:
                if not gts[i]["det"][jmax]:
                    tp[d], gts[i]["det"][jmax] = 1, True
                else:
                    fp[d] = 1
        else:
            fp[d] = 1

    if npos == 0:
        return math.nan
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    rec = [Fraction(int(t), int(npos)) for t in tp]
    prec = [Fraction(int(t), int(t + f)) if t + f else Fraction(0) for t, f in zip(tp, fp)]
    if method == "11point":
        return float(
            sum(max((p for p, r in zip(prec, rec) if r >= Fraction(t, 10)), default=0) for t in range(11)) / 11
        )
    mrec, mpre = [0, *rec, 1], [0, *prec, 0]
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    return float(sum((mrec[i] - mrec[i - 1]) * mpre[i] for i in range(1, len(mrec)) if mrec[i] != mrec[i - 1]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(20))
def test_equals_the_devkit(seed, method):
    rng = np.random.default_rng(seed)
    detections, ground_truth = [], []
    for _ in range(int(rng.integers(1, 8))):
        n = int(rng.integers(0, 7))
        corner = rng.integers(0, 25, (n, 2))
        boxes = np.concatenate([corner, corner + rng.integers(4, 15, (n, 2))], axis=1)
        truth = image(boxes, rng.integers(1, 4, n), difficult=rng.random(n) < 0.25)
        if seed % 4 == 0:
            del truth["difficult"]
        source = rng.integers(0, n, 3 * n) if n else np.zeros(0, int)
        guess = boxes[source] + rng.integers(-2, 3, (3 * n, 4))
        labels = np.where(rng.random(3 * n) < 0.8, truth["labels"][source], rng.integers(1, 4, 3 * n))
        detections.append(image(guess, labels, rng.integers(0, 30, 3 * n) / 30))  # some scores are equal
        ground_truth.append(truth)
    for iou_threshold in (0.3, 0.5, 0.75):
        result = evaluate_detections(detections, ground_truth, ["a", "b", "c", "absent"], iou_threshold, method)
        expected = [devkit_ap(detections, ground_truth, label, iou_threshold, method) for label in (1, 2, 3, 4)]
        np.testing.assert_allclose([result[k] for k in ("a", "b", "c", "absent")], expected, atol=1e-14)
        assert math.isnan(result["absent"])
        known = [ap for ap in expected if not math.isnan(ap)]
        assert result["mean"] == pytest.approx(np.mean(known) if known else math.nan, nan_ok=True)


def test_curve_by_hand():
    recall, precision = precision_recall(np.array([True, False, True, False]), 4)
    np.testing.assert_allclose(recall, [1 / 4, 1 / 4, 1 / 2, 1 / 2])
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3, 1 / 2])
    # p(r) = 1 up to recall 1/4 (points 0, 0.1, 0.2), 2/3 up to 1/2 (points 0.3, 0.4, 0.5), then 0.
    assert voc_ap(recall, precision) == pytest.approx(1 / 4 + 2 / 3 / 4)
    assert voc_ap(recall, precision, "11point") == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)


def test_precision_that_rises_later_counts_from_the_start():
    recall, precision = precision_recall(np.array([False, True, True, True]), 3)
    assert voc_ap(recall, precision) == voc_ap(recall, precision, "11point") == pytest.approx(3 / 4)


@pytest.mark.parametrize("tenths", range(1, 11))
def test_a_recall_of_some_tenths_reaches_its_point(tenths):
    """0.1 * 3 > 0.3 in floating point; a grid made that way would lose the point 0.3 (and 0.6, 0.7)."""
    curve = precision_recall(np.ones(tenths, bool), 10)
    assert voc_ap(*curve, "11point") == pytest.approx((tenths + 1) / 11)
    assert voc_ap(*curve) == pytest.approx(tenths / 10)


@pytest.mark.parametrize("method", METHODS)
def test_perfect_and_hopeless(method):
    truth = image([A, B, C])
    assert ap_of(image([C, A, B], scores=[0.2, 0.9, 0.1]), truth, method=method) == pytest.approx(1)
    assert ap_of(image([FAR], scores=[0.9]), truth, method=method) == 0
    assert ap_of(image([], scores=[]), truth, method=method) == 0


def test_a_duplicate_is_a_false_positive():
    """Ranks: A right, A again wrong, B right. p = 1 up to recall 1/2, then 2/3."""
    detected = image([A, A, B], scores=[0.9, 0.8, 0.7])
    assert ap_of(detected, image([A, B])) == pytest.approx(1 / 2 + 2 / 3 / 2)
    assert ap_of(detected, image([A, B]), method="11point") == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_the_first_counts_even_if_a_later_one_fits_better():
    sloppy = [0, 0, 10, 6]
    assert ap_of(image([A, sloppy], scores=[0.8, 0.9]), image([A])) == 1  # true positive first, then false
    two = image([A, A], scores=[0.8, 0.9])
    assert ap_of(two, image([A, [0, 0, 10, 9]])) == pytest.approx(1 / 2)  # both belong to the first, one is missed


def test_difficult_objects_are_neither_found_nor_missed():
    truth = image([A, B], difficult=[False, True])
    assert ap_of(image([A], scores=[0.5]), truth) == 1
    assert ap_of(image([B, B, A], scores=[0.9, 0.8, 0.5]), truth) == 1  # detections of B do not count, twice
    assert ap_of(image([FAR, A], scores=[0.9, 0.5]), truth) == pytest.approx(1 / 2)
    close = image([A, [0, 0, 10, 9]], difficult=[False, True])
    assert ap_of(image([[0, 0, 10, 9]], scores=[0.5]), close) == 0  # belongs to the difficult one, so A is missed


def test_the_threshold_itself_is_enough():
    half = image([[0, 0, 10, 5]], scores=[0.5])
    assert ap_of(half, image([A])) == 1
    assert ap_of(half, image([A]), iou_threshold=0.51) == 0


def test_classes_and_images_are_kept_apart():
    truth = [image([A, B], [1, 2]), image([C], [1])]
    found = [image([A, B, C], [2, 2, 1], [0.9, 0.8, 0.7]), image([A, C], [1, 1], [0.95, 0.6])]
    result = evaluate_detections(found, truth, ["cat", "dog", "cow"])
    # cat: A of image 2 wrong, C of image 1 wrong, C of image 2 right, one missed. dog: A wrong, B right. cow: none.
    assert result["cat"] == pytest.approx(1 / 2 * 1 / 3) and result["dog"] == pytest.approx(1 / 2)
    assert math.isnan(result["cow"]) and result["mean"] == pytest.approx((1 / 6 + 1 / 2) / 2)
    assert list(result) == ["cat", "dog", "cow", "mean"] and all(type(ap) is float for ap in result.values())
    assert list(evaluate_detections(found, truth, 3)) == ["1", "2", "3", "mean"]


def test_nothing_to_find_is_nan():
    result = evaluate_detections([image([A], scores=[0.5])], [image([B], difficult=[True])], 1)
    assert math.isnan(result["1"]) and math.isnan(result["mean"])
    assert math.isnan(evaluate_detections([], [], 1)["mean"])


FOUND, TRUTH = image([A], scores=[0.5]), image([A])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: voc_ap(np.ones(1), np.ones(1), "12point"), 'method must be "area" or "11point", got \'12point\''),
        (lambda: ap_of(FOUND, TRUTH, method="coco"), 'method must be "area" or "11point", got \'coco\''),
        (lambda: ap_of(FOUND, TRUTH, iou_threshold=0), r"iou_threshold must lie in \(0, 1\], got 0"),
        (lambda: evaluate_detections([FOUND], [], 1), "one entry per image, got 1 detections, 0 ground_truth"),
        (lambda: ap_of(image([A], [2], [0.5]), TRUTH), r"detections\[0\]: labels must lie in 1..1, got \[2\]"),
        (lambda: ap_of(FOUND, image([A], [0])), r"ground_truth\[0\]: labels must lie in 1..1, got \[0\]"),
        (lambda: ap_of(image([A], scores=[np.nan]), TRUTH), r"detections\[0\]: scores must not be NaN"),
        (lambda: ap_of(image([A], scores=[0.1, 0.2]), TRUTH), r"detections\[0\]: scores must have shape .*got \(2,\)"),
        (lambda: ap_of(image([A], [1, 1], [0.1]), TRUTH), r"detections\[0\]: labels must be integers of shape \(1,\)"),
        (lambda: ap_of(FOUND, image([A], difficult=[True, False])), r"difficult must have one entry per box, .*\(2,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
