"""Random generators: the library's own, for layers that are given none, and draws as arrays of NumPy or CuPy.

All randomness comes from an np.random.Generator on the CPU. What a layer draws is the same on the CPU and on the GPU.
"""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

import numpy as np

from nn.dispatch import functions

_library: list[np.random.Generator] = []  # the library's generator, once it is used


def seed(n: int) -> None:
    """Start the library's generator anew. Layers made without an rng draw their weights and masks from it.

    Until then its seed is 0. Raises ValueError for a negative n.
    """
    _library[:] = [np.random.default_rng(n)]


def generator() -> np.random.Generator:
    """The library's generator, which advances with each layer that is made without an rng."""
    if not _library:
        seed(0)
    return _library[0]


def spawn() -> np.random.Generator:
    """A new generator, another one at each call since nn.seed: for layers that draw whenever they run."""
    return generator().spawn(1)[0]


def uniform(rng: np.random.Generator, shape: tuple[int, ...], dtype=np.float32, xp=np) -> np.ndarray:
    """rng.random(shape, dtype), values in [0, 1), as an array of the module xp; dtype float32 or float64.

    Raises ValueError on the GPU for a generator that is not np.random.default_rng's, PCG64.
    """
    return functions(__name__, xp.empty(0, dtype)).draw_uniform(rng, shape, dtype, xp)


def draw_uniform(rng, shape, dtype, xp):
    """rng.random(shape, dtype), drawn on the CPU, as an array of xp."""
    return xp.asarray(rng.random(shape, dtype))


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype=np.float32, xp=np) -> np.ndarray:
    """rng.standard_normal(shape) as an array of the module xp and this dtype.

    Always drawn on the CPU, in float64: NumPy's ziggurat takes one or several draws for each value, so that no thread
    could know where its own begin. On the GPU this is one array that goes in.
    """
    return xp.asarray(rng.standard_normal(shape), dtype)
