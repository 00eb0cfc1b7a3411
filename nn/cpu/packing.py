"""Sequences of unequal length without their padding.

Sorted by length, the longest first, the sequences that have a step t are the first n of them; the rows of x of all
steps, one step after another, make one matrix (P, D), P being the sum of the lengths. A step updates the first n rows
of the state and leaves the others as they are: going forward in time, the states of sequences that have ended; going
backward, those of sequences that have not begun. On a GPU nothing is sorted: see Padded.
"""

import math

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels


class Packing:
    """How (T, N, D) becomes (P, D), rows of padding left out, and back. Without lengths: a change of shape.

    steps: (first row, number of rows n) of each time step, forward in time; steps without rows are left out.
    """

    def __init__(self, owner, shape, lengths, xp):
        self.shape, self.order = shape[:2], None
        if lengths is None:
            self.steps = [(t * shape[1], shape[1]) for t in range(shape[0])]
            return
        lengths = lengths.get() if hasattr(lengths, "get") else lengths  # from a GPU
        lengths = check_lengths(owner, lengths, *self.shape)
        order = np.argsort(-lengths, kind="stable")
        time, rank = np.nonzero(np.arange(shape[0])[:, None] < lengths[order])
        counts = np.bincount(time, minlength=shape[0])
        self.steps = [(int(end - n), int(n)) for end, n in zip(np.cumsum(counts), counts) if n]
        self.order = xp.asarray(order)
        self.rows = xp.asarray(time), xp.asarray(order[rank])

    def pack(self, x):
        """(P, D) of x (T, N, D)."""
        return x.reshape(math.prod(self.shape), x.shape[2]) if self.order is None else x[self.rows]

    def unpack(self, rows):
        """(T, N, D) of rows (P, D), zeros for the padding."""
        if self.order is None:
            return rows.reshape(*self.shape, rows.shape[1])
        x = array_module(rows).zeros((*self.shape, rows.shape[1]), rows.dtype)
        x[self.rows] = rows
        return x

    def sort(self, state):
        """The state (layers, N, H) with the longest sequence first."""
        return state if self.order is None else state[:, self.order]

    def unsort(self, state):
        """The opposite of sort."""
        if self.order is None:
            return state
        x = array_module(state).empty(state.shape, state.dtype)
        x[:, self.order] = state
        return x


class Padded:
    """Packing for the kernels of a GPU: (T, N, D) as rows (T * N, D), which are 0 where a sequence has ended.

    The padding stays, since the host does not know lengths that are on the GPU, and would have to wait to learn them:
    one outside 0 .. T cannot be reported either, and makes its sequence NaN. steps: (t, lengths) of each time step.
    """

    def __init__(self, owner, shape, lengths, xp):
        self.shape = shape[:2]
        if lengths is not None:
            lengths = xp.ascontiguousarray(xp.asarray(check_lengths(owner, lengths, *self.shape)))
        self.lengths, self.steps = lengths, [(t, lengths) for t in range(shape[0])]

    def pack(self, x):
        """Rows (T * N, D) of x (T, N, D)."""
        x = array_module(x).ascontiguousarray(x)
        if self.lengths is not None:
            y = array_module(x).empty(x.shape, x.dtype)
            launch("packing", "clear_padding", x.size, x.dtype, x, self.lengths, y, x.size, *x.shape)
            x = y
        return x.reshape(self.shape[0] * self.shape[1], x.shape[2])

    def unpack(self, rows):
        """(T, N, D) of rows (T * N, D)."""
        x = rows.reshape(*self.shape, rows.shape[1])
        return x if self.lengths is None else self.pack(x).reshape(x.shape)

    def sort(self, state):
        """Sequences keep their order here."""
        return state

    unsort = sort


def check_lengths(owner, lengths, t, n):
    """The lengths as int64; ValueError unless n whole numbers, and in 0 .. t, which on a GPU is not looked at."""
    who, xp = type(owner).__name__, array_module(lengths)
    lengths = np.asarray(lengths) if xp is np else lengths
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{who}: lengths must be whole numbers, got {lengths.dtype}")
    if lengths.shape != (n,):
        raise ValueError(f"{who}: lengths must have shape (N={n},), got {lengths.shape}")
    if xp is not np:
        return lengths.astype(np.int64, copy=False)
    wrong = lengths[(lengths < 0) | (lengths > t)]
    if len(wrong):
        raise ValueError(f"{who}: lengths must be in 0 .. T={t}, got {int(wrong[0])}")
    return lengths.astype(np.int64)


def previous(states, first, steps):
    """(P, H): the state that each row's step started from: that of the step before, or the initial state (N, H).

    states (P, H) are those after each step; steps in the order in which they were taken.
    """
    if use_kernels(states):
        return _previous_padded(states, first.astype(states.dtype, copy=False), steps)
    before = array_module(states).empty(states.shape, states.dtype)
    last, running = 0, 0  # where the step before has its rows, and how many
    for start, n in steps:
        both = min(n, running)
        before[start : start + both] = states[last : last + both]
        before[start + both : start + n] = first[both:n]  # sequences that begin here
        last, running = start, n
    return before


def _previous_padded(states, first, steps):
    """previous for the rows and steps of Padded: all steps have all sequences."""
    if not steps:
        return states
    n, forward = len(first), steps[0][0] == 0
    return array_module(states).concatenate([first, states[:-n]] if forward else [states[n:], first])
