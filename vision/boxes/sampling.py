"""Random choices among candidates: the same ones on the CPU and on the GPU."""

from collections.abc import Sequence

import numpy as np

from nn.dispatch import array_module


def shuffled(masks: Sequence[np.ndarray], limit: int, rng: np.random.Generator) -> list[np.ndarray]:
    """For each mask (A,) the indices where it is True in random order, at most `limit` of them.

    On a GPU the candidates stay there. Out go their numbers, one for each mask, since rng must know how many to
    shuffle, and in come the places that it drew: two small transfers.
    """
    xp = array_module(*masks)
    if xp is np:
        return [rng.permutation(np.flatnonzero(mask))[:limit] for mask in masks]
    masks = xp.stack(masks)
    drawn = [rng.permutation(count)[:limit] for count in numbers(masks.sum(axis=1))]
    candidates = xp.argsort(~masks, axis=1, kind="stable")  # of each mask first where it is True, in their order
    starts = np.arange(len(drawn)) * masks.shape[1]
    chosen = candidates.ravel()[places(xp, np.concatenate([start + own for start, own in zip(starts, drawn)]))]
    ends = np.cumsum([len(own) for own in drawn]).tolist()
    return [chosen[end - len(own) : end] for end, own in zip(ends, drawn)]


def numbers(counts) -> list[int]:
    """Counts that leave the GPU."""
    return counts.get().tolist()


def places(xp, drawn: np.ndarray):
    """Drawn places that go to the GPU."""
    return xp.asarray(drawn)


def largest(overlap: np.ndarray, axis: int) -> np.ndarray:
    """The largest overlap along an axis, 0 where it has no length."""
    if overlap.shape[axis]:
        return overlap.max(axis=axis)
    return array_module(overlap).zeros(overlap.shape[1 - axis], overlap.dtype)
