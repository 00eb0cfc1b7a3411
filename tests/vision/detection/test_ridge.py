"""Ridge regression: both forms, and the conditions of the minimum."""

import numpy as np
import pytest

from vision.detection.ridge import fit_ridge

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n, d", [(30, 7), (7, 30), (9, 9)])
def test_the_gradient_is_zero(n, d):
    x, t = RNG.standard_normal((n, d)), RNG.standard_normal((n, 4))
    w = fit_ridge(x, t, 2.5)
    np.testing.assert_allclose(x.T @ (x @ w - t) + 2.5 * w, 0, atol=1e-12)


def test_one_value_by_hand():
    """(2 w - 3)^2 + 5 w^2 is least at w = 6 / 9."""
    np.testing.assert_allclose(fit_ridge(np.array([[2.0]]), np.array([[3.0]]), 5.0), [[2 / 3]])


@pytest.mark.parametrize("arguments", [((3, 2), (4, 1), 1.0), ((3, 2), (3, 1), 0.0)])
def test_bad_input(arguments):
    x, t, penalty = arguments
    with pytest.raises(ValueError, match="fit_ridge: "):
        fit_ridge(np.zeros(x), np.zeros(t), penalty)
