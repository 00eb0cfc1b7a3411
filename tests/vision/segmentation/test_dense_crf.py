"""The lattice against a dictionary, point by point, and against sums over all pairs; mean field against algorithm 1."""

from itertools import product

import numpy as np
import pytest

from vision.segmentation import dense_crf
from vision.segmentation.dense_crf import bilateral_filter, gaussian_filter, normalised
from vision.segmentation.permutohedral import PermutohedralLattice, elevation, enclosing_simplices


def picture(h=11, w=13, seed=0):
    """Two areas of colour in noise."""
    image = np.random.default_rng(seed).integers(0, 50, (h, w, 3))
    image[:, w // 2 :] += 120
    return image.astype(np.uint8)


def random_probabilities(c, h, w, seed=1):
    p = np.random.default_rng(seed).random((c, h, w)) + 0.1
    return p / p.sum(axis=0)


def by_dictionary(features, values):
    """Adams et al. 2010, point by point, with a dictionary as lattice."""
    d = features.shape[1]
    corners, lattice = [], {}
    for f, v in zip(features, values):
        point = elevation(d) @ f
        best = min(  # the vertex of remainder 0 is the closest such lattice point: try all roundings
            (np.array(x) * (d + 1) for x in product(*((np.floor(c), np.floor(c) + 1) for c in point / (d + 1)))),
            key=lambda x: (x.sum() != 0, ((x - point) ** 2).sum()),
        )
        order = np.argsort(-(point - best), kind="stable")
        vertices = [best + k - (d + 1) * np.isin(np.arange(d + 1), order[d + 1 - k :]) for k in range(d + 1)]
        matrix = np.vstack([np.transpose(vertices), np.ones(d + 1)])
        weights = np.linalg.lstsq(matrix, np.append(point, 1), rcond=None)[0]
        corners.append([(tuple(v.astype(int)), b) for v, b in zip(vertices, weights)])
        for vertex, b in corners[-1]:
            lattice[vertex] = lattice.get(vertex, 0) + b * v
    for j in range(d + 1):
        step = np.ones(d + 1, int)
        step[j] -= d + 1
        lattice = {
            p: v + sum(lattice.get(tuple(np.array(p) + sign * step), 0) for sign in (1, -1)) / 2
            for p, v in lattice.items()
        }
    return np.array([sum(b * lattice[vertex] for vertex, b in each) for each in corners])


@pytest.mark.parametrize("d", [1, 2, 5])
def test_lattice_is_that_of_a_dictionary(d):
    rng = np.random.default_rng(d)
    features, values = 2 * rng.standard_normal((40, d)), rng.standard_normal((40, 3))
    lattice = PermutohedralLattice(features)
    np.testing.assert_allclose(lattice.filter(values), by_dictionary(features, values), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_simplices_enclose_their_points(d):
    features = 3 * np.random.default_rng(0).standard_normal((500, d))
    remainder0, rank, weights = enclosing_simplices(features)
    assert weights.min() > -1e-12 and (np.sort(rank, axis=1) == np.arange(d + 1)).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (remainder0 % (d + 1) == 0).all() and (remainder0.sum(axis=1) == 0).all()
    vertices = [remainder0 + np.where(rank <= d - k, k, k - (d + 1)) for k in range(d + 1)]
    points = sum(w[:, None] * v for w, v in zip(weights.T, vertices))
    np.testing.assert_allclose(points, features @ elevation(d).T, atol=1e-10)


def test_elevation_keeps_angles():
    e = elevation(5)
    np.testing.assert_allclose(e.T @ e, np.eye(5) * 2 / 3 * 36, atol=1e-12)
    np.testing.assert_allclose(e.sum(axis=0), 0, atol=1e-12)


def exact(features, q):
    """The normalised dense kernel applied to q (C, H, W), all pairs."""
    k = np.exp(-((features[:, None] - features) ** 2).sum(axis=2) / 2)
    root = k.sum(axis=1) ** -0.5
    return (root[:, None] * k * root @ q.reshape(len(q), -1).T).T.reshape(q.shape)


def features_of(image, std_position, std_colour):
    positions = np.indices(image.shape[:2]).reshape(2, -1).T / std_position
    return np.hstack([positions, image.reshape(len(positions), 3) / std_colour])


def test_bilateral_filter_is_near_the_sum_over_all_pairs():
    """The lattice is an approximation: the mean error is 0.03, for values of 0.1 to 0.9."""
    image, q = picture(), random_probabilities(3, 11, 13)
    got = normalised(bilateral_filter(image, 4, 30), (11, 13))(q.astype(np.float32))
    wanted = exact(features_of(image, 4, 30), q)
    assert abs(got - wanted).mean() < 0.03 and np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.9


def test_gaussian_filter_is_the_sum_over_all_pairs():
    q = random_probabilities(3, 11, 13)
    wanted = exact(features_of(picture(), 2.5, 1)[:, :2], q)
    np.testing.assert_allclose(normalised(gaussian_filter((11, 13), 2.5), (11, 13))(q), wanted, rtol=1e-6)


def mean_field(image, p, gaussian, bilateral, iterations):
    """Algorithm 1 with dense sums, the Potts compatibility transform written out: labels that differ cost."""
    q = p
    kernels = [
        (gaussian[0], features_of(image, gaussian[1], 1)[:, :2]),
        (bilateral[0], features_of(image, *bilateral[1:])),
    ]
    for _ in range(iterations):
        messages = sum(w * exact(f, q) for w, f in kernels)
        cost = np.array([sum(messages[m] for m in range(len(p)) if m != label) for label in range(len(p))])
        q = p * np.exp(-cost)
        q = q / q.sum(axis=0)
    return q


@pytest.mark.parametrize("bilateral", [(0, 4, 30), (2, 4, 30)])
def test_mean_field_is_near_that_of_dense_sums(bilateral):
    image, p = picture(), random_probabilities(4, 11, 13)
    got, wanted = dense_crf(image, p, (1.5, 2), bilateral, 5), mean_field(image, p, (1.5, 2), bilateral, 5)
    np.testing.assert_allclose(got.sum(axis=0), 1, rtol=1e-5)
    if not bilateral[0]:
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    else:
        assert abs(got - wanted).mean() < 0.03 and (got.argmax(axis=0) == wanted.argmax(axis=0)).mean() > 0.95


def test_labels_follow_the_edges_of_the_picture():
    """Noisy probabilities, slightly right in each half: afterwards each half has one label."""
    image, truth = picture(24, 30), np.arange(30) >= 15
    p = 0.5 + np.where(truth, 0.1, -0.1) + 0.25 * np.random.default_rng(3).standard_normal((24, 30))
    p = np.clip(np.stack([1 - p, p]), 0.01, 0.99)
    before, after = (x.argmax(axis=0) == truth for x in (p, dense_crf(image, p, (1, 2), (4, 8, 30))))
    assert before.mean() < 0.75 and after.mean() > 0.99


def test_no_iterations_and_no_weights_change_nothing():
    image, p = picture(), random_probabilities(4, 11, 13)
    np.testing.assert_allclose(dense_crf(image, p, iterations=0), p, rtol=1e-5)
    np.testing.assert_allclose(dense_crf(image, p, (0, 1), (0, 1, 1)), p, rtol=1e-5)


P = random_probabilities(2, 11, 13)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: dense_crf(picture()[..., 0], P), r"dense_crf: image must have shape \(H, W, 3\), got \(11, 13\)"),
        (lambda: dense_crf(picture(8, 8), P), r"dense_crf: probabilities must have shape \(C, 8, 8\), as the image"),
        (lambda: dense_crf(picture(), P, gaussian=(1, 0)), "dense_crf: gaussian must be a weight >= 0 and 1 standard"),
        (
            lambda: dense_crf(picture(), P, bilateral=(1, 2)),
            "dense_crf: bilateral must be a weight >= 0 and 2 standard",
        ),
        (lambda: dense_crf(picture(), P, gaussian=(np.nan, 1)), "dense_crf: gaussian must be a weight >= 0"),
        (lambda: dense_crf(picture(), P, bilateral=(1, 2, np.inf)), "dense_crf: bilateral must be a weight >= 0"),
        (lambda: dense_crf(picture(), P - 0.5), "dense_crf: probabilities must be finite and not negative"),
        (lambda: dense_crf(picture(), P + np.nan), "dense_crf: probabilities must be finite and not negative"),
        (lambda: dense_crf(picture(), P + np.inf), "dense_crf: probabilities must be finite and not negative"),
        (lambda: dense_crf(picture(), P, iterations=-1), "dense_crf: iterations must be a whole number >= 0, got -1"),
        (lambda: PermutohedralLattice(np.full((3, 2), np.nan)), "PermutohedralLattice: features must be finite"),
        (
            lambda: PermutohedralLattice(1e5 * np.eye(5)),
            "PermutohedralLattice: features of 5 dimensions are spread too",
        ),
        (lambda: PermutohedralLattice(np.eye(5)).filter(P[0]), r"PermutohedralLattice: values must be \(5, C\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
