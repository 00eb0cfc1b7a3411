"""Metrics of embeddings against naive loops, worked examples, and bad input by message."""

import math

import numpy as np
import pytest

from vision.embedding.metrics import angles_apart, area_under, cylinder, k_means, most_similar, nmi, recall_at, roc

RNG = np.random.default_rng(81)


def test_recall_equals_the_loops():
    found, labels = RNG.integers(0, 4, (9, 12)), RNG.integers(0, 4, 9)
    for k, value in recall_at(found, labels, (1, 3, 12, 20)).items():
        assert value == sum(label in row[:k].tolist() for row, label in zip(found, labels)) / 9


def test_the_most_similar_come_first_and_fewer_where_there_are_fewer():
    similarity = RNG.random((5, 7))
    wanted = np.argsort(-similarity, axis=1)
    for k in (1, 3, 7, 9):
        np.testing.assert_array_equal(most_similar(similarity, k), wanted[:, :k])


def test_roc_by_hand():
    """Accepted one by one: same, other, then two of equal similarity together, then other."""
    wrong, right = roc(np.array([0.9, 0.8, 0.5, 0.5, 0.1]), np.array([1, 0, 1, 0, 0]))
    np.testing.assert_allclose(wrong, [0, 0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(right, [0, 0.5, 0.5, 1, 1])


def test_the_area_is_the_share_of_pairs_in_order():
    similarity, same = np.round(RNG.random(60), 1), RNG.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in similarity[same] for b in similarity[~same]]
    assert area_under(*roc(similarity, same)) == pytest.approx(np.mean(pairs))


def test_nmi():
    labels = np.array([0, 0, 1, 1])
    assert nmi(np.array([5, 5, 2, 2]), labels) == pytest.approx(1)
    assert nmi(np.array([0, 1, 0, 1]), labels) == pytest.approx(0)
    assert nmi(np.zeros(4, int), np.zeros(4, int)) == 1
    # I = ln 2 - 1/2 ln 2 of the halves cut at 1 and 3: H(labels) = ln 2, H(clusters) = 1.5 ln 2
    assert nmi(np.array([0, 1, 2, 2]), labels) == pytest.approx(2 * math.log(2) / (2.5 * math.log(2)))


def test_k_means_finds_clusters_that_lie_apart():
    centres, labels = 20 * RNG.normal(size=(4, 3)), RNG.integers(0, 4, 90)
    clusters = k_means(centres[labels] + RNG.normal(size=(90, 3)), 4, np.random.default_rng(0))
    assert nmi(clusters, labels) == pytest.approx(1)
    assert len(set(k_means(np.zeros((5, 2)), 3, np.random.default_rng(0)))) == 1  # all points are one


def test_points_on_a_cylinder():
    angle, size = RNG.uniform(0, 2 * np.pi, 80), RNG.integers(0, 9, 80)
    there = np.column_stack([3 * np.cos(angle), 3 * np.sin(angle), size / 4])
    turned = there @ np.linalg.qr(RNG.normal(size=(3, 3)))[0] + 5  # whichever way it stands
    found = cylinder(turned, angle, size)
    assert found["turn_error"] == pytest.approx(0, abs=1e-6) and found["size_correlation"] == pytest.approx(1)
    assert cylinder(turned, RNG.permutation(angle), size)["turn_error"] > 60  # a ring in no order
    assert cylinder(turned[:, :1] ** 0, angle, RNG.integers(0, 9, 80))["turn_error"] > 60  # all in one place
    assert np.degrees(angles_apart(np.radians(350), np.radians(20))) == pytest.approx(30)


def test_bad_input():
    with pytest.raises(ValueError, match=r"recall_at: found must have shape \(2, K\), a row a query, got \(3, 2\)"):
        recall_at(np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="roc: needs pairs of one class and pairs of two classes"):
        roc(np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="k_means: k must be 1 to 3 for 3 points, got 4"):
        k_means(np.zeros((3, 2)), 4, np.random.default_rng(0))
