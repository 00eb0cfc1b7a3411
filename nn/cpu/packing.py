"""Sequences of unequal length without their padding.

Sorted by length, the longest first, the sequences that have a step t are the first n of them. The rows of x of all
steps, one step after the other, make one matrix (P, D), where P is the sum of the lengths. A step updates the first n
rows of the state and leaves the others as they are: going forward in time, the states of sequences that have ended;
going backward, those of sequences that have not begun.
"""

import math

import numpy as np


class Packing:
    """How (T, N, D) becomes (P, D), rows of padding left out, and back. Without lengths: a change of shape.

    steps: (slice of the rows, number n of rows) of each time step, in the order in which they are taken; steps without
    rows are left out.
    """

    def __init__(self, shape, lengths, reverse):
        self.shape, self.order = shape[:2], None
        if lengths is None:
            counts = np.full(shape[0], shape[1])
        else:
            self.order = np.argsort(-lengths, kind="stable")
            time, rank = np.nonzero(np.arange(shape[0])[:, None] < lengths[self.order])
            counts = np.bincount(time, minlength=shape[0])
            self.rows = time, self.order[rank]
        steps = [(slice(int(end - n), int(end)), int(n)) for end, n in zip(np.cumsum(counts), counts) if n]
        self.steps = steps[::-1] if reverse else steps

    def pack(self, x, *states):
        """Rows (P, D) of x (T, N, D), then copies of the states (N, H), the longest sequence first."""
        if self.order is None:
            return x.reshape(math.prod(self.shape), x.shape[2]), *(state.copy() for state in states)
        return x[self.rows], *(state[self.order] for state in states)

    def unpack(self, rows, *states):
        """The opposite of pack: (T, N, D), zeros for the padding, and a tuple of the states (N, H)."""
        if self.order is None:
            return rows.reshape(*self.shape, rows.shape[1]), states
        x = np.zeros((*self.shape, rows.shape[1]), rows.dtype)
        x[self.rows] = rows
        return x, tuple(state[np.argsort(self.order)] for state in states)

    def previous(self, states, first):
        """(P, H): the state that each row's step started from: that of the step before, or the first of them, (N, H).

        states (P, H) are those after each step.
        """
        before = np.empty(states.shape, states.dtype)
        last, alive = 0, 0  # the first row of the step before, and its number of rows
        for now, n in self.steps:
            both = min(n, alive)
            before[now.start : now.start + both] = states[last : last + both]
            before[now.start + both : now.stop] = first[both:n]  # sequences that begin here
            last, alive = now.start, n
        return before
