"""Distances: worked examples and bad options. Loops, weights and gradients of all losses: test_classification.py."""

import math

import numpy as np
import pytest

from nn.losses.regression import l1, l2, smooth_l1


def test_worked_examples():
    value, d = smooth_l1(np.array([0.5, 3.0, -2.0]), np.zeros(3), reduction="sum")
    assert value == 0.125 + 2.5 + 1.5 and d.tolist() == [0.5, 1.0, -1.0]
    value, d = smooth_l1(np.array([0.1, 3.0]), np.zeros(2), beta=1 / 9, reduction="sum")
    assert value == pytest.approx(0.045 + 3 - 1 / 18) and np.allclose(d, [0.9, 1.0])
    value, d = l2(np.array([3.0, 1.0]), np.array([1.0, 2.0]), normaliser=2)
    assert value == (2.0 + 0.5) / 2 and d.tolist() == [1.0, -0.5]
    value, d = l1(np.array([3.0, 1.0, 5.0]), np.array([1.0, 2.0, 5.0]))
    assert value == (2 + 1 + 0) / 3 and np.allclose(d, [1 / 3, -1 / 3, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", [smooth_l1, l1])
def test_extreme_differences_are_exact(loss, dtype):
    with np.errstate(all="raise", under="ignore"):
        value, dx = loss(np.array([1e30, -1e30], dtype), np.zeros(2, dtype))
    assert value == pytest.approx(1e30, rel=1e-6) and dx.tolist() == [0.5, -0.5]


@pytest.mark.parametrize("beta", [0, -1, math.nan])
def test_bad_beta(beta):
    with pytest.raises(ValueError, match=f"smooth_l1: beta must be a positive number, got {beta}"):
        smooth_l1(np.zeros(3), np.zeros(3), beta=beta)
