"""The most typical caption of a data set: the baseline of a caption generator."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vision.captioning.metrics import MAX_N, Vectors, Words, length_penalty, norms, tf_idf


def most_typical_caption(references: Sequence[Sequence[Words]]) -> Words:
    """The caption of a training set with the highest mean CIDEr-D against all the others.

    references: for each image its captions, lists of words. The first of equally typical ones is taken.
    """
    captions = [caption for captions in references for caption in captions]
    return captions[int(mean_cider_d(references).argmax())]


def mean_cider_d(references: Sequence[Sequence[Words]]) -> np.ndarray:
    """For each caption, in order, the mean of its CIDEr-D against each other one as its only reference: see cider_d.

    Raises ValueError for fewer than two captions.
    """
    captions = [caption for captions in references for caption in captions]
    if len(captions) < 2:
        raise ValueError(f"mean_cider_d: needs at least two captions, got {len(captions)}")
    vectors, lengths = list(map(tf_idf(references), captions)), np.array(list(map(len, captions)))
    differences = np.arange(lengths.max() + 1)[:, None] - np.arange(lengths.max() + 1)
    penalty = np.vectorize(length_penalty)(differences)
    totals = sum(_sums_of_cosines([v[n] for v in vectors], lengths, penalty) for n in range(MAX_N))
    own = [sum(math.isfinite(norm) for norm in norms(v)) for v in vectors]  # each cosine with itself is 1
    return 10 / MAX_N * (totals - own) / (len(captions) - 1)


def _sums_of_cosines(vectors: Vectors, lengths: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """For each caption h: the sum over all captions r of penalty(l(h), l(r)) min(h, r) . r / (|h| |r|).

    Without a loop over pairs: the contribution of an n-gram depends on h only by its weight in h, which has few values
    (it occurs once, twice, ...), and by the penalty for the length of h. So for each n-gram and weight the sum of
    min(h_g, r_g) r_g / |r| is kept, separately for each length of r.
    """
    weights, kept = defaultdict(set), defaultdict(lambda: np.zeros(len(penalty)))
    for vector in vectors:
        for gram, w in vector.items():
            weights[gram].add(w)
    divisors = norms(vectors)
    for vector, length, norm in zip(vectors, lengths, divisors):
        for gram, w in vector.items():
            for other in weights[gram]:
                kept[gram, other][length] += min(other, w) * w / norm
    return np.array([
        sum(penalty[length] @ kept[item] for item in vector.items()) / norm
        for vector, length, norm in zip(vectors, lengths, divisors)
    ])  # fmt: skip
