"""Random numbers that are the same on the CPU and on the GPU, drawn where they are needed.

A stochastic layer draws from the `np.random.Generator` that it was given. On the GPU a kernel computes what that
generator would have drawn, bit by bit, and the generator on the CPU moves on by as many numbers: of it only its state
goes to the device, four numbers as arguments of the kernel. So a run draws the same masks on both, and a checkpoint of
the generators continues on either.
"""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

import math

import numpy as np

from nn.gpu import kernels as cuda

EACH = 8  # 64-bit draws of a thread of the kernel: the same number there
MASK = 2**64 - 1


def uniform(rng: np.random.Generator, shape: tuple[int, ...], dtype=np.float32, xp=np) -> np.ndarray:
    """rng.random(shape, dtype), numbers in [0, 1), as an array of the module xp; dtype float32 or float64.

    Raises ValueError on the GPU for a generator that is not np.random.default_rng's, PCG64.
    """
    if xp is np:
        return rng.random(shape, dtype)
    dtype, bits, count = np.dtype(dtype), rng.bit_generator, math.prod(shape)
    if not isinstance(bits, np.random.PCG64):
        name = type(bits).__name__
        raise ValueError(f"uniform: the GPU knows PCG64 alone, got a generator of {name}: use np.random.default_rng")
    y = xp.empty(shape, dtype)
    if count == 0:
        return y
    state = bits.state
    halves = 8 // dtype.itemsize  # a float32 takes half of a 64-bit draw; the other half is kept for the next one
    kept = state["has_uint32"] if halves == 2 else 0
    first = (state["uinteger"] >> 8) / 2**24 if kept else 0.0
    words = (np.uint64(word) for n in (state["state"]["state"], state["state"]["inc"]) for word in (n >> 64, n & MASK))
    threads = max(1, -(-(count - kept) // (EACH * halves)))
    cuda.launch("random", "uniform", threads, dtype, y, count, kept, first, *words)
    _move_on(rng, state, count - kept, halves)
    return y


def _move_on(rng, state, count, halves):
    """Let the generator be as if it had drawn count numbers, halves of 64 bits or all of them."""
    rng.bit_generator.advance(count // halves)  # forgets a kept half
    if halves == 2:
        rng.random(count % 2, np.float32)  # half a draw: the other half is kept
    else:
        kept = {name: state[name] for name in ("has_uint32", "uinteger")}
        rng.bit_generator.state = rng.bit_generator.state | kept


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype=np.float32, xp=np) -> np.ndarray:
    """rng.standard_normal(shape) as an array of the module xp and this dtype.

    Always drawn on the CPU, in float64: NumPy's ziggurat takes now one, now several numbers for each of its own, so no
    thread can know where its own begin. On the GPU this is one array that goes in.
    """
    return xp.asarray(rng.standard_normal(shape), dtype)
