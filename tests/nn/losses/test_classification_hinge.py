"""Hinge losses against loops written with math alone, the examples of the cs231n lecture, and bad input by message."""

import math

import numpy as np
import pytest

from nn.losses.classification import hinge, multiclass_hinge

RNG = np.random.default_rng(50)
SCORES = RNG.normal(size=(3, 5, 2, 4)) * 2
LABELS = RNG.integers(0, 5, size=(3, 2, 4))
IGNORED = np.where(RNG.random(LABELS.shape) < 0.3, -1, LABELS)
CLASS_WEIGHTS = np.array([0.5, 2.0, 0.0, 1.25, 3.0])
X, SIGNS = RNG.normal(size=(3, 4)), RNG.choice([-1, 1], (3, 4))
WEIGHTS = RNG.random((3, 4)) * (RNG.random((3, 4)) < 0.7)
AVERAGES = [{}, {"reduction": "sum"}, {"normaliser": 7.5}]


def naive_average(losses, weights, reduction="mean", normaliser=None):
    total = math.fsum(w * loss for w, loss in zip(weights, losses, strict=True))
    return total / (normaliser or (math.fsum(weights) if reduction == "mean" else 1))


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("margin", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("weights", [None, WEIGHTS, WEIGHTS[:, :1]])
def test_hinge_equals_the_naive_loop(weights, power, margin, average):
    value, dscores = hinge(X, SIGNS, margin, power == 2, weights, **average)
    spread = np.broadcast_to(1.0 if weights is None else weights, X.shape)
    losses, slopes = [], np.zeros(X.shape)
    for index in np.ndindex(X.shape):
        slack = margin - SIGNS[index] * X[index]
        losses.append(max(0.0, slack) ** power)
        slopes[index] = -SIGNS[index] * (slack > 0) * (1 if power == 1 else 2 * slack) * spread[index]
    assert value == pytest.approx(naive_average(losses, spread.ravel().tolist(), **average), rel=1e-13)
    divisor = average.get("normaliser", 1.0 if "reduction" in average else spread.sum())
    np.testing.assert_allclose(dscores, slopes / divisor, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("margin, power", [(1.0, 1), (1.0, 2), (0.0, 1), (2.5, 2)])
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
@pytest.mark.parametrize("labels, ignore_index", [(LABELS, -1), (IGNORED, -1), (LABELS, 4)])
def test_multiclass_hinge_equals_the_naive_loop(labels, ignore_index, class_weights, margin, power, average):
    value, dscores = multiclass_hinge(SCORES, labels, margin, power == 2, ignore_index, class_weights, **average)
    losses, weights, slopes = [], [], np.zeros(SCORES.shape)
    for n, *place in np.ndindex(labels.shape):
        label = labels[(n, *place)]
        if label == ignore_index:
            continue
        loss, weight = 0.0, 1.0 if class_weights is None else class_weights[label]
        for c in range(5):
            slack = margin + SCORES[(n, c, *place)] - SCORES[(n, label, *place)]
            if c != label and slack > 0:
                loss += slack**power
                slope = weight * (1 if power == 1 else 2 * slack)
                slopes[(n, c, *place)] += slope
                slopes[(n, label, *place)] -= slope
        losses.append(loss)
        weights.append(weight)
    assert value == pytest.approx(naive_average(losses, weights, **average), rel=1e-13)
    divisor = average.get("normaliser", 1.0 if "reduction" in average else math.fsum(weights))
    np.testing.assert_allclose(dscores, slopes / divisor, rtol=1e-12, atol=1e-15)


def test_the_three_images_of_the_cs231n_lecture():
    """Scores for cat, car, frog of a cat, a car and a frog: losses 2.9, 0 and 12.9."""
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    each = [multiclass_hinge(scores[i : i + 1], np.array([i]))[0] for i in range(3)]
    np.testing.assert_allclose(each, [2.9, 0, 12.9])
    value, dscores = multiclass_hinge(scores, np.array([0, 1, 2]))
    assert value == pytest.approx(15.8 / 3)
    np.testing.assert_allclose(dscores * 3, [[-1, 1, 0], [0, 0, 0], [1, 1, -2]])


def test_the_example_of_the_cs231n_notes():
    """Scores 13, -7, 11, the first is right, margin 10: max(0, -7 - 13 + 10) + max(0, 11 - 13 + 10) = 8."""
    value, dscores = multiclass_hinge(np.array([[13.0, -7.0, 11.0]]), np.array([0]), margin=10)
    assert value == 8 and dscores.tolist() == [[-1, 0, 1]]
    value, dscores = multiclass_hinge(np.array([[13.0, -7.0, 11.0]]), np.array([0]), margin=10, squared=True)
    assert value == 64 and dscores.tolist() == [[-16, 0, 16]]


def test_worked_examples_of_hinge():
    value, dscores = hinge(np.array([0.25, 2.0, -0.5]), np.array([1, 1, 1]), reduction="sum")
    assert value == 0.75 + 0 + 1.5 and dscores.tolist() == [-1, 0, -1]
    value, dscores = hinge(np.array([0.25, -2.0, 0.5]), np.array([1.0, -1.0, -1.0]), squared=True, reduction="sum")
    assert value == 0.75**2 + 1.5**2 and dscores.tolist() == [-1.5, 0, 3]


def test_at_the_kink_the_gradient_is_zero():
    assert hinge(np.array([1.0]), np.array([1]))[1].tolist() == [0]
    assert multiclass_hinge(np.array([[2.0, 1.0]]), np.array([0]))[1].tolist() == [[0, 0]]


@pytest.mark.parametrize("squared", [False, True])
def test_float32_stays_float32_and_arguments_are_not_modified(squared):
    for loss, x, t in [(hinge, X, SIGNS), (multiclass_hinge, SCORES, IGNORED)]:
        single = x.astype(np.float32)
        copies = single.copy(), t.copy()
        value, gradient = loss(single, t, np.float64(0.9), squared=squared)
        exact, exact_gradient = loss(x, t, 0.9, squared=squared)
        assert type(value) is float and value == pytest.approx(exact, rel=1e-5)
        assert gradient.dtype == np.float32 and gradient.shape == x.shape
        np.testing.assert_allclose(gradient, exact_gradient, rtol=1e-4, atol=1e-5)
        assert np.array_equal(single, copies[0]) and np.array_equal(t, copies[1])


@pytest.mark.parametrize("average", AVERAGES)
def test_where_nothing_counts_value_and_gradient_are_zero(average):
    for value, gradient in [
        hinge(X, SIGNS, weights=np.zeros((3, 4)), **average),
        hinge(X[:0], SIGNS[:0], **average),
        multiclass_hinge(SCORES, np.full(LABELS.shape, -1), **average),
        multiclass_hinge(SCORES, np.full(LABELS.shape, 2), class_weights=CLASS_WEIGHTS, **average),
        multiclass_hinge(SCORES[:0], LABELS[:0], **average),
        multiclass_hinge(SCORES[:, :1], np.zeros(LABELS.shape, int), **average),  # one class: none is wrong
    ]:
        assert value == 0 and not gradient.any()


def test_not_contiguous():
    value, gradient = multiclass_hinge(SCORES[::-1, :, :, ::2], LABELS[::-1, :, ::2])
    expected, expected_gradient = multiclass_hinge(SCORES[::-1, :, :, ::2].copy(), LABELS[::-1, :, ::2].copy())
    assert value == expected and np.array_equal(gradient, expected_gradient)


def test_bad_input_of_hinge():
    with pytest.raises(ValueError, match=r"hinge: targets must be -1 or 1, got 0: write 2 \* labels - 1"):
        hinge(X, (SIGNS + 1) // 2)
    with pytest.raises(ValueError, match="hinge: targets must be -1 or 1, got nan"):
        hinge(X, np.where(SIGNS > 0, math.nan, 1))
    with pytest.raises(ValueError, match=r"hinge: targets must have the shape of scores \(3, 4\), got \(4,\)"):
        hinge(X, SIGNS[0])
    with pytest.raises(TypeError, match="hinge: targets must be an array, got int"):
        hinge(X, 1)
    with pytest.raises(TypeError, match="hinge: scores must be an array of floats, got int64"):
        hinge(SIGNS, SIGNS)
    for bad in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"hinge: margin must be a number of at least 0, got {bad}"):
            hinge(X, SIGNS, margin=bad)
        with pytest.raises(ValueError, match=f"multiclass_hinge: margin must be a number of at least 0, got {bad}"):
            multiclass_hinge(SCORES, LABELS, margin=bad)
    with pytest.raises(ValueError, match=r"hinge: weights must broadcast to \(3, 4\), got \(3,\)"):
        hinge(X, SIGNS, weights=np.ones(3))
    with pytest.raises(ValueError, match="hinge: normaliser must be a number of at least 0, got -1"):
        hinge(X, SIGNS, normaliser=-1)


def test_bad_input_of_multiclass_hinge():
    with pytest.raises(ValueError, match=r"multiclass_hinge: scores must have shape \(N, C\), got \(5,\)"):
        multiclass_hinge(np.zeros(5), np.zeros(5, int))
    with pytest.raises(ValueError, match=r"scores must have at least one class, got \(2, 0\)"):
        multiclass_hinge(np.zeros((2, 0)), np.full(2, -1))
    with pytest.raises(ValueError, match=r"labels must have shape \(3, 2, 4\) for scores \(3, 5, 2, 4\), got \(3, 2\)"):
        multiclass_hinge(SCORES, LABELS[..., 0])
    with pytest.raises(TypeError, match="multiclass_hinge: labels must be an array of integers, got float64"):
        multiclass_hinge(SCORES, LABELS.astype(float))
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 5\) or be ignore_index=-1, got 5"):
        multiclass_hinge(SCORES, np.where(LABELS == 1, 5, LABELS))
    with pytest.raises(ValueError, match=r"multiclass_hinge: class_weights must have shape \(5,\), one per class"):
        multiclass_hinge(SCORES, LABELS, class_weights=[1, 2])
    with pytest.raises(ValueError, match="multiclass_hinge: class_weights must be finite and not negative"):
        multiclass_hinge(SCORES, LABELS, class_weights=-CLASS_WEIGHTS)
    with pytest.raises(ValueError, match='multiclass_hinge: reduction must be "mean" or "sum", got \'none\''):
        multiclass_hinge(SCORES, LABELS, reduction="none")


@pytest.mark.parametrize("wrong", [0, 2, 0.5])
def test_hinge_names_the_first_target_that_is_neither(wrong):
    with pytest.raises(ValueError, match=f"targets must be -1 or 1, got {wrong}: "):
        hinge(np.zeros(4), np.array([-1.0, 1.0, wrong, -1.0]))
