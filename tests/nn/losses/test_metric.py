"""Contrastive and triplet loss against loops written with math alone, examples by hand, and bad input by message."""

import math

import numpy as np
import pytest

from nn.gradcheck import GradientError, check_loss
from nn.losses.metric import contrastive, triplet

RNG = np.random.default_rng(51)
A, P, N = RNG.normal(size=(3, 8, 3))
SIMILAR = np.array([1, 0, 1, 0, 0, 1, 0, 0])
WEIGHTS = RNG.random(8) * (RNG.random(8) < 0.7)
AVERAGES = [{}, {"reduction": "sum"}, {"normaliser": 7.5}]


def naive_average(losses, weights, reduction="mean", normaliser=None):
    weights = [1.0] * len(losses) if weights is None else weights.tolist()
    total = math.fsum(w * loss for w, loss in zip(weights, losses, strict=True))
    return total / (normaliser or (math.fsum(weights) if reduction == "mean" else 1))


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("margin", [0.0, 1.0, 2.5])
def test_contrastive_equals_the_naive_loop(margin, weights, average):
    losses = []
    for a, b, same in zip(A, P, SIMILAR, strict=True):
        d = math.dist(a, b)
        losses.append(0.5 * d**2 if same else 0.5 * max(0.0, margin - d) ** 2)
    value, _ = contrastive(A, P, SIMILAR, margin, weights, **average)
    assert value == pytest.approx(naive_average(losses, weights, **average), rel=1e-13)
    assert margin != 2.5 or 0 < sum(loss > 0 for loss in losses) < 8


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("margin, eps", [(0.0, 1e-6), (0.2, 0.0), (1.5, 0.3)])
def test_triplet_equals_the_naive_loop(margin, eps, squared, weights, average):
    losses = []
    for a, p, n in zip(A, P, N, strict=True):
        near, far = math.dist(a, p) ** 2, math.dist(a, n) ** 2
        if not squared:
            near, far = math.dist(a + eps, p), math.dist(a + eps, n)
        losses.append(max(0.0, near - far + margin))
    value, _ = triplet(A, P, N, margin, squared, eps, weights, **average)
    assert value == pytest.approx(naive_average(losses, weights, **average), rel=1e-13)
    assert 0 < sum(loss > 0 for loss in losses) < 8


def test_contrastive_by_hand():
    """Distance 5 in the direction (3, 4): similar 12.5; apart, margin 6: slack 1, pushed apart by it; margin 4: 0."""
    x1, x2 = np.array([[3.0, 4.0]]), np.zeros((1, 2))
    for same, margin, expected, slope in [
        (True, 6, 12.5, [3, 4]),
        (False, 6, 0.5, [-0.6, -0.8]),
        (False, 4, 0, [0, 0]),
        (True, 4, 12.5, [3, 4]),
    ]:
        value, (dx1, dx2) = contrastive(x1, x2, np.array([same]), margin)
        assert value == pytest.approx(expected)
        np.testing.assert_allclose(dx1, [slope])
        np.testing.assert_array_equal(dx2, -dx1)


def test_triplet_by_hand():
    """The positive at squared distance 2, the negative at 4; pulled and pushed along the differences, twice."""
    a, p, n = np.array([[0.0, 0.0]]), np.array([[1.0, 1.0]]), np.array([[0.0, 2.0]])
    assert triplet(a, p, n)[0] == 0  # 2 - 4 + 0.2 < 0
    value, (da, dp, dn) = triplet(a, p, n, margin=3)
    assert value == 1
    np.testing.assert_array_equal([da[0], dp[0], dn[0]], [[-2, 2], [2, 2], [0, -4]])
    value, (da, dp, dn) = triplet(a, p, n, margin=3, squared=False, eps=0)
    assert value == pytest.approx(math.sqrt(2) - 2 + 3)
    r = math.sqrt(0.5)
    np.testing.assert_allclose([da[0], dp[0], dn[0]], [[-r, 1 - r], [r, r], [0, -1]])


def test_a_triplet_that_has_just_reached_its_margin_has_no_gradient():
    a, p, n = np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])
    value, gradients = triplet(a, p, n, margin=3)  # 1 - 4 + 3
    assert value == 0 and not np.any(gradients)


def test_embeddings_that_coincide():
    """No direction to part in, no division by 0: a gradient of 0, and the loss of the whole margin."""
    value, (dx1, dx2) = contrastive(A, A, np.zeros(8, bool), 2.0)
    assert value == 2.0 and not dx1.any() and not dx2.any()
    value, (dx1, _) = contrastive(A, A, np.ones(8, bool))
    assert value == 0 and not dx1.any()
    value, gradients = triplet(A, A, A, 0.7, squared=False, eps=0.0)
    assert value == pytest.approx(0.7) and not any(d.any() for d in gradients)
    value, (da, dp, dn) = triplet(A, A, A, 0.7, squared=False)
    assert value == pytest.approx(0.7) and not da.any()
    np.testing.assert_allclose(dp, -np.full((8, 3), math.sqrt(1 / 3) / 8), rtol=1e-6)
    np.testing.assert_array_equal(dn, -dp)


def test_steps_along_the_gradient_part_what_differs_and_join_what_does_not():
    a, p, n = A.copy(), P.copy(), N.copy()
    for _ in range(200):
        value, (da, dp, dn) = triplet(a, p, n, 1.0, reduction="sum")
        a, p, n = a - 0.05 * da, p - 0.05 * dp, n - 0.05 * dn
    assert value == 0
    x1, x2 = A.copy(), P.copy()
    for _ in range(1000):
        value, (dx1, dx2) = contrastive(x1, x2, SIMILAR, 3.0, reduction="sum")
        x1, x2 = x1 - 0.05 * dx1, x2 - 0.05 * dx2
    distance = np.sqrt(((x1 - x2) ** 2).sum(axis=1))
    assert value < 1e-12 and (distance[SIMILAR == 1] < 1e-6).all() and (distance[SIMILAR == 0] > 3 - 1e-6).all()


@pytest.mark.parametrize("squared", [True, False])
def test_a_swap_of_roles_swaps_the_gradients(squared):
    """d(a, b) = d(b, a), so the contrastive gradients change places; with the negative first the triplet changes."""
    _, (dx1, dx2) = contrastive(A, P, SIMILAR, 2.0)
    _, swapped = contrastive(P, A, SIMILAR, 2.0)
    np.testing.assert_allclose(dx1, swapped[1], rtol=1e-13)
    np.testing.assert_allclose(dx2, swapped[0], rtol=1e-13)
    _, (da, dp, dn) = triplet(A, P, N, 100.0, squared, 0.0)  # all triplets count
    _, (ea, ep, en) = triplet(A, N, P, 100.0, squared, 0.0)
    np.testing.assert_allclose([da, dp, dn], [-ea, -en, -ep], rtol=1e-13)
    np.testing.assert_allclose(da + dp + dn, np.zeros((8, 3)), atol=1e-15)  # a shift of all three changes nothing


@pytest.mark.parametrize("average", AVERAGES)
def test_where_nothing_counts_value_and_gradients_are_zero(average):
    for value, gradients in [
        contrastive(A, P, SIMILAR, weights=np.zeros(8), **average),
        contrastive(A[:0], P[:0], SIMILAR[:0], **average),
        triplet(A, P, N, weights=0, **average),
        triplet(A[:0], P[:0], N[:0], squared=False, **average),
    ]:
        assert value == 0 and not any(d.any() for d in gradients)


@pytest.mark.parametrize("squared", [True, False])
def test_float32_stays_float32_and_arguments_are_not_modified(squared):
    margin, weights = np.float64(1.5), WEIGHTS.copy()  # neither must widen anything
    a, p, n = (x.astype(np.float32) for x in (A, P, N))
    copies = [x.copy() for x in (a, p, n)]
    for (value, gradients), (exact, exact_gradients) in [
        (contrastive(a, p, SIMILAR, margin, weights), contrastive(A, P, SIMILAR, margin, weights)),
        (triplet(a, p, n, margin, squared, weights=weights), triplet(A, P, N, margin, squared, weights=weights)),
    ]:
        assert type(value) is float and value == pytest.approx(exact, rel=1e-5)
        for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
            assert gradient.dtype == np.float32
            np.testing.assert_allclose(gradient, exact_gradient, rtol=1e-3, atol=1e-6)
    assert all(np.array_equal(x, copy) for x, copy in zip((a, p, n), copies)) and np.array_equal(weights, WEIGHTS)


def test_gradients_are_arrays_of_their_own():
    _, gradients = triplet(A, P, N, 100.0)
    before = [g.copy() for g in gradients]
    for i in range(3):
        gradients[i][...] = math.nan
        assert all(np.array_equal(gradients[j], before[j]) for j in range(i + 1, 3))
    _, (dx1, dx2) = contrastive(A, P, SIMILAR)
    assert not np.shares_memory(dx1, dx2)


def test_not_contiguous_and_any_kind_of_truth():
    wide = np.repeat(A, 2, axis=1)[:, ::2]
    assert contrastive(wide, P[:, :], SIMILAR.astype(bool))[0] == contrastive(A, P, SIMILAR)[0]
    assert contrastive(A, P, SIMILAR.astype(np.float32))[0] == contrastive(A, P, SIMILAR.astype(np.uint8))[0]


def test_check_loss_of_several_predictions_names_the_one_that_is_wrong():
    def wrong(a, p, n):
        value, (da, dp, dn) = triplet(a, p, n, 3.0)
        return value, (da, dp, -dn)

    def one_too_few(a, p, n):
        value, gradients = triplet(a, p, n, 3.0)
        return value, gradients[:2]

    assert check_loss(triplet, (A, P, N), 3.0) < 1e-7
    with pytest.raises(GradientError, match=r"wrong: gradient of prediction 2\[\d, \d\] is"):
        check_loss(wrong, (A, P, N))
    with pytest.raises(GradientError, match="one_too_few: 2 gradients for 3 predictions"):
        check_loss(one_too_few, (A, P, N))


def test_bad_input():
    with pytest.raises(ValueError, match=r"contrastive: x1 must have shape \(N, D\), got \(3,\)"):
        contrastive(A[0], P[0], SIMILAR)
    with pytest.raises(ValueError, match=r"contrastive: x2 must have shape \(8, 3\), got \(8, 2\)"):
        contrastive(A, P[:, :2], SIMILAR)
    with pytest.raises(TypeError, match="contrastive: x2 must be an array of floats, got int64"):
        contrastive(A, P.astype(int), SIMILAR)
    with pytest.raises(ValueError, match=r"contrastive: similar must have shape \(8,\), one per pair, got \(8, 1\)"):
        contrastive(A, P, SIMILAR[:, None])
    with pytest.raises(ValueError, match="contrastive: similar must be 0 or 1, got -1"):
        contrastive(A, P, 2 * SIMILAR - 1)
    with pytest.raises(TypeError, match="contrastive: similar must be an array, got list"):
        contrastive(A, P, SIMILAR.tolist())
    with pytest.raises(ValueError, match="contrastive: margin must be a number of at least 0, got -1"):
        contrastive(A, P, SIMILAR, margin=-1)
    with pytest.raises(ValueError, match=r"contrastive: weights must broadcast to \(8,\), got \(8, 1\)"):
        contrastive(A, P, SIMILAR, weights=np.ones((8, 1)))
    with pytest.raises(ValueError, match=r"triplet: anchor must have shape \(N, D\), got \(2, 4, 3\)"):
        triplet(A.reshape(2, 4, 3), P, N)
    with pytest.raises(ValueError, match=r"triplet: positive must have shape \(8, 3\), got \(7, 3\)"):
        triplet(A, P[:7], N)
    with pytest.raises(ValueError, match=r"triplet: negative must have shape \(8, 3\), got \(1, 3\)"):
        triplet(A, P, N[:1])
    with pytest.raises(ValueError, match="triplet: margin must be a number of at least 0, got nan"):
        triplet(A, P, N, margin=math.nan)
    with pytest.raises(ValueError, match="triplet: eps must be a number of at least 0, got -1"):
        triplet(A, P, N, squared=False, eps=-1)
    with pytest.raises(ValueError, match='triplet: reduction must be "mean" or "sum", got None'):
        triplet(A, P, N, reduction=None)
