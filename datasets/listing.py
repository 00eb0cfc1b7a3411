"""What a data set holds, sample by sample, without reading any: for checks before training, fingerprints, messages.

A data set that can tell has listing() -> an iterator of Listed, in the order of its samples.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple


class Listed(NamedTuple):
    """One sample. size: (height, width) of its picture, or the length of its text."""

    id: str
    size: tuple[int, ...]
    path: Path | str | None = None

    def __str__(self) -> str:
        """The file, and the id where the file's name does not hold it."""
        if self.path is None:
            return self.id
        return str(self.path) if self.id in str(self.path) else f"{self.path} ({self.id})"


def listing(dataset) -> Iterator[Listed] | None:
    """The samples of a data set, or None where it cannot tell."""
    return dataset.listing() if hasattr(dataset, "listing") else None


def name_of(dataset, index: int) -> str:
    """The file or id of a sample, for messages. The sample is read only where the data set does not list it."""
    listed = next(islice(listing(dataset) or (), index, None), None)
    if listed is not None:
        return str(listed)
    sample = dataset[index]
    return str(sample["id"]) if isinstance(sample, dict) and "id" in sample else f"sample {index}"


def fingerprint(dataset) -> dict[str, int | str]:
    """{samples, ids and sizes}: equal for data sets of the same samples in the same order, wherever the files lie."""
    listed = listing(dataset)
    return {"samples": len(dataset)} | ({} if listed is None else {"ids_and_sizes": _digest(listed)})


def _digest(listed: Iterable[Listed]) -> str:
    digest = hashlib.sha256()
    for name, size, _ in listed:
        digest.update(f"{name}\0{','.join(map(str, size))}\0".encode())
    return digest.hexdigest()[:16]
