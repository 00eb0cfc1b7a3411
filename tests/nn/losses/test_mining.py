"""Mining against loops over all triplets, an example by hand, and bad input by message."""

import math

import numpy as np
import pytest

from nn.losses.mining import hard, semi_hard, squared_distances

RNG = np.random.default_rng(72)


def batch(n, d, classes):
    return RNG.normal(size=(n, d)), RNG.integers(0, classes, n)


def naive_semi_hard(x, labels, margin):
    found = []
    for a in range(len(x)):
        for p in range(len(x)):
            if p == a or labels[p] != labels[a]:
                continue
            near = math.dist(x[a], x[p]) ** 2
            far = {n: math.dist(x[a], x[n]) ** 2 for n in range(len(x)) if labels[n] != labels[a]}
            far = {n: value for n, value in far.items() if near < value < near + margin}
            if far:
                found.append((a, p, min(far, key=far.get)))
    return found


def naive_hard(x, labels):
    found = []
    for a in range(len(x)):
        same = {i: math.dist(x[a], x[i]) for i in range(len(x)) if labels[i] == labels[a] and i != a}
        other = {i: math.dist(x[a], x[i]) for i in range(len(x)) if labels[i] != labels[a]}
        if same and other:
            found.append((a, max(same, key=same.get), min(other, key=other.get)))
    return found


def listed(triplets):
    return list(zip(*(indices.tolist() for indices in triplets)))


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0, 50.0])
@pytest.mark.parametrize("n, d, classes", [(12, 3, 3), (9, 2, 4), (5, 4, 1), (4, 2, 9), (1, 2, 2)])
def test_equals_the_loops(n, d, classes, margin):
    x, labels = batch(n, d, classes)
    assert listed(semi_hard(x, labels, margin)) == naive_semi_hard(x, labels, margin)
    assert listed(hard(x, labels)) == naive_hard(x, labels)


def test_by_hand():
    """On a line: anchor 0, positive 1; negatives at 0.5 (nearer than the positive), 1.05 and 1.2 (1.44 - 1 > 0.2)."""
    x, labels = np.array([[0.0], [1.0], [0.5], [1.05], [1.2]]), np.array([7, 7, 1, 2, 3])
    assert listed(semi_hard(x, labels))[0] == (0, 1, 3)
    assert listed(hard(x, labels)) == [(0, 1, 2), (1, 0, 3)]
    assert listed(semi_hard(x, labels, margin=0.1)) == []  # 1.05^2 - 1 is 0.1025; nothing is beyond 0 from 1
    assert listed(semi_hard(x[:3], labels[:3], margin=9.0)) == []  # the only negative is the nearer


def test_distances():
    x, y = RNG.normal(size=(4, 3)), RNG.normal(size=(6, 3))
    wanted = [[math.dist(a, b) ** 2 for b in y] for a in x]
    np.testing.assert_allclose(squared_distances(x, y), wanted, rtol=1e-12)
    assert (squared_distances(1e4 + x, 1e4 + x) >= 0).all()  # rounding would make some of them negative


def test_bad_input():
    x, labels = batch(4, 3, 2)
    for mine in (semi_hard, hard):
        with pytest.raises(ValueError, match=r"embeddings must have shape \(N, D\), got \(4,\)"):
            mine(x[:, 0], labels)
        with pytest.raises(ValueError, match=r"labels must be integers of shape \(4,\), got int64 \(3,\)"):
            mine(x, labels[:3])
        with pytest.raises(ValueError, match=r"labels must be integers of shape \(4,\), got float64 \(4,\)"):
            mine(x, labels.astype(float))
    with pytest.raises(ValueError, match="semi_hard: margin must be a number of at least 0, got -1"):
        semi_hard(x, labels, -1)
