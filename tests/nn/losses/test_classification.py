"""Cross entropies and distances against loops with math alone, gradients against complex and central differences."""

import importlib
import inspect
import math
import pkgutil
from functools import partial

import numpy as np
import pytest

import nn
from nn.cases.losses import LOSSES
from nn.cpu import classification as fast
from nn.gradcheck import is_loss
from nn.losses.classification import (
    binary_cross_entropy_with_logits,
    multiclass_hinge,
    softmax_cross_entropy,
)
from nn.losses.regression import l1, l2, smooth_l1

RNG = np.random.default_rng(20)
LOGITS = RNG.normal(size=(3, 5, 2, 4)) * 3
LABELS = RNG.integers(0, 5, size=(3, 2, 4))
LABELS[0, 1, 2] = LABELS[2, 0, 0] = 4
IGNORED = np.where(RNG.random(LABELS.shape) < 0.3, -1, LABELS)
CLASS_WEIGHTS = np.array([0.5, 2.0, 0.0, 1.25, 3.0])
X = RNG.normal(size=(3, 4)) * 2
TARGET = RNG.normal(size=(3, 4)) * 2
PROBABILITY = np.where(RNG.random((3, 4)) < 0.5, RNG.random((3, 4)), RNG.random((3, 4)) < 0.5)
WEIGHTS = RNG.random((3, 4)) * (RNG.random((3, 4)) < 0.7)

ELEMENTWISE = [binary_cross_entropy_with_logits, smooth_l1, l1, l2]
TARGETS = {binary_cross_entropy_with_logits: PROBABILITY, smooth_l1: TARGET, l1: TARGET, l2: TARGET}
AVERAGES = [{}, {"reduction": "mean"}, {"reduction": "sum"}, {"normaliser": 7.5}, {"reduction": "sum", "normaliser": 7}]


def cases():
    """(prediction, function of the prediction alone) for every loss and every way to weigh and average."""
    for average in AVERAGES:
        smooth = {"label_smoothing": 0.3}
        for options in [{}, {"class_weights": CLASS_WEIGHTS}, smooth, {"class_weights": CLASS_WEIGHTS, **smooth}]:
            yield LOGITS, partial(softmax_cross_entropy, labels=LABELS, **options, **average)
            yield LOGITS, partial(softmax_cross_entropy, labels=IGNORED, **options, **average)
        yield LOGITS[:, :, 0, 0], partial(softmax_cross_entropy, labels=LABELS[:, 0, 0], **average)
        for weights in [None, WEIGHTS, WEIGHTS[:, :1]]:
            both = {"weights": weights, **average}
            yield X, partial(binary_cross_entropy_with_logits, targets=PROBABILITY, **both)
            yield X, partial(smooth_l1, target=TARGET, beta=0.7, **both)
            yield X, partial(l1, target=TARGET, **both)
            yield X, partial(l2, target=TARGET, **both)


CASES = list(cases())


def naive_average(losses, weights, reduction="mean", normaliser=None):
    total = math.fsum(w * loss for w, loss in zip(weights, losses, strict=True))
    if normaliser is not None:
        return total / normaliser
    return total / math.fsum(weights) if reduction == "mean" else total


def naive_cross_entropy(logits, labels, ignore_index=-1, class_weights=None, label_smoothing=0.0, **average):
    classes, total, counted = logits.shape[1], [], []
    w = [1.0] * classes if class_weights is None else class_weights
    for position in np.ndindex(labels.shape):
        label = labels[position]
        if label != ignore_index:
            scores = [math.exp(logits[(position[0], c, *position[1:])]) for c in range(classes)]
            for c in range(classes):
                target = label_smoothing / classes + (1 - label_smoothing if c == label else 0)
                total.append(-w[c] * target * math.log(scores[c] / math.fsum(scores)))
            counted.append(w[label])
    if average.get("normaliser") is not None:
        return math.fsum(total) / average["normaliser"]
    return math.fsum(total) / (math.fsum(counted) if average.get("reduction", "mean") == "mean" else 1)


def naive_element(loss, x, t, beta):
    if loss is binary_cross_entropy_with_logits:
        p = 1 / (1 + math.exp(-x))
        return -t * math.log(p) - (1 - t) * math.log(1 - p)
    d = abs(x - t)
    if loss is l1:
        return d
    if loss is l2:
        return d**2 / 2
    return d**2 / (2 * beta) if d < beta else d - beta / 2


@pytest.mark.parametrize("plain, piece", [(True, 0), (False, 1 << 18), (False, 7)])
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
@pytest.mark.parametrize("labels, ignore_index", [(LABELS, -1), (IGNORED, -1), (LABELS, 255), (LABELS, 4)])
def test_softmax_cross_entropy_equals_the_naive_loop(
    labels, ignore_index, class_weights, smoothing, average, plain, piece, monkeypatch
):
    monkeypatch.setattr(nn.config, "plain", plain)
    monkeypatch.setattr(fast, "CHUNK", piece)
    value, _ = softmax_cross_entropy(LOGITS, labels, ignore_index, class_weights, **average, label_smoothing=smoothing)
    expected = naive_cross_entropy(LOGITS, labels, ignore_index, class_weights, smoothing, **average)
    assert value == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("weights", [None, WEIGHTS, WEIGHTS[:, :1], WEIGHTS[0], 0.3])
@pytest.mark.parametrize("loss", ELEMENTWISE)
def test_elementwise_losses_equal_the_naive_loop(loss, weights, average):
    options = {"beta": 0.7} if loss is smooth_l1 else {}
    value, _ = loss(X, TARGETS[loss], weights=weights, **options, **average)
    losses = [naive_element(loss, x, t, 0.7) for x, t in zip(X.ravel(), TARGETS[loss].ravel())]
    spread = np.broadcast_to(1.0 if weights is None else weights, X.shape).ravel()
    assert value == pytest.approx(naive_average(losses, spread.tolist(), **average), rel=1e-13)


def test_worked_examples():
    value, dlogits = softmax_cross_entropy(np.array([[0.0, math.log(3.0)]]), np.array([1]))  # p = 1/4, 3/4
    assert value == pytest.approx(math.log(4 / 3)) and np.allclose(dlogits, [[0.25, -0.25]])
    value, dlogits = binary_cross_entropy_with_logits(np.array([math.log(3.0)]), np.array([0.0]))  # p = 3/4
    assert value == pytest.approx(math.log(4)) and np.allclose(dlogits, [0.75])


def test_worked_example_of_label_smoothing():
    """p = 1/4, 3/4; smoothing 0.2 makes of the label (0, 1) the target (0.1, 0.9)."""
    value, dlogits = softmax_cross_entropy(np.array([[0.0, math.log(3.0)]]), np.array([1]), label_smoothing=0.2)
    assert value == pytest.approx(0.1 * math.log(4) + 0.9 * math.log(4 / 3))
    np.testing.assert_allclose(dlogits, [[0.25 - 0.1, 0.75 - 0.9]])


def test_softmax_of_the_cs231n_lecture():
    """Scores 3.2, 5.1, -1.7 of a cat: probability 0.13, loss -log 0.13 = 2.04."""
    value, _ = softmax_cross_entropy(np.array([[3.2, 5.1, -1.7]]), np.array([0]))
    assert value == pytest.approx(2.04, abs=5e-3) and math.exp(-value) == pytest.approx(0.13, abs=5e-3)


def test_smoothing_of_nothing_that_counts_is_zero_in_the_mean():
    """The label's class has weight 0, the others have not: PyTorch divides by 0 here."""
    value, dlogits = softmax_cross_entropy(
        LOGITS, np.full(LABELS.shape, 2), class_weights=CLASS_WEIGHTS, label_smoothing=0.1
    )
    assert value == 0 and not dlogits.any()


def test_a_class_ruled_out_by_minus_infinity():
    logits = np.array([[0.0, -math.inf, math.log(3.0)]])
    value, dlogits = softmax_cross_entropy(logits, np.array([2]))
    assert value == pytest.approx(math.log(4 / 3)) and np.allclose(dlogits, [[0.25, 0, -0.25]])


@pytest.mark.parametrize("prediction, loss", CASES)
def test_gradient_equals_complex_steps(prediction, loss):
    _, gradient = loss(prediction)
    for index in np.ndindex(prediction.shape):
        moved = prediction.astype(complex)
        moved[index] += 1e-30j
        assert loss(moved)[0].imag / 1e-30 == pytest.approx(gradient[index], rel=1e-12, abs=1e-14), index


@pytest.mark.parametrize("prediction, loss", CASES)
def test_gradient_equals_central_differences(prediction, loss):
    _, gradient = loss(prediction)
    for direction in np.random.default_rng(21).normal(size=(5, *prediction.shape)):
        up, down = loss(prediction + 1e-5 * direction)[0], loss(prediction - 1e-5 * direction)[0]
        assert (up - down) / 2e-5 == pytest.approx((gradient * direction).sum(), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("prediction, loss", CASES)
def test_float32_stays_float32_and_arguments_are_not_modified(prediction, loss):
    exact, exact_gradient = loss(prediction)
    single = prediction.astype(np.float32)
    arrays = [single, *(a for a in loss.keywords.values() if isinstance(a, np.ndarray))]
    before = [a.copy() for a in arrays]
    value, gradient = loss(single)
    assert type(value) is float and value == pytest.approx(exact, rel=1e-5)
    assert gradient.dtype == np.float32 and gradient.shape == prediction.shape
    np.testing.assert_allclose(gradient, exact_gradient, rtol=1e-4, atol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before)) and not np.shares_memory(single, gradient)


@pytest.mark.parametrize("prediction, loss", CASES)
def test_arrays_that_are_not_contiguous(prediction, loss):
    def spread(a):
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), -1, a.dtype)
        wide[..., ::2] = a
        return wide[..., ::2]

    keywords = {k: spread(v) if isinstance(v, np.ndarray) else v for k, v in loss.keywords.items()}
    value, gradient = loss.func(spread(prediction), **keywords)
    assert value == pytest.approx(loss(prediction)[0], rel=1e-14)
    np.testing.assert_allclose(gradient, loss(prediction)[1], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_are_exact(dtype):
    logits = np.array([[1000, -1000, 0], [-1000, 1000, 0], [1000, 1000, 1000], [1000, -1000, 0]], dtype)
    with np.errstate(all="raise", under="ignore"):
        value, dlogits = softmax_cross_entropy(logits, np.array([0, 0, 1, 2]), reduction="sum")
    assert value == pytest.approx(0 + 2000 + math.log(3) + 1000, rel=1e-6)
    np.testing.assert_allclose(dlogits, [[0, 0, 0], [-1, 1, 0], [1 / 3, -2 / 3, 1 / 3], [1, 0, -1]], rtol=1e-6)

    x, t = np.array([1000, -1000, 1000, -1000, 0], dtype), np.array([1, 0, 0, 1, 1], dtype)
    with np.errstate(all="raise", under="ignore"):
        value, dx = binary_cross_entropy_with_logits(x, t, reduction="sum")
    assert value == pytest.approx(2000 + math.log(2), rel=1e-6) and dx.tolist() == [0, 0, 1, -1, -0.5]


def test_small_probabilities_keep_their_digits():
    """log(1 + exp(-x)) for large x is exp(-x), which a plain log would round to 0."""
    value, _ = binary_cross_entropy_with_logits(np.array([40.0]), np.array([1.0]))
    assert value == pytest.approx(math.exp(-40), rel=1e-12, abs=0)


@pytest.mark.parametrize("average", AVERAGES)
def test_where_nothing_counts_value_and_gradient_are_zero(average):
    value, dlogits = softmax_cross_entropy(LOGITS * 400, np.full(LABELS.shape, -1), **average)
    assert value == 0 and not dlogits.any()
    value, dlogits = softmax_cross_entropy(LOGITS, np.full(LABELS.shape, 2), class_weights=CLASS_WEIGHTS, **average)
    assert value == 0 and not dlogits.any()  # the weight of class 2 is 0
    value, dlogits = softmax_cross_entropy(np.zeros((0, 5)), np.zeros(0, int), **average)
    assert value == 0 and dlogits.shape == (0, 5)
    for loss in ELEMENTWISE:
        value, gradient = loss(X * 1000, TARGETS[loss], weights=np.zeros((3, 1)), **average)
        assert value == 0 and not gradient.any()
        value, gradient = loss(X[:0], TARGETS[loss][:0], weights=np.zeros((0, 1)), **average)
        assert value == 0 and gradient.shape == (0, 4)


def test_ignored_positions_have_no_influence_at_all():
    other = np.where(IGNORED[:, None] == -1, 77.0, LOGITS)
    value, dlogits = softmax_cross_entropy(LOGITS, IGNORED)
    other_value, other_dlogits = softmax_cross_entropy(other, IGNORED)
    assert value == other_value and np.array_equal(dlogits, other_dlogits)
    assert not dlogits.transpose(0, 2, 3, 1)[IGNORED == -1].any() and (IGNORED == -1).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_labels_of_any_integer_type(dtype):
    assert softmax_cross_entropy(LOGITS, LABELS.astype(dtype))[0] == softmax_cross_entropy(LOGITS, LABELS)[0]


def test_void_label_255_in_uint8():
    labels = np.where(IGNORED == -1, 255, IGNORED).astype(np.uint8)
    value, dlogits = softmax_cross_entropy(LOGITS, labels, ignore_index=255)
    expected, expected_dlogits = softmax_cross_entropy(LOGITS, IGNORED)
    assert value == expected and np.array_equal(dlogits, expected_dlogits)


def test_anchor_labels_as_bool_targets_and_bool_weights():
    labels = np.array([1, 0, -1, 1])
    x = X[0].astype(np.float32)
    value, dx = binary_cross_entropy_with_logits(x, labels == 1, weights=labels >= 0)
    counted = labels >= 0
    expected, expected_dx = binary_cross_entropy_with_logits(x[counted], (labels[counted] == 1).astype(np.float32))
    assert value == pytest.approx(expected, rel=1e-6) and dx.dtype == np.float32 and dx[2] == 0
    np.testing.assert_allclose(dx[counted], expected_dx, rtol=1e-6)


@pytest.mark.parametrize("loss", ELEMENTWISE)
def test_bad_weights_and_averages_of_elementwise_losses(loss):
    name, t = loss.__name__, TARGETS[loss]
    with pytest.raises(ValueError, match=rf"{name}: weights must broadcast to \(3, 4\), got \(3,\)"):
        loss(X, t, weights=np.ones(3))
    with pytest.raises(ValueError, match=rf"{name}: weights must broadcast to \(3, 4\), got \(2, 3, 4\)"):
        loss(X, t, weights=np.ones((2, 3, 4)))
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"{name}: weights must be finite and not negative"):
            loss(X, t, weights=np.array([1, 1, 1, bad]))
    with pytest.raises(ValueError, match=f'{name}: reduction must be "mean" or "sum", got \'none\''):
        loss(X, t, reduction="none")
    for bad in (-2, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"{name}: normaliser must be a number of at least 0, got {bad}"):
            loss(X, t, normaliser=bad)
    with pytest.raises(ValueError, match=rf"{name}: target.* must have the shape of .* \(3, 4\), got \(3, 1\)"):
        loss(X, t[:, :1])
    with pytest.raises(TypeError, match=rf"{name}: target.* must be an array, got list"):
        loss(X, t.tolist())
    with pytest.raises(TypeError, match=rf"{name}: (logits|prediction) must be an array of floats, got int64"):
        loss(X.astype(int), t)


def test_bad_targets():
    with pytest.raises(ValueError, match=r"binary_cross_entropy_with_logits: targets must lie in \[0, 1\], got -1: "):
        binary_cross_entropy_with_logits(X[0], np.array([1, 0, -1, 1]))
    with pytest.raises(ValueError, match=r"targets must lie in \[0, 1\], got nan"):
        binary_cross_entropy_with_logits(X[0], np.array([1, 0, math.nan, 1]))


def test_bad_input_of_softmax_cross_entropy():
    with pytest.raises(ValueError, match=r"softmax_cross_entropy: logits must have shape \(N, C\), got \(5,\)"):
        softmax_cross_entropy(np.zeros(5), np.zeros(5, int))
    with pytest.raises(ValueError, match=r"logits must have at least one class, got \(3, 0\)"):
        softmax_cross_entropy(np.zeros((3, 0)), np.full(3, -1))
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=rf"label_smoothing must lie in \[0, 1\], got {bad}"):
            softmax_cross_entropy(LOGITS, LABELS, label_smoothing=bad)
    with pytest.raises(ValueError, match=r"labels must have shape \(3, 2, 4\) for logits \(3, 5, 2, 4\), got \(3, 2\)"):
        softmax_cross_entropy(LOGITS, LABELS[..., 0])
    with pytest.raises(TypeError, match="labels must be an array of integers, got float64"):
        softmax_cross_entropy(LOGITS, LABELS.astype(float))
    with pytest.raises(TypeError, match="labels must be an array of integers, got list"):
        softmax_cross_entropy(LOGITS, LABELS.tolist())
    for bad in (5, -2):
        with pytest.raises(ValueError, match=rf"labels must lie in \[0, 5\) or be ignore_index=-1, got {bad}"):
            softmax_cross_entropy(LOGITS, np.where(LABELS == LABELS.flat[3], bad, LABELS))
    with pytest.raises(ValueError, match=r"class_weights must have shape \(5,\), one per class, got \(4,\)"):
        softmax_cross_entropy(LOGITS, LABELS, class_weights=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="softmax_cross_entropy: class_weights must be finite and not negative"):
        softmax_cross_entropy(LOGITS, LABELS, class_weights=-CLASS_WEIGHTS)
    with pytest.raises(ValueError, match='softmax_cross_entropy: reduction must be "mean" or "sum", got None'):
        softmax_cross_entropy(LOGITS, LABELS, reduction=None)
    with pytest.raises(ValueError, match="softmax_cross_entropy: normaliser must be a number of at least 0, got -1"):
        softmax_cross_entropy(LOGITS, LABELS, normaliser=-1)


def functions_of_nn():
    """Every public function defined in a module of nn, but for the faster versions of the same functions."""
    for found in pkgutil.walk_packages(nn.__path__, "nn."):
        if not found.name.startswith(("nn.cpu", "nn.gpu")):
            for name, member in vars(importlib.import_module(found.name)).items():
                if inspect.isfunction(member) and member.__module__ == found.name and not name.startswith("_"):
                    yield member


def test_no_loss_is_forgotten():
    """A loss is what says that it returns tuple[float, gradient]. All stand in nn, and have cases for the gradient."""
    losses = {function for function in functions_of_nn() if is_loss(function)}
    assert losses == set(LOSSES) and all(LOSSES.values())
    assert {loss.__name__ for loss in losses} <= set(nn.__all__)


def test_every_public_function_says_what_it_returns():
    """So that a loss cannot be missed for want of a type."""
    public = [vars(nn)[name] for name in nn.__all__]
    assert [f.__name__ for f in public if inspect.isfunction(f) and "return" not in f.__annotations__] == []


def test_is_loss():
    def one(x) -> tuple[float, np.ndarray]: ...

    def two(x) -> tuple[float, tuple[np.ndarray, np.ndarray]]: ...

    def norm(x) -> float: ...

    def boxes(x) -> tuple[np.ndarray, np.ndarray]: ...

    def sizes(x) -> tuple[float, float]: ...

    def unknown(x): ...

    assert [is_loss(f) for f in (one, two, norm, boxes, sizes, unknown)] == [True, True] + [False] * 4


@pytest.mark.parametrize("wrong", [1.5, -0.25])
def test_binary_cross_entropy_names_the_first_target_out_of_range(wrong):
    targets = np.array([0.0, 0.5, 1.0, wrong, wrong])
    with pytest.raises(ValueError, match=rf"targets must lie in \[0, 1\], got {wrong}: "):
        binary_cross_entropy_with_logits(np.zeros(5), targets)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("loss", [softmax_cross_entropy, multiclass_hinge])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("options", [{}, {"class_weights": np.array([1, 2, 0.5])}, {"reduction": "sum"}])
def test_scores_at_ignored_positions_do_not_count(loss, bad, options, plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    rng = np.random.default_rng(8)
    scores, labels = rng.normal(size=(4, 3, 5)), rng.integers(-1, 3, (4, 5))
    wanted = loss(scores, labels, **options)
    scores.transpose(0, 2, 1)[labels == -1] = bad
    value, gradient = loss(scores, labels, **options)
    assert value == wanted[0]
    np.testing.assert_array_equal(gradient, wanted[1])
    scores[:] = bad
    value, gradient = loss(scores, np.full_like(labels, -1), **options)
    assert value == 0 and not gradient.any()
