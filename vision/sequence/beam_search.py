"""Beam search: an approximate search for the most probable sequences of a recurrent network."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nn.gpu.device import device_of, to_device


class Hypothesis(NamedTuple):
    """A sequence: its ids without start and end, log p (with that of the end), the score it is ranked by, and whether
    it ended within max_steps."""

    ids: list[int]
    log_probability: float
    score: float
    ended: bool


def beam_search(
    step: Callable[[Any, np.ndarray], tuple[np.ndarray, Any]],
    state: Any,
    start: int,
    end: int,
    *,
    beam: int = 5,
    max_steps: int = 50,
    length_penalty: float = 0.0,
    take: Callable[[Any, np.ndarray], Any] | None = None,
) -> list[Hypothesis]:
    """The best sequences found, at most `beam` of them, best first.

    step(state, last (B,)) gives log p (B, V) of the id after `last` for each of B sequences, and their new state; V may
    be smaller than the beam, and forbidden ids have -inf. state is that of one sequence, B = 1. Where it is on the GPU,
    so are `last` and rows; log p is copied to the CPU at each step, where the search is done. take(state, rows) gives
    the state of sequences `rows` of B (default: a tuple of arrays (B, ...)).

    Each step keeps the `beam` most probable of all continuations of the sequences kept so far. Those that reach `end`
    are set aside. The search is over when no unfinished sequence can beat the `beam` best of these, or after max_steps
    ids, with the end; unfinished sequences then count as they are. Sequences are ranked by

        score = log p / length^length_penalty,    length with the end, if there is one

    0 ranks by log p, which favours short sequences; 1 by the mean log p of a step. beam=1 is greedy search.
    Raises ValueError for beam < 1, max_steps < 1, length_penalty < 0.

    Reference: Sutskever et al. 2014, arXiv:1409.3215, sec. 3.2; normalisation by length: Wu et al. 2016,
    arXiv:1609.08144, sec. 7 (which divides by ((5 + length) / 6)^length_penalty instead).
    """
    for name, value, least in (("beam", beam, 1), ("max_steps", max_steps, 1), ("length_penalty", length_penalty, 0)):
        if not isinstance(value, (int, float)) or not value >= least:
            raise ValueError(f"beam_search: {name} must be a number >= {least}, got {value!r}")
    take = take or (lambda state, rows: tuple(array[rows] for array in state))
    ids, totals, ended, device = [[]], np.zeros(1), [], device_of(state)
    for length in range(1, max_steps + 1):
        log_p, state = step(state, to_device(np.array([said[-1] if said else start for said in ids]), device))
        rows, words, totals = _best(totals[:, None] + to_device(log_p, "cpu"), beam)
        sequences = [[*ids[row], word] for row, word in zip(rows, words)]
        over = words == end
        for k in np.flatnonzero(over):
            ended.append(_hypothesis(sequences[k][:-1], totals[k], length, length_penalty, True))
        ids, totals = [sequences[k] for k in np.flatnonzero(~over)], totals[~over]
        state = take(state, to_device(rows[~over], device))
        ended = sorted(ended, key=lambda found: -found.score)[:beam]
        if not ids or (len(ended) == beam and ended[-1].score >= totals.max() / max_steps**length_penalty):
            return ended
    under_way = [_hypothesis(said, total, max_steps, length_penalty, False) for said, total in zip(ids, totals)]
    return sorted(ended + under_way, key=lambda found: -found.score)[:beam]


def _best(totals, n):
    """Rows, columns and values of the n greatest of totals (B, V), -inf left out, greatest first."""
    flat = totals.reshape(-1).astype(np.float64)
    order = np.argsort(-flat, kind="stable")[:n]
    order = order[flat[order] > -math.inf]
    return order // totals.shape[1], order % totals.shape[1], flat[order]


def _hypothesis(ids, total, length, length_penalty, ended):
    return Hypothesis([int(i) for i in ids], float(total), float(total) / length**length_penalty, ended)
