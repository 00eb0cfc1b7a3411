"""Proposals of a data set: samples that bring the boxes which a detector is to classify.

    data = WithProposals(data, build_proposer("selective_search_fast", cache="my_data/proposals"))
    data[0]["proposals"]                     # (K, 4) float32 in the pixels of the image, best first

Transforms carry them along like the boxes of objects. A detector says which it wants: vision.detection.Detector.
"""

from collections.abc import Callable
from typing import Any

from tqdm import tqdm


class WithProposals:
    """The samples of a data set, each with `proposals` (K, 4); in all else the data set.

    proposer: image (H, W, 3) uint8 -> boxes (K, 4), scores (K,); see build_proposer, whose cache makes a second epoch
    cheap. Raises ValueError naming the sample that has none.
    """

    def __init__(self, dataset: Any, proposer: Callable):
        self.dataset, self.proposer = dataset, proposer

    def __getattr__(self, name: str):
        if name == "dataset":  # asked for by copy, before it is there
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        sample = self.dataset[index]
        try:
            return sample | {"proposals": self.proposer(sample["image"])[0]}
        except ValueError as error:
            raise ValueError(f"{sample.get('id', f'sample {index}')}: {error}") from error

    def compute(self) -> float:
        """Compute those of all samples, so that errors come before training; the mean number of an image."""
        indices = tqdm(range(len(self)), "proposing", unit=" images", disable=None, leave=False)
        return sum(len(self[index]["proposals"]) for index in indices) / max(len(self), 1)
