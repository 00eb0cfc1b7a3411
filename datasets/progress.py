"""The bar that shows how far the reading of many annotation files is."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

DELAY = 1.0  # seconds: small data sets are read before a bar would appear

T = TypeVar("T")


def reading(items: Iterable[T], total: int | None = None, what: str = "pictures") -> Iterator[T]:
    """The items, with a bar on a terminal that appears after a second and is gone at the end."""
    return iter(tqdm(items, f"reading {what}", total, unit="", disable=None, leave=False, delay=DELAY))
