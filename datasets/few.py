"""A data set cut down to a few samples of each class, to see what a network learns from how many."""

from collections.abc import Iterator

import numpy as np

from .listing import Listed


class FewOfEach:
    """n samples of each class of a data set of labelled images, drawn by a seed.

    With the same seed, fewer samples are a part of more. Labels are the data set's `labels` where it knows them without
    reading its images. Raises ValueError for n under 1, images without a label, and a class with fewer samples.
    """

    def __init__(self, dataset, n: int, seed: int = 0):
        if n < 1:
            raise ValueError(f"FewOfEach: n must be at least 1, got {n}")
        self.dataset, self.classes = dataset, dataset.classes
        labels = np.array(dataset.labels if hasattr(dataset, "labels") else [_label(s) for s in _all(dataset)])
        self.indices, order = [], np.random.default_rng(seed).permutation(len(labels))
        for label, name in enumerate(self.classes):
            found = order[labels[order] == label][:n]
            if len(found) < n:
                raise ValueError(f"there are {len(found)} training images of {name!r}, {n} of each are wanted")
            self.indices += found.tolist()
        self.counts = dict.fromkeys(self.classes, n)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.indices[index]]

    def listing(self) -> Iterator[Listed]:
        """The chosen rows of the data set's listing."""
        rows = list(self.dataset.listing())
        return (rows[index] for index in self.indices)


def _all(dataset):
    return (dataset[index] for index in range(len(dataset)))


def _label(sample):
    if "label" not in sample:
        raise ValueError(f"sample {sample.get('id')}: has no label of the whole image, so there are no classes to cut")
    return sample["label"]
