"""Sequences of unequal length in one array, and the loss over their real steps only."""

from collections.abc import Sequence

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape
from nn.losses.classification import softmax_cross_entropy

IGNORED = -1  # label of a step that does not count


def pad_batch(sequences: Sequence[np.ndarray], pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(ids (T, N) int64, lengths (N,) int64) of N sequences (length,) of integers: time first, T the longest.

    Shorter sequences are filled up with `pad`. Raises ValueError for no sequences.
    """
    if not len(sequences):
        raise ValueError("pad_batch: needs at least one sequence, got none")
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    ids = np.full((lengths.max(), len(sequences)), pad, np.int64)
    for n, sequence in enumerate(sequences):
        ids[: len(sequence), n] = sequence
    return ids, lengths


def real_steps(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(T, N) bool: True at the steps t < lengths[n]."""
    xp = array_module(lengths)
    return xp.arange(steps)[:, None] < lengths


def sequence_cross_entropy(
    logits: np.ndarray, targets: np.ndarray, lengths: np.ndarray | None = None, reduction: str = "sequence"
) -> tuple[float, np.ndarray]:
    """The sum of the step losses -log softmax(logits[t, n])[targets[t, n]] over the real steps t < lengths[n].

    logits (T, N, V); targets (T, N) integers; lengths (N,), None: all steps are real. Returns value, dlogits
    (T, N, V), 0 at the padding. Logits and targets at the padding may have any value.

    value = sum over n and t < lengths[n] of the step loss, divided by   N                      reduction="sequence"
                                                                         number of real steps              "step"
                                                                         1                                 "sum"

    Raises ValueError for shapes that do not match, labels outside 0 .. V - 1, and another reduction.
    """
    owner = "sequence_cross_entropy"
    check_shape(owner, logits=(logits, ("T", "N", "V")))
    steps, n, classes = logits.shape
    _check_integers(owner, "targets", targets, (steps, n))
    if reduction not in ("sequence", "step", "sum"):
        raise ValueError(f"{owner}: reduction must be 'sequence', 'step' or 'sum', got {reduction!r}")
    if lengths is not None:
        _check_integers(owner, "lengths", lengths, (n,))
        targets = array_module(targets).where(real_steps(lengths, steps), targets, IGNORED)
    average = {"sequence": {"normaliser": n}, "step": {}, "sum": {"reduction": "sum"}}[reduction]
    value, dlogits = softmax_cross_entropy(logits.reshape(steps * n, classes), targets.reshape(-1), IGNORED, **average)
    return value, dlogits.reshape(logits.shape)


def _check_integers(owner, name, array, shape):
    if np.shape(array) != shape or getattr(array, "dtype", np.dtype(object)).kind not in "iu":
        got = f"{getattr(array, 'dtype', type(array).__name__)} {np.shape(array)}"
        raise ValueError(f"{owner}: {name} must be whole numbers of shape {shape}, got {got}")
