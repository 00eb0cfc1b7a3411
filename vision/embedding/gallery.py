"""Searching a gallery of vectors: the most similar ones for a batch of queries, a block of the gallery at a time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vision.embedding.metrics import most_similar

BLOCK = 20_000  # vectors of the gallery compared at a time: memory stays small


class Found(NamedTuple):
    """The k most similar for each query, best first: indices into the gallery (Q, k), and similarity (Q, k)."""

    indices: np.ndarray
    similarity: np.ndarray


def search(
    similarity: Callable[[np.ndarray, np.ndarray], np.ndarray], queries: np.ndarray, gallery: np.ndarray, k: int
) -> Found:
    """The k most similar vectors of the gallery (G, D) for each of the queries (Q, D); all where G is smaller.

    similarity: (queries, vectors) -> (Q, V), such as an Embedder's. Equal ones come in the order of the gallery. Raises
    ValueError for k < 1, an empty gallery, and vectors of different lengths.
    """
    if k < 1 or len(gallery) == 0:
        raise ValueError(f"search: needs k >= 1 and a gallery that is not empty, got k={k} and {len(gallery)} vectors")
    if queries.ndim != 2 or queries.shape[1:] != gallery.shape[1:]:
        raise ValueError(f"search: queries must have shape (Q, {gallery.shape[1]}), got {queries.shape}")
    best = Found(np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), queries.dtype))
    for start in range(0, len(gallery), BLOCK):
        found = similarity(queries, gallery[start : start + BLOCK])
        chosen = most_similar(found, k)
        best = _merged(best, Found(chosen + start, np.take_along_axis(found, chosen, 1)), k)
    return best


def _merged(one, other, k):
    """The k best of both; of equal ones those of the first."""
    indices, similarity = (np.concatenate(both, axis=1) for both in zip(one, other))
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return Found(np.take_along_axis(indices, order, 1), np.take_along_axis(similarity, order, 1))
