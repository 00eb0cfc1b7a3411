"""Training and validation parts of data that has none."""

from collections.abc import Sequence

import numpy as np

EVERY = 5  # one of five pictures is for validation
ALIASES = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}


def names_of_split(split: str) -> tuple[str, ...]:
    """The split's own name first, then others that folders and lists have for it: val, valid, validation."""
    others = next((names for names in ALIASES.values() if split in names), ())
    return (split, *(name for name in others if name != split))


def canonical(split: str) -> str:
    """train, val or test for any of their names; other names as they are."""
    return next((name for name, names in ALIASES.items() if split in names), split)


def every_fifth(items: Sequence, split: str, source: object) -> list:
    """Of items in order: "val" has the last of every five (of two to four the last), "train" the others.

    source: the folder or file that has them, for the message. ValueError for another split.
    """
    _check(split, source)
    every = min(EVERY, max(len(items), 2))
    return [item for i, item in enumerate(items) if (i % every == every - 1) == (split == "val")]


def random_fifth(items: Sequence, split: str, source: object, seed: int) -> list:
    """Of items in order: "val" has a fifth, drawn by the seed, "train" the others. One item alone is for training.

    source: see every_fifth.
    """
    _check(split, source)
    order = np.random.default_rng(seed).permutation(len(items)).tolist()
    count = max(len(items) // EVERY, 1) if len(items) > 1 else 0
    chosen = sorted(order[:count] if split == "val" else order[count:])
    return [items[i] for i in chosen]


def _check(split, source):
    if split not in ("train", "val"):
        raise ValueError(f"{source}: has no split {split!r}; without lists or folders of splits it has train and val")
