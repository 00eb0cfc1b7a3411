"""Metrics of labelled pixels and of objects against loops, and by hand."""

import math

import numpy as np
import pytest

from vision.segmentation import median_frequency
from vision.segmentation.boundary import boundaries, boundary_f1, widened
from vision.segmentation.metrics import class_accuracy, confusion_matrix, global_accuracy, iou, mean
from vision.segmentation.objects import components, match_objects


def random_labels(seed, size=(9, 13), classes=4, low=0):
    return np.random.default_rng(seed).integers(low, classes, size)


@pytest.mark.parametrize("seed", range(3))
def test_confusion_matrix_against_a_loop(seed):
    labels, truth = random_labels(seed), random_labels(seed + 10, low=-1)
    wanted = np.zeros((4, 4), int)
    for found, true in zip(labels.ravel(), truth.ravel()):
        if true >= 0:
            wanted[true, found] += 1
    np.testing.assert_array_equal(confusion_matrix(labels, truth, 4), wanted)


def test_metrics_by_hand():
    """Class 0: 6 of 8 right, 1 pixel of class 1 predicted as 0. Class 2 does not occur, class 3 is only predicted."""
    n = np.array([[6, 1, 0, 1], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert global_accuracy(n) == pytest.approx(8 / 11)
    np.testing.assert_allclose(class_accuracy(n), [6 / 8, 2 / 3, np.nan, np.nan])
    np.testing.assert_allclose(iou(n), [6 / 9, 2 / 4, np.nan, 0])
    assert mean(iou(n)) == pytest.approx((6 / 9 + 2 / 4 + 0) / 3)
    assert math.isnan(mean(np.array([np.nan]))) and math.isnan(global_accuracy(np.zeros((2, 2), int)))


def test_iou_is_that_of_sets():
    labels, truth = random_labels(1), random_labels(2)
    for c, value in enumerate(iou(confusion_matrix(labels, truth, 4))):
        assert value == ((labels == c) & (truth == c)).sum() / ((labels == c) | (truth == c)).sum()


def naive_boundary(labels):
    h, w = labels.shape
    edge = np.zeros((h, w), bool)
    for r, c in np.ndindex(h, w):
        for i, j in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if 0 <= i < h and 0 <= j < w and labels[r, c] >= 0 and labels[i, j] >= 0:
                edge[r, c] |= labels[r, c] != labels[i, j]
    return edge


def naive_boundary_f1(labels, truth, classes, tolerance):
    labels, scores = np.where(truth < 0, -1, labels), []
    reach = tolerance * math.hypot(*truth.shape)
    for c in range(classes):
        points = [np.argwhere(naive_boundary(x) & (x == c)) for x in (labels, truth)]
        if not (labels == c).any() and not (truth == c).any():
            scores.append(np.nan)
            continue
        shares = []
        for own, others in (points, points[::-1]):
            near = [any(math.hypot(*(p - q)) <= reach for q in others) for p in own]
            shares.append(sum(near) / len(near))
        scores.append(2 * shares[0] * shares[1] / (sum(shares) or 1))
    return scores


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tolerance", [0.0, 0.08, 0.15])
def test_boundary_f1_against_loops(seed, tolerance):
    truth = random_labels(seed, classes=3, low=-1)
    labels = np.where(np.random.default_rng(seed).random(truth.shape) < 0.8, truth, 0)
    labels[labels < 0] = 1
    np.testing.assert_array_equal(boundaries(truth), naive_boundary(truth))
    wanted = naive_boundary_f1(labels, truth, 4, tolerance)
    np.testing.assert_allclose(boundary_f1(labels, truth, 4, tolerance), wanted, rtol=1e-12)


def test_boundary_f1_by_hand():
    """A square moved by one pixel in an image whose tolerance is 0.75 or 1.5 pixels; by two; missing; without truth."""
    for side, shift, wanted in ((141, 0, 1.0), (71, 1, 0.5), (141, 1, 1.0)):
        truth, labels = np.zeros((2, side, side), int)
        truth[10:20, 10:20] = 1
        labels[10:20, 10 + shift : 20 + shift] = 1
        score = boundary_f1(labels, truth, 3)
        assert score[1] == 1 if wanted == 1 else 0.4 < score[1] < 0.6
        assert math.isnan(score[2])
    np.testing.assert_array_equal(
        boundary_f1(0 * truth, truth, 2), [0, 0]
    )  # class 0 has lost its boundary, class 1 all
    np.testing.assert_array_equal(boundary_f1(truth, 0 * truth, 2), [0, 0])
    np.testing.assert_array_equal(boundary_f1(0 * truth, 0 * truth, 2), [1, np.nan])  # no boundary, no error
    unknown = np.where(truth == 1, -1, 0)
    np.testing.assert_array_equal(boundary_f1(truth, unknown, 2), [1, np.nan])  # unknown pixels do not count


@pytest.mark.parametrize("reach", [0, 0.9, 1, 1.5, 2.3])
def test_widened(reach):
    mask = np.random.default_rng(0).random((9, 11)) < 0.05
    points = np.argwhere(mask)
    wanted = [[any(math.hypot(r - y, c - x) <= reach for y, x in points) for c in range(11)] for r in range(9)]
    np.testing.assert_array_equal(widened(mask, reach), wanted)


def flooded(mask):
    """Components by flood filling from each pixel in turn."""
    labels, k = np.zeros(mask.shape, int), 0
    for start in np.ndindex(*mask.shape):
        if mask[start] and not labels[start]:
            k, waiting = k + 1, [start]
            while waiting:
                r, c = waiting.pop()
                if 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1] and mask[r, c] and not labels[r, c]:
                    labels[r, c] = k
                    waiting += [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
    return labels


@pytest.mark.parametrize("density", [0.0, 0.2, 0.5, 0.6, 0.7, 1.0])
def test_components_against_flood_filling(density):
    for seed in range(4):
        mask = np.random.default_rng(seed).random((17, 23)) < density
        np.testing.assert_array_equal(components(mask), flooded(mask))


def test_components_of_a_snake_and_a_comb():
    """The longest paths from pixel to pixel."""
    snake = np.zeros((41, 41), bool)
    snake[::2], snake[1::4, -1], snake[3::4, 0] = True, True, True
    np.testing.assert_array_equal(components(snake), snake)
    comb = np.zeros((30, 41), bool)
    comb[:, ::2], comb[-1] = True, True
    np.testing.assert_array_equal(components(comb), comb)
    comb[-1] = False
    np.testing.assert_array_equal(components(comb)[0, ::2], np.arange(1, 22))


def test_objects_by_hand():
    truth = np.zeros((20, 40), int)
    truth[0:10, 0:10], truth[0:10, 12:22], truth[0:10, 24:34], truth[12:20, 0:8] = 3, 1, 9, 4
    found = np.zeros_like(truth)
    found[0:10, 0:6] = 1  # IoU 0.6 with 3
    found[0:10, 12:17] = 2  # IoU 0.5 with 1: not above
    found[0:10, 24:40] = 3  # IoU 100 / 160 = 0.625 with 9
    found[15:18, 20:25] = 4  # no object there
    assert match_objects(found, truth) == (2, 2, 2)
    assert match_objects(found, truth, threshold=0.61) == (1, 3, 3)
    assert match_objects(truth, truth) == (4, 0, 0)
    assert match_objects(0 * truth, truth) == (0, 0, 4) and match_objects(found, 0 * truth) == (0, 4, 0)
    assert match_objects(0 * truth, 0 * truth) == (0, 0, 0)
    unknown = np.where(truth == 4, -1, truth)
    unknown[:, 34:] = -1
    assert match_objects(found, unknown) == (2, 2, 1)
    everywhere = np.ones_like(truth)
    assert match_objects(everywhere, everywhere) == (1, 0, 0)  # no background at all


def test_median_frequency_by_hand():
    """Class 0: 6 of 10 pixels; class 1: 3 of 10; class 2: 1 of the 4 known ones of the only image that has it."""
    a = np.array([[0, 0, 0, 1, 1, 1]])
    b = np.array([[0, 0, 0, 2, -1, -1]])
    frequency = np.array([6 / 10, 3 / 6, 1 / 4])
    np.testing.assert_allclose(median_frequency([a, b], 3), 0.5 / frequency)
    np.testing.assert_allclose(median_frequency([a, b], 4), [*(0.5 / frequency), 0])  # one that never occurs


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: confusion_matrix(np.zeros((2, 3), int), np.zeros((3, 2), int), 2),
            r"must have one shape, got \(2, 3\)",
        ),
        (
            lambda: confusion_matrix(np.full((2, 2), -1), np.zeros((2, 2), int), 2),
            r"labels must be classes 0 .. 1, got -1",
        ),
        (
            lambda: confusion_matrix(np.zeros((2, 2), int), np.full((2, 2), 2), 2),
            r"truth must be classes 0 .. 1, got 2",
        ),
        (lambda: boundary_f1(np.zeros(3, int), np.zeros(3, int), 2), r"must be \(H, W\), got \(3,\) and \(3,\)"),
        (lambda: boundary_f1(np.zeros((2, 2), int), np.zeros((2, 2), int), 2, -1.0), "tolerance must be at least 0"),
        (lambda: components(np.zeros((2, 2))), r"components: mask must be \(H, W\) bool, got float64 \(2, 2\)"),
        (lambda: match_objects(np.zeros((2, 2), int), np.zeros((2, 3), int)), "found and truth must have one shape"),
        (lambda: match_objects(np.zeros((2, 2), int), np.zeros((2, 2), int), 0.4), "threshold must be at least 0.5"),
        (lambda: median_frequency([np.full((2, 2), 3)], 3), r"median_frequency: labels must lie in -1 .. 2, got 3"),
        (lambda: median_frequency([np.full((2, 2), -2)], 3), r"median_frequency: labels must lie in -1 .. 2, got -2"),
        (lambda: median_frequency([np.ones((2, 2))], 3), "median_frequency: labels must be whole numbers, got float64"),
        (lambda: median_frequency([np.full((2, 2), -1)], 3), "median_frequency: no pixel has a label"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
