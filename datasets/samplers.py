"""Which samples make the batches of an epoch where they belong together: pairs, triplets, several images of a class.

A sampler has len(sampler), the batches of an epoch, and epoch(rng), their samples; `Loader(..., sampler=sampler)` gives
it a generator that depends on the seed and the epoch alone, so a run resumes with the same batches.

Bad input is a ValueError that names the class: one without a second image, too few classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

SIMILAR = 0.5  # share of pairs that are similar


class Drawn(NamedTuple):
    """A sample of a batch: its index, and fields that are added to it, such as similar: True for both of a pair."""

    index: int
    fields: Mapping[str, Any] = {}


class Sampler(Protocol):
    """What a Loader needs."""

    def __len__(self) -> int:
        """The batches of an epoch."""

    def epoch(self, rng: np.random.Generator) -> list[list[Drawn]]:
        """The batches of an epoch."""


class Classes:
    """The samples of each class.    labels (N,) of integers; names: of the classes, for messages.

    Raises ValueError for fewer than `least` classes, and for a class with one sample: it has no positive pair.
    """

    def __init__(self, owner: str, labels: Sequence[int], names: Sequence[str] = (), least: int = 2):
        labels = np.asarray(labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(f"{owner}: labels must be integers of shape (N,), got {labels.dtype} {labels.shape}")
        there, counts = np.unique(labels, return_counts=True)
        if len(there) < least:
            raise ValueError(f"{owner}: needs {least} classes, the data has {len(there)}")
        if (counts < 2).any():
            label = int(there[counts < 2][0])
            name = names[label] if label < len(names) else label
            raise ValueError(f"{owner}: the class {name} has one image, at least 2 are needed; leave the class out")
        self.members = [np.flatnonzero(labels == label) for label in there]

    def __len__(self) -> int:
        return len(self.members)

    def two_of(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        """Two samples of a class."""
        return tuple(rng.choice(self.members[index], 2, replace=False).tolist())

    def one_of(self, index: int, rng: np.random.Generator) -> int:
        """A sample of a class."""
        return int(rng.choice(self.members[index]))


class ClassBatches:
    """Batches of P classes with K images each, P `classes` and K `images`, classes and images drawn at random.

    A class with fewer than K images gives some of them twice. batches: of an epoch (default: as many as make it about
    as long as the data). Reference: Schroff et al. 2015, arXiv:1503.03832, sec. 3.2; P x K as in Hermans et al. 2017,
    arXiv:1703.07737, sec. 2.
    """

    def __init__(self, labels, classes: int, images: int, batches: int | None = None, names: Sequence[str] = ()):
        _at_least("ClassBatches", classes=(classes, 2), images=(images, 2), batches=(batches, 1))
        self.of, self.classes, self.images = Classes("ClassBatches", labels, names, classes), classes, images
        self.batches = batches or max(1, len(labels) // (classes * images))

    def __len__(self) -> int:
        return self.batches

    def epoch(self, rng: np.random.Generator) -> list[list[Drawn]]:
        return [self._batch(rng) for _ in range(self.batches)]

    def _batch(self, rng):
        chosen = rng.choice(len(self.of), self.classes, replace=False)
        members = (np.resize(rng.permutation(self.of.members[index]), self.images) for index in chosen)
        return [Drawn(index) for each in members for index in each.tolist()]


class LabelPairs:
    """Batches of pairs: the first and the second sample, the third and the fourth, ...

    Each pair is of one class with probability `similar`, else of two; field similar: bool, of both samples. Reference:
    Koch et al. 2015, Siamese neural networks for one-shot image recognition, sec. 4.2.
    """

    def __init__(
        self, labels, pairs: int, batches: int | None = None, similar: float = SIMILAR, names: Sequence[str] = ()
    ):
        _at_least("LabelPairs", pairs=(pairs, 1), batches=(batches, 1), similar=(similar, 0))
        self.of, self.pairs, self.similar = Classes("LabelPairs", labels, names), pairs, similar
        self.batches = batches or max(1, len(labels) // (2 * pairs))

    def __len__(self) -> int:
        return self.batches

    def epoch(self, rng: np.random.Generator) -> list[list[Drawn]]:
        return [_flat(self._pair(rng) for _ in range(self.pairs)) for _ in range(self.batches)]

    def _pair(self, rng):
        similar = bool(rng.random() < self.similar)
        if similar:
            return similar, self.of.two_of(int(rng.integers(len(self.of))), rng)
        return similar, tuple(self.of.one_of(int(index), rng) for index in rng.choice(len(self.of), 2, replace=False))


class NeighbourPairs:
    """As LabelPairs, without labels: a sample and one of its neighbours, or one that is no neighbour.

    neighbours: for each sample the indices of its neighbours, an array: see datasets.neighbours. Raises ValueError for
    a sample without a neighbour, and one that has all others as neighbours. Reference: Hadsell, Chopra and LeCun 2006,
    Dimensionality reduction by learning an invariant mapping, sec. 2.3 (step 1 of the algorithm).
    """

    def __init__(
        self, neighbours: Sequence[np.ndarray], pairs: int, batches: int | None = None, similar: float = SIMILAR
    ):
        _at_least("NeighbourPairs", pairs=(pairs, 1), batches=(batches, 1), similar=(similar, 0))
        self.neighbours = [np.union1d(each, [i]) for i, each in enumerate(neighbours)]  # itself is neither
        for i, each in enumerate(self.neighbours):
            if len(each) == 1 or len(each) == len(neighbours):
                what = "no neighbour" if len(each) == 1 else "all other samples as neighbours"
                raise ValueError(f"NeighbourPairs: sample {i} has {what}, so it makes no pairs of both kinds")
        self.pairs, self.similar = pairs, similar
        self.batches = batches or max(1, len(neighbours) // (2 * pairs))

    def __len__(self) -> int:
        return self.batches

    def epoch(self, rng: np.random.Generator) -> list[list[Drawn]]:
        return [_flat(self._pair(rng) for _ in range(self.pairs)) for _ in range(self.batches)]

    def _pair(self, rng):
        first, similar = int(rng.integers(len(self.neighbours))), bool(rng.random() < self.similar)
        near = self.neighbours[first]
        if similar:
            others = near[near != first]
            return similar, (first, int(rng.choice(others)))
        k = int(rng.integers(len(self.neighbours) - len(near)))  # the k-th of those that are not near
        return similar, (first, k + int(np.searchsorted(near - np.arange(len(near)), k, side="right")))


class LabelTriplets:
    """Batches of triplets: anchor, positive, negative, anchor, ..., drawn at random: two of a class, one of another."""

    def __init__(self, labels, triplets: int, batches: int | None = None, names: Sequence[str] = ()):
        _at_least("LabelTriplets", triplets=(triplets, 1), batches=(batches, 1))
        self.of, self.triplets = Classes("LabelTriplets", labels, names), triplets
        self.batches = batches or max(1, len(labels) // (3 * triplets))

    def __len__(self) -> int:
        return self.batches

    def epoch(self, rng: np.random.Generator) -> list[list[Drawn]]:
        return [self._batch(rng) for _ in range(self.batches)]

    def _batch(self, rng):
        drawn = []
        for _ in range(self.triplets):
            one, other = map(int, rng.choice(len(self.of), 2, replace=False))
            drawn += [*self.of.two_of(one, rng), self.of.one_of(other, rng)]
        return [Drawn(index) for index in drawn]


def _flat(pairs):
    return [Drawn(index, {"similar": similar}) for similar, both in pairs for index in both]


def _at_least(owner, **numbers):
    for name, (value, least) in numbers.items():
        if value is not None and value < least:
            raise ValueError(f"{owner}: {name} must be at least {least}, got {value}")
