"""The latent SVM's solver: as the linear SVM's where examples have one vector; optimal where they have several."""

import numpy as np
import pytest

from vision.detection.latent_svm import fit_latent_svm, keep_hard
from vision.detection.linear_svm import fit_svm, objective


def clouds(n=60, d=9, seed=0):
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.4, 1, -1)
    x = rng.standard_normal((n, d)) + 0.3 * y[:, None]
    return np.column_stack([x, np.ones(n)]), y


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_examples_of_one_vector_are_a_linear_svm(c):
    x, y = clouds()
    found = fit_latent_svm(x, y, np.arange(len(x)), c, tolerance=1e-7, max_epochs=5000, rng=np.random.default_rng(0))
    wanted = fit_svm(x[:, :-1], y, c, tolerance=1e-7, rng=np.random.default_rng(0))
    values = [objective(x, y, c, w)[0] for w in (found.weight, np.append(wanted.weight, wanted.bias))]
    assert values[0] == pytest.approx(values[1], rel=1e-5) and -1e-9 < found.gap <= 1e-7


def test_the_worst_vector_of_an_example_counts():
    x, y = clouds()
    rng = np.random.default_rng(1)
    example = np.where(y > 0, np.arange(len(y)), 1000 + rng.integers(0, 20, len(y)))
    least = np.concatenate([np.full(3, 0.05), np.full(7, -np.inf)])
    found = fit_latent_svm(x, y, example, 0.5, least, tolerance=1e-3, max_epochs=3000, rng=rng)

    def primal(w):
        slack = 1 - y * (x @ w)
        return w @ w / 2 + 0.5 * sum(max(0, slack[example == e].max()) for e in np.unique(example))

    best = primal(found.weight)
    assert (found.weight >= least).all() and found.gap <= 1e-3
    for step in (1e-2, 1e-1):
        moved = [np.maximum(found.weight + step * rng.standard_normal(10), least) for _ in range(20)]
        assert all(primal(w) > best * (1 - 1e-3) for w in moved)
    assert all(found.alpha[example == e].sum() <= 0.5 + 1e-9 for e in np.unique(example))


def test_two_vectors_of_a_negative_by_hand():
    """Vectors -1 (y = 1: x = 1) and one negative example of x = 0 and x = -1: only the higher score, at 0, is tight."""
    x, y = np.array([[1.0, 1], [0, 1], [-1, 1]]), np.array([1, -1, -1])
    found = fit_latent_svm(x, y, np.array([0, 1, 1]), 100.0, tolerance=1e-9, max_epochs=10**5,
                           rng=np.random.default_rng(0))  # fmt: skip
    # w + b >= 1 and b <= -1: the least |w|^2 + b^2 is at w = 2, b = -1, with a slack nowhere.
    np.testing.assert_allclose(found.weight, [2, -1], atol=1e-3)
    assert found.alpha[2] == pytest.approx(0, abs=1e-6)


def test_the_cache_drops_what_is_easy_and_what_comes_twice():
    rows = np.array([[1, 1], [2, 2], [1, 1], [3, 3], [4, 4]])
    assert keep_hard(rows, np.array([0.5, -2, 0.5, -1, 2]), 10).tolist() == [0, 3, 4]
    assert keep_hard(rows, np.array([0.5, -2, 0.5, -1, 2]), 2).tolist() == [0, 4]
    assert keep_hard(rows[:0], np.zeros(0), 2).tolist() == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"example": np.zeros(60, int)}, "an example with y = 1 must have one vector: choose its placement first"),
        ({"y": np.ones(60)}, "both of them, got"),
        ({"c": -1.0}, "c must be above 0"),
    ],
)
def test_bad_input(change, message):
    x, y = clouds()
    arguments = {"x": x, "y": y, "example": np.arange(60), "c": 0.1} | change
    with pytest.raises(ValueError, match=message):
        fit_latent_svm(**arguments, rng=np.random.default_rng(0))
