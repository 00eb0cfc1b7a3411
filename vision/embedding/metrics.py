"""Metrics of embeddings: is what lies near of the same class? Distances come as similarity, higher is nearer."""

import numpy as np

RESTARTS, ROUNDS = 5, 50  # of k-means


def recall_at(found: np.ndarray, labels: np.ndarray, ks=(1, 2, 4, 8)) -> dict[int, float]:
    """{k: share of queries with one of their class among the k most similar}.

    found (Q, K): the labels of what is most similar to each query, best first; labels (Q,): of the queries. ValueError
    for another shape. Reference: Jegou et al. 2011, Product quantization for nearest neighbor search, sec. V.
    """
    if found.ndim != 2 or len(found) != len(labels):
        raise ValueError(f"recall_at: found must have shape ({len(labels)}, K), a row a query, got {found.shape}")
    hits = found == labels[:, None]
    return {k: float(hits[:, :k].any(axis=1).mean()) for k in ks}


def most_similar(similarity: np.ndarray, k: int) -> np.ndarray:
    """Indices (Q, k) of the k most similar of (Q, G), the most similar first; fewer where G is smaller."""
    k = min(k, similarity.shape[1])
    best = np.argpartition(-similarity, k - 1, axis=1)[:, :k]  # in no order
    order = np.argsort(-np.take_along_axis(similarity, best, 1), axis=1, kind="stable")
    return np.take_along_axis(best, order, 1)


def roc(similarity: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(false positive rates, true positive rates) over all thresholds, from (0, 0) to (1, 1).

    similarity (N,) of pairs, same (N,) bool: of one class. A pair is accepted where its similarity is at least the
    threshold. ValueError where there are no pairs of one kind. Reference: Fawcett 2006, An introduction to ROC
    analysis, alg. 1.
    """
    same = np.asarray(same, bool)
    if same.all() or not same.any():
        raise ValueError("roc: needs pairs of one class and pairs of two classes")
    order = np.argsort(-similarity, kind="stable")
    last = np.append(np.diff(similarity[order]) != 0, True)  # pairs of equal similarity are accepted together
    accepted = np.cumsum(same[order])[last], np.cumsum(~same[order])[last]
    right, wrong = (np.append(0, counts) / counts[-1] for counts in accepted)
    return wrong, right


def area_under(x: np.ndarray, y: np.ndarray) -> float:
    """The area under a curve, by trapezes."""
    return float(np.trapezoid(y, x))


def nmi(clusters: np.ndarray, labels: np.ndarray) -> float:
    """Normalised mutual information of two partitions (N,), 0 to 1: I / ((H(clusters) + H(labels)) / 2).

    Reference: Manning, Raghavan and Schuetze 2008, Introduction to information retrieval, sec. 16.3.
    """
    (_, a), (_, b) = (np.unique(each, return_inverse=True) for each in (clusters, labels))
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    pa, pb = joint.sum(axis=1), joint.sum(axis=0)
    some = joint > 0
    information = (joint[some] * np.log(joint[some] / np.outer(pa, pb)[some])).sum()
    entropy = -(pa * np.log(pa)).sum() - (pb * np.log(pb)).sum()
    return float(2 * information / entropy) if entropy else 1.0


def k_means(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """The cluster (N,) of each of x (N, D): the best of RESTARTS runs of Lloyd's algorithm, started by k-means++.

    Raises ValueError unless 1 <= k <= N. Reference: Arthur and Vassilvitskii 2007, k-means++: the advantages of careful
    seeding, sec. 2.
    """
    if not 1 <= k <= len(x):
        raise ValueError(f"k_means: k must be 1 to {len(x)} for {len(x)} points, got {k}")
    runs = [_lloyd(x, _seeded(x, k, rng)) for _ in range(RESTARTS)]
    return min(runs, key=lambda run: run[1])[0]


def _seeded(x, k, rng):
    """Centres (k, D): points of x, each drawn in proportion to its squared distance from those before."""
    centres = [x[rng.integers(len(x))]]
    distance = np.full(len(x), np.inf)
    for _ in range(1, k):
        distance = np.minimum(distance, ((x - centres[-1]) ** 2).sum(axis=1))
        p = distance / distance.sum() if distance.any() else None  # all points are centres: any of them
        centres.append(x[rng.choice(len(x), p=p)])
    return np.stack(centres)


def _lloyd(x, centres):
    """(clusters (N,), sum of squared distances): points go to the nearest centre, which moves to their mean."""
    clusters = None
    for _ in range(ROUNDS):
        distance = (centres**2).sum(axis=1) - 2 * x @ centres.T  # without ||x||^2, the same in a row
        now = distance.argmin(axis=1)
        if clusters is not None and (now == clusters).all():
            break
        clusters = now
        for index in np.unique(clusters):  # a centre without points stays
            centres[index] = x[clusters == index].mean(axis=0)
    return clusters, float(((x - centres[clusters]) ** 2).sum())


def angles_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| of angles in radians, the shorter way around: 0 to pi."""
    return np.abs((a - b + np.pi) % (2 * np.pi) - np.pi)


def cylinder(x: np.ndarray, angle: np.ndarray, size: np.ndarray) -> dict[str, float]:
    """How well points (N, D) lie on a cylinder: around it by their angle (N,) in radians, along it by their size (N,).

    Least squares give the linear maps of x to (cos, sin) of the angle, and to the size. turn_error: how far the angle
    read in this plane is off on average, in degrees; 90 where x says nothing, and where the ring is not in order.
    size_correlation: of the size with what is read of it, for least squares the ratio of their deviations.
    """
    x = np.column_stack([x, np.ones(len(x))])
    wanted = np.column_stack([np.cos(angle), np.sin(angle), size])
    cos, sin, along = (x @ np.linalg.lstsq(x, wanted)[0]).T
    off = angles_apart(np.arctan2(sin, cos), angle).mean()
    return {"turn_error": float(np.degrees(off)), "size_correlation": float(along.std() / size.std())}
