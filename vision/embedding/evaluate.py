"""Measuring an embedder on a data set: nearest neighbours, verification, clusters, one-shot runs, known forms."""

import time
from typing import NamedTuple

import numpy as np

from vision.embedding.embedder import TOGETHER, Embedder
from vision.embedding.gallery import search
from vision.embedding.metrics import angles_apart, area_under, cylinder, k_means, nmi, recall_at, roc
from vision.task import images_and_speed, predicted

QUERIES = 500  # compared with the gallery at a time
KS = (1, 2, 4, 8)  # of recall@k
PAIRS, PAIRED = 5000, 50  # of one class, and of any, for verification; compared at a time
CLUSTERED = 3000  # vectors for k-means at most
COLUMNS = ("label", "run", "support", "origin", "form", "angle", "size")  # of a sample, where it has them
AROUND = 10  # neighbours whose forms are compared


class Embedded(NamedTuple):
    """The vectors (N, D) of a data set's samples, and what the samples say: arrays (N,), or None."""

    vectors: np.ndarray
    labels: np.ndarray
    runs: np.ndarray | None
    supports: np.ndarray | None
    origins: np.ndarray | None
    forms: np.ndarray | None = None
    angles: np.ndarray | None = None  # radians
    sizes: np.ndarray | None = None


def embed_all(model: Embedder, dataset, failed: list[str] | None = None) -> Embedded:
    """The vectors of all samples; see vision.task.predicted for those that cannot be read."""

    def vectors(samples):
        return model.embeddings([sample["image"] for sample in samples])

    samples, found = [], []
    for sample, vector in predicted(dataset, vectors, together=TOGETHER, failed=failed):
        samples.append({key: sample.get(key) for key in COLUMNS})
        found.append(vector)
    columns = (_column(samples, key) for key in COLUMNS)
    return Embedded(np.stack(found), *columns)


def _column(samples, key):
    values = [sample[key] for sample in samples]
    return None if values[0] is None else np.array(values)


def evaluate_embedder(model: Embedder, dataset, failed: list[str] | None = None) -> dict:
    """accuracy: of the nearest neighbour, and what else the data tells.

    Each image is a query, and all others are the gallery; where the data set has a `gallery`, a data set, that is; in
    one-shot runs the queries and the supports of each run.
    """
    started = time.monotonic()
    data = embed_all(model, dataset, failed)
    seconds = time.monotonic() - started
    if data.runs is not None:
        metrics = one_shot(model, data)
    elif getattr(dataset, "gallery", None) is not None:
        metrics = retrieval(model, data, embed_all(model, dataset.gallery))
    else:
        metrics = retrieval(model, data)
    metrics |= verification(model, data)
    if data.runs is None:
        metrics |= {"nmi": clustering(data)}
    if data.origins is not None:
        metrics |= spread(data)
    if data.forms is not None:
        metrics |= forms_around(model, data)
    if data.angles is not None:
        metrics |= cylinder(data.vectors, data.angles, data.sizes) | turns_around(model, data)
    return metrics | {"images": len(data.labels), "images_per_second": round(len(data.labels) / seconds, 1)}


def retrieval(model: Embedder, data: Embedded, gallery: Embedded | None = None) -> dict:
    """accuracy and error of the nearest neighbour, and recall@k, k of KS."""
    nearest, own = [], gallery is None
    gallery = data if own else gallery
    for start in range(0, len(data.labels), QUERIES):
        rows = slice(start, start + QUERIES)
        found = search(model.similarity, data.vectors[rows], gallery.vectors, max(KS) + own).indices
        if own:  # without the query itself
            found = np.stack([row[row != start + i][: max(KS)] for i, row in enumerate(found)])
        nearest.append(gallery.labels[found])
    recall = recall_at(np.concatenate(nearest), data.labels, KS)
    named = {str(k): share for k, share in recall.items()}
    return {"accuracy": recall[1], "error": 1 - recall[1], "recall": named, "gallery": len(gallery.labels)}


def one_shot(model: Embedder, data: Embedded) -> dict:
    """accuracy over all runs, and of each run: the query's class is that of the most similar support."""
    right = {}
    for run in np.unique(data.runs):
        inside = data.runs == run
        support, query = inside & data.supports, inside & ~data.supports
        found = model.similarity(data.vectors[query], data.vectors[support]).argmax(axis=1)
        right[int(run)] = data.labels[support][found] == data.labels[query]
    accuracy = float(np.concatenate([*right.values()]).mean())
    runs = {str(run + 1): float(hits.mean()) for run, hits in right.items()}
    return {"accuracy": accuracy, "error": 1 - accuracy, "runs": runs}


def verification(model: Embedder, data: Embedded) -> dict:
    """auc: the area under the ROC of random pairs, half of them of one class; eer: where both kinds of error are equal.

    The pairs are the same in each evaluation. {} where no class has two images, or there is one class.
    """
    similarity, same = random_pairs(model, data)
    if same.all() or not same.any():
        return {}
    wrong, right = roc(similarity, same)
    return {"auc": area_under(wrong, right), "eer": float(wrong[np.abs(wrong - (1 - right)).argmin()])}


def random_pairs(model: Embedder, data: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """(similarity, whether of one class) of at most PAIRS random pairs of each kind."""
    rng, n = np.random.default_rng(0), len(data.labels)
    order = np.argsort(data.labels, kind="stable")
    first, by_class = rng.integers(n, size=PAIRS), data.labels[order]
    ranks = (np.searchsorted(by_class, data.labels[first], side) for side in ("left", "right"))
    alike, any_other = order[rng.integers(*ranks)], rng.integers(n, size=PAIRS)  # of the same class; of any
    first, second = np.tile(first, 2), np.concatenate([alike, any_other])
    counted = first != second
    pairs = data.vectors[first[counted]], data.vectors[second[counted]]
    blocks = ((x[i : i + PAIRED], y[i : i + PAIRED]) for x, y in [pairs] for i in range(0, len(x), PAIRED))
    similarity = np.concatenate([np.diagonal(model.similarity(x, y)) for x, y in blocks])
    return similarity, (data.labels[first] == data.labels[second])[counted]


def clustering(data: Embedded) -> float:
    """NMI of k-means clusters, as many as there are classes, of at most CLUSTERED vectors."""
    some = np.linspace(0, len(data.labels) - 1, min(CLUSTERED, len(data.labels))).astype(int)
    labels = data.labels[some]
    k = len(np.unique(labels))
    return nmi(k_means(data.vectors[some].astype(np.float64), k, np.random.default_rng(0)), labels)


def spread(data: Embedded) -> dict:
    """spread: the mean distance of the forms of an image from their mean, over that of all means from their mean.

    0: the map ignores what the forms differ in; 1: they lie as far apart as different images.
    """
    means = np.stack([data.vectors[data.origins == origin].mean(axis=0) for origin in np.unique(data.origins)])
    which = np.searchsorted(np.unique(data.origins), data.origins)
    inside = np.linalg.norm(data.vectors - means[which], axis=1).mean()
    return {"spread": float(inside / np.linalg.norm(means - means.mean(axis=0), axis=1).mean())}


def forms_around(model: Embedder, data: Embedded) -> dict:
    """same_form: of the AROUND nearest forms of other images, the share in the query's form; forms: how many there are.

    1 / forms: the map ignores what the forms differ in, where all are as frequent; 1: each form keeps to itself.
    """
    same, own = [], np.unique(data.origins, return_counts=True)[1].max()
    for start in range(0, len(data.forms), QUERIES):
        rows = np.arange(start, min(start + QUERIES, len(data.forms)))
        found = search(model.similarity, data.vectors[rows], data.vectors, AROUND + own).indices
        for row, nearest in zip(rows, found):
            others = nearest[data.origins[nearest] != data.origins[row]][:AROUND]
            same.append((data.forms[others] == data.forms[row]).mean())
    return {"same_form": float(np.mean(same)), "forms": len(np.unique(data.forms))}


def turns_around(model: Embedder, data: Embedded) -> dict:
    """nearest_turn: how far the angle of the nearest other image is off on average, in degrees; 90 by chance."""
    found = search(model.similarity, data.vectors, data.vectors, 2).indices
    nearest = np.where(found[:, 0] == np.arange(len(found)), found[:, 1], found[:, 0])
    return {"nearest_turn": float(np.degrees(angles_apart(data.angles, data.angles[nearest]).mean()))}


def embedding_table(metrics: dict) -> str:
    """The metrics of evaluate_embedder, a line each."""
    if "runs" in metrics:
        rows = [f"one-shot error {100 * metrics['error']:.1f} %; of each run, in percent:"]
        rows.append(" ".join(f"{100 * (1 - accuracy):.0f}" for accuracy in metrics["runs"].values()))
    else:
        rows = [f"nearest neighbour error {100 * metrics['error']:.2f} % (gallery of {metrics['gallery']})"]
        rows.append("  ".join(f"recall@{k} {value:.3f}" for k, value in metrics["recall"].items()))
        rows.append(f"NMI {metrics['nmi']:.3f}")
    if "auc" in metrics:
        rates = f"area under the ROC {metrics['auc']:.4f}, equal error rate {100 * metrics['eer']:.2f} %"
        rows.append(f"verification: {rates}")
    if "spread" in metrics:
        rows.append(f"spread of the forms of an image {metrics['spread']:.3f}")
    if "same_form" in metrics:
        chance = f"1 of {metrics['forms']} forms would be {1 / metrics['forms']:.3f}"
        rows.append(
            f"of the {AROUND} nearest of other images, {metrics['same_form']:.3f} have the same form ({chance})"
        )
    if "turn_error" in metrics:
        off = f"off by {metrics['turn_error']:.1f} degrees, the nearest neighbour's by {metrics['nearest_turn']:.1f}"
        rows.append(f"turn read in a plane: {off} (90 by chance)")
        rows.append(f"size read along a line: correlation {metrics['size_correlation']:.3f}")
    return "\n".join([*rows, images_and_speed(metrics)])
