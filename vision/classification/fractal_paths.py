"""Which convolutions of a fractal block run: all, one column alone, or what drop-path leaves.

Reference: Larsson et al. 2017, FractalNet: ultra-deep neural networks without residuals, arXiv:1605.07648, sec. 3.
"""

from collections.abc import Sequence

import numpy as np

# What runs in a block: for each step its columns whose convolutions end there and count in the join.
Paths = tuple[tuple[int, ...], ...]


def ending(columns: int, step: int) -> tuple[int, ...]:
    """The columns of which a convolution ends at a step 1 .. 2^(columns - 1).

    Column c, from the shallowest, has 2^c convolutions of 2^(columns - 1 - c) steps each.
    """
    return tuple(c for c in range(columns) if step % 2 ** (columns - 1 - c) == 0)


def all_paths(columns: int) -> Paths:
    """Every convolution of a block."""
    return tuple(ending(columns, step) for step in range(1, 2 ** (columns - 1) + 1))


def column_paths(columns: int, column: int) -> Paths:
    """One column alone: a plain network, as global drop-path samples it."""
    return tuple(tuple(c for c in step if c == column) for step in all_paths(columns))


def is_one_column(paths: Paths) -> bool:
    """Whether no join has more than one input: a plain network."""
    return len({c for step in paths for c in step}) == 1


def local_paths(columns: int, drop: float, rng: np.random.Generator) -> Paths:
    """Local drop-path: each input of a join is dropped with probability `drop`, but one at least is kept (sec. 3)."""
    kept = []
    for step in all_paths(columns):
        chosen = tuple(c for c in step if rng.random() >= drop)
        kept.append(chosen or (int(rng.choice(step)),))
    return needed(columns, kept)


def needed(columns: int, paths: Sequence[tuple[int, ...]]) -> Paths:
    """The paths without what reaches no later join: it would be computed for nothing."""
    wanted, kept = {len(paths)}, list(paths)
    for step in range(len(paths), 0, -1):
        kept[step - 1] = kept[step - 1] if step in wanted else ()
        wanted |= {step - 2 ** (columns - 1 - c) for c in kept[step - 1]}  # where these convolutions begin
    return tuple(kept)
