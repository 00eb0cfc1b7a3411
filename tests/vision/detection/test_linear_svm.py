"""The SVM's solver: examples by hand, the conditions of optimality, and no direction leads further down."""

import numpy as np
import pytest

from nn.gradcheck import check_loss
from vision.detection.linear_svm import fit_svm, objective, optimality


def clouds(n=120, d=7, apart=1.0, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 1, -1)
    return (rng.standard_normal((n, d)) + apart * y[:, None] / np.sqrt(d)).astype(dtype), y


def test_two_points_by_hand():
    """x = 2 and x = 4 with a feature that is 10: the boundary is at 3 for a bias that costs little, the margin 1."""
    found = fit_svm(np.array([[2.0], [4.0]]), np.array([-1, 1]), c=1e4, bias_scale=10, tolerance=1e-9, max_epochs=10**5,
                    rng=np.random.default_rng(0))  # fmt: skip
    # Minimum of w^2 + (b / 10)^2 with 4 w + b >= 1 and -2 w - b >= 1: w = 1, b = -3 as both hold with equality.
    assert (found.weight[0], found.bias) == (pytest.approx(1, abs=1e-4), pytest.approx(-3, abs=1e-4))


@pytest.mark.parametrize("c", [0.01, 1.0])
@pytest.mark.parametrize("apart", [0.5, 4.0])
@pytest.mark.parametrize("heavier", [1.0, 2.0])
def test_the_solution_is_optimal(c, apart, heavier):
    """Positive examples may count more: their alphas reach heavier c."""
    x, y = clouds(apart=apart)
    found = fit_svm(x, y, c, positive_weight=heavier, tolerance=1e-6, rng=np.random.default_rng(1))
    c = np.where(y > 0, heavier * c, c)
    assert 0 <= found.violation <= 1e-6 and -1e-9 <= found.gap < 1e-5
    assert ((0 <= found.alpha) & (found.alpha <= c)).all()
    whole, w = np.column_stack([x, np.ones(len(x))]), np.append(found.weight, found.bias)
    best, rng = objective(whole, y, c, w)[0], np.random.default_rng(2)
    for step in (1e-3, 1e-1):
        assert all(objective(whole, y, c, w + step * rng.standard_normal(8))[0] > best for _ in range(50))


def test_conditions_fail_elsewhere():
    x, y = clouds()
    whole, rng = np.column_stack([x, np.ones(len(x))]), np.random.default_rng(0)
    found = fit_svm(x, y, 0.1, rng=rng)
    alpha = np.clip(found.alpha + 0.02 * rng.standard_normal(len(x)), 0, 0.1)
    violation, gap = optimality(whole, y, 0.1, (alpha * y) @ whole, alpha)
    assert violation > 0.05 and gap > 0.001


def test_the_gradient_of_the_primal():
    x, y = clouds(n=20)
    check_loss(lambda w: objective(x, y, 0.3, w), np.random.default_rng(4).standard_normal(7))


def test_single_precision_and_the_same_bits_again():
    x, y = clouds(d=40, n=300, dtype=np.float32)
    a, b = (fit_svm(x, y, 0.05, rng=np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a.weight, b.weight)
    assert a.violation < 2e-3 and a.epochs < 1000


@pytest.mark.parametrize(
    "change, message",
    [
        ({"y": np.zeros(120)}, "y must be of -1 and 1, both of them, got"),
        ({"y": np.ones(120)}, "both of them, got"),
        ({"y": np.ones(3)}, "y must have shape"),
        ({"x": np.full((120, 7), np.nan)}, "x must be finite, row 0 is not"),
        ({"c": 0.0}, "c must be above 0, got 0.0"),
        ({"positive_weight": -1.0}, "positive_weight must be above 0, got -1"),
    ],
)
def test_bad_input(change, message):
    x, y = clouds()
    with pytest.raises(ValueError, match=message):
        fit_svm(**{"x": x, "y": y} | change, rng=np.random.default_rng(0))
