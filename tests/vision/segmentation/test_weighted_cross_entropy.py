"""Softmax cross-entropy with a weight for every pixel, against a loop, and its gradient."""

import numpy as np
import pytest

from nn import softmax_cross_entropy
from nn.gradcheck import check_loss
from tests.vision.segmentation.systems import normal
from vision.segmentation import weighted_cross_entropy


def test_weighted_cross_entropy_is_equation_1():
    logits, labels, weights = (
        normal(2, 3, 4, 5),
        np.random.default_rng(1).integers(-1, 3, (2, 4, 5)),
        normal(2, 4, 5) ** 2,
    )
    total = norm = 0.0
    for n, r, c in np.ndindex(labels.shape):
        if labels[n, r, c] >= 0:
            z = logits[n, :, r, c]
            total -= weights[n, r, c] * np.log(np.exp(z[labels[n, r, c]]) / np.exp(z).sum())
            norm += weights[n, r, c]
    assert weighted_cross_entropy(logits, labels, weights)[0] == pytest.approx(total / norm, rel=1e-12)
    even, gradient = weighted_cross_entropy(logits, labels, np.full(labels.shape, 3.0))
    value, wanted = softmax_cross_entropy(logits, labels)
    assert even == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(gradient, wanted, atol=1e-15)
    assert weighted_cross_entropy(logits, labels, 0 * weights)[0] == 0
    assert weighted_cross_entropy(logits.astype(np.float32), labels, weights)[1].dtype == np.float32
    check_loss(weighted_cross_entropy, logits, labels, weights)
    check_loss(weighted_cross_entropy, logits, labels, weights, complex_step=True, tolerance=1e-12)


def loss(labels=None, weights=None):
    labels = np.zeros((1, 2, 2), int) if labels is None else labels
    return weighted_cross_entropy(normal(1, 3, 2, 2), labels, np.ones((1, 2, 2)) if weights is None else weights)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: loss(labels=np.full((1, 2, 2), 3)), r"labels must lie in -1 .. 2, got 3"),
        (
            lambda: loss(labels=np.zeros((1, 2, 3), int)),
            r"labels must be whole numbers of shape \(1, 2, 2\), got int64",
        ),
        (lambda: loss(weights=np.full((1, 2, 2), -1.0)), "weights must be finite and not negative"),
        (lambda: loss(weights=np.ones((1, 2, 3))), r"weights must have shape \(1, 2, 2\), got \(1, 2, 3\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
