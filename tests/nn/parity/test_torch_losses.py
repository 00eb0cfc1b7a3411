"""PyTorch as a second opinion on every loss, over random shapes and options; skipped where it is not installed."""

import numpy as np
import pytest

from nn.losses.classification import (
    binary_cross_entropy_with_logits,
    hinge,
    multiclass_hinge,
    softmax_cross_entropy,
)
from nn.losses.metric import contrastive, triplet
from nn.losses.regression import l1, l2, smooth_l1

torch = pytest.importorskip("torch")
F = torch.nn.functional


def agree(result, tensors, expected):
    """Our (value, gradients) and PyTorch's value and the gradients of its leaves."""
    value, gradients = result
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-11, abs=1e-13)
    for gradient, tensor in zip(gradients if isinstance(gradients, tuple) else (gradients,), tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-10, atol=1e-13)


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def spatial(rng):
    return tuple(rng.integers(1, 5, rng.integers(0, 4)))


def classes_and_labels(rng):
    """Scores (N, C, ...), labels of which some are ignored, the ignored label, weights of the classes or none."""
    n, c, places = rng.integers(1, 5), rng.integers(1, 7), spatial(rng)
    scores = rng.normal(size=(n, c, *places)) * rng.choice([1, 10])
    labels, ignore_index = rng.integers(0, c, (n, *places)), int(rng.choice([-1, 255, 0] if c > 1 else [-1]))
    if ignore_index:
        labels = np.where(rng.random(labels.shape) < 0.3, ignore_index, labels)
    labels.flat[0] = c - 1  # something counts: PyTorch's mean over nothing is NaN
    return scores, labels, ignore_index, rng.random(c) + 0.1 if rng.random() < 0.5 else None


@pytest.mark.parametrize("seed", range(80))
def test_softmax_cross_entropy(seed):
    rng = np.random.default_rng([60, seed])
    logits, labels, ignore_index, weights = classes_and_labels(rng)
    options = {"reduction": str(rng.choice(["mean", "sum"])), "label_smoothing": float(rng.choice([0, 0.1, 0.7, 1]))}
    x = leaf(logits)
    w = None if weights is None else torch.tensor(weights)
    expected = F.cross_entropy(x, torch.tensor(labels), w, ignore_index=ignore_index, **options)
    agree(softmax_cross_entropy(logits, labels, ignore_index, weights, **options), [x], expected)


@pytest.mark.parametrize("seed", range(60))
def test_multiclass_hinge_of_multi_margin_loss(seed):
    """PyTorch's is divided by C, takes rows alone, knows no ignored label, and its mean divides by N."""
    rng = np.random.default_rng([61, seed])
    scores, labels, ignore_index, weights = classes_and_labels(rng)
    power, margin = int(rng.choice([1, 2])), float(rng.choice([0.3, 1, 4]))
    x, counted = leaf(scores), labels != ignore_index
    rows = torch.movedim(x, 1, -1)[torch.tensor(counted)]
    w = None if weights is None else torch.tensor(weights)
    chosen = torch.tensor(labels[counted])
    total = scores.shape[1] * F.multi_margin_loss(rows, chosen, power, margin, w, reduction="sum")
    reduction = str(rng.choice(["mean", "sum"]))
    if reduction == "mean":
        total = total / (counted.sum() if weights is None else weights[labels[counted]].sum())
    agree(multiclass_hinge(scores, labels, margin, power == 2, ignore_index, weights, reduction), [x], total)


@pytest.mark.parametrize("seed", range(60))
def test_losses_of_elements(seed):
    rng = np.random.default_rng([62, seed])
    shape = (int(rng.integers(1, 6)), *spatial(rng))
    prediction, target = rng.normal(size=(2, *shape)) * rng.choice([0.3, 1, 10])
    reduction = str(rng.choice(["mean", "sum"]))
    beta, margin = float(rng.choice([0.1, 1, 3])), float(rng.choice([0, 1, 2]))
    weights = rng.random(shape) * (rng.random(shape) < 0.8) + 1e-3 if rng.random() < 0.5 else None
    signs, probability = rng.choice([-1, 1], shape), rng.random(shape)
    t, w = torch.tensor(target), torch.tensor(np.ones(shape) if weights is None else weights)
    for result, theirs in [
        (l1(prediction, target, weights, reduction), lambda x: F.l1_loss(x, t, reduction="none")),
        (l2(prediction, target, weights, reduction), lambda x: F.mse_loss(x, t, reduction="none") / 2),
        (
            smooth_l1(prediction, target, beta, weights, reduction),
            lambda x: F.smooth_l1_loss(x, t, beta=beta, reduction="none"),
        ),
        (
            binary_cross_entropy_with_logits(prediction, probability, weights, reduction),
            lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(probability), reduction="none"),
        ),
        (
            hinge(prediction, signs, margin, False, weights, reduction),
            lambda x: torch.clamp(margin - torch.tensor(signs) * x, min=0),
        ),
        (
            hinge(prediction, signs, margin, True, weights, reduction),
            lambda x: torch.clamp(margin - torch.tensor(signs) * x, min=0) ** 2,
        ),
    ]:
        x = leaf(prediction)
        agree(result, [x], (w * theirs(x)).sum() / (w.sum() if reduction == "mean" else 1))


def embeddings(rng, count):
    n, d = int(rng.integers(1, 9)), int(rng.integers(1, 6))
    return rng.normal(size=(count, n, d)), str(rng.choice(["mean", "sum"])), float(rng.choice([0.2, 1, 3]))


@pytest.mark.parametrize("seed", range(60))
def test_triplet_margin_loss(seed):
    rng = np.random.default_rng([63, seed])
    (a, p, n), reduction, margin = embeddings(rng, 3)
    eps = float(rng.choice([1e-6, 0.1]))
    tensors = [leaf(x) for x in (a, p, n)]
    expected = F.triplet_margin_loss(*tensors, margin=margin, eps=eps, reduction=reduction)
    agree(triplet(a, p, n, margin, squared=False, eps=eps, reduction=reduction), tensors, expected)

    tensors = [leaf(x) for x in (a, p, n)]
    expected = F.triplet_margin_with_distance_loss(
        *tensors, distance_function=lambda x, y: ((x - y) ** 2).sum(dim=1), margin=margin, reduction=reduction
    )
    agree(triplet(a, p, n, margin, reduction=reduction), tensors, expected)


@pytest.mark.parametrize("seed", range(60))
def test_contrastive(seed):
    """PyTorch has none: its cosine and hinge embedding losses are others. The formula, and PyTorch's derivatives."""
    rng = np.random.default_rng([64, seed])
    (x1, x2), reduction, margin = embeddings(rng, 2)
    similar, weights = rng.random(len(x1)) < 0.5, rng.random(len(x1)) + 0.01
    tensors, w, same = [leaf(x1), leaf(x2)], torch.tensor(weights), torch.tensor(similar)
    distance = torch.linalg.vector_norm(tensors[0] - tensors[1], dim=1)
    loss = torch.where(same, distance**2, F.relu(margin - distance) ** 2) / 2
    expected = (w * loss).sum() / (w.sum() if reduction == "mean" else 1)
    agree(contrastive(x1, x2, similar, margin, weights, reduction), tensors, expected)


def test_nan_at_ignored_positions_is_not_counted_by_either():
    scores, labels = np.random.default_rng(9).normal(size=(4, 3)), np.array([0, -1, 2, 1])
    scores[1] = np.nan
    leaf = torch.tensor(scores, requires_grad=True)
    expected = F.cross_entropy(leaf, torch.tensor(labels), ignore_index=-1)
    expected.backward()
    value, gradient = softmax_cross_entropy(scores, labels)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    counted = labels >= 0
    np.testing.assert_allclose(gradient[counted], leaf.grad.numpy()[counted], atol=1e-12)
    assert not gradient[~counted].any()  # PyTorch's log_softmax gives 0 * NaN here
