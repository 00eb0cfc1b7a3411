"""Random choices among candidates: the same ones on the CPU and on the GPU."""

from collections.abc import Sequence

import numpy as np

from nn.dispatch import array_module


def shuffled(masks: Sequence[np.ndarray], limit: int, rng: np.random.Generator) -> list[np.ndarray]:
    """For each mask (A,) the indices where it is True in random order, at most `limit` of them.

    Candidates on a GPU stay there. Their counts, one per mask, are copied to the CPU, where rng draws positions; the
    positions are copied to the GPU: two small transfers.
    """
    xp = array_module(*masks)
    if xp is np:
        return [rng.permutation(np.flatnonzero(mask))[:limit] for mask in masks]
    masks = xp.stack(masks)
    drawn = [rng.permutation(count)[:limit] for count in counts_on_cpu(masks.sum(axis=1))]
    candidates = xp.argsort(~masks, axis=1, kind="stable")  # each mask's True positions first, in their order
    starts = np.arange(len(drawn)) * masks.shape[1]
    positions = np.concatenate([start + own for start, own in zip(starts, drawn)])
    chosen = candidates.ravel()[positions_on_gpu(xp, positions)]
    ends = np.cumsum([len(own) for own in drawn]).tolist()
    return [chosen[end - len(own) : end] for end, own in zip(ends, drawn)]


def counts_on_cpu(counts) -> list[int]:
    """Counts of a GPU array, copied to the CPU."""
    return counts.get().tolist()


def positions_on_gpu(xp, drawn: np.ndarray):
    """Drawn positions, copied to the GPU."""
    return xp.asarray(drawn)


def largest(overlap: np.ndarray, axis: int) -> np.ndarray:
    """The largest overlap along an axis, 0 where it has no length."""
    if overlap.shape[axis]:
        return overlap.max(axis=axis)
    return array_module(overlap).zeros(overlap.shape[1 - axis], overlap.dtype)
