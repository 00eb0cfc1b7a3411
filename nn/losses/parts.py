"""A batch that is computed in parts, one after another or by several processes, as if it were whole.

The mean over a batch is not the mean of its parts' means: one part may have more pixels, words or regions that count
than another. So each part divides its sum by the count of the whole batch; then values and gradients of the parts add
up to those of the batch. All losses take their divisors from here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_agree: ContextVar[Callable[[float], float] | None] = ContextVar("agree", default=None)


def count_of_batch(count: float) -> float:
    """What a sum over `count` things is divided by: the count, or in `batch_in_parts` that of the whole batch."""
    agree = _agree.get()
    return float(count) if agree is None else agree(float(count))


@contextmanager
def batch_in_parts(agree: Callable[[float], float]) -> Iterator[None]:
    """In the block, losses are those of a part of a batch.

    agree: the count of a part -> that of the whole batch. It is called for one loss after another, in the same order
    for every part.
    """
    token = _agree.set(agree)
    try:
        yield
    finally:
        _agree.reset(token)


def is_in_parts() -> bool:
    """Whether the losses are those of a part: a count on a GPU then has to come to the host."""
    return _agree.get() is not None
