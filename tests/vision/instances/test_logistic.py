"""Logistic classifiers: the gradient at the minimum is 0."""

import numpy as np
import pytest

from vision.instances.logistic import fit_logistic


def test_the_gradient_at_the_minimum_is_zero():
    rng = np.random.default_rng(0)
    x, penalty = rng.normal(size=(60, 4)), 0.01
    y = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(60, 3)) > 0.3).astype(float)
    w, b = fit_logistic(x, y, penalty, steps=2000)
    p = 1 / (1 + np.exp(-(x @ w.T + b)))
    np.testing.assert_allclose((p - y).T @ x / 60 + penalty * w, 0, atol=1e-8)
    np.testing.assert_allclose((p - y).mean(axis=0), 0, atol=1e-8)


def test_bad_examples():
    with pytest.raises(ValueError, match="fit_logistic: x must be finite examples, got 0"):
        fit_logistic(np.zeros((0, 2)), np.zeros((0, 1)), 0.1)
    with pytest.raises(ValueError, match="fit_logistic: x must be finite"):
        fit_logistic(np.array([[np.nan]]), np.ones((1, 1)), 0.1)
