"""Random values for CuPy: a kernel computes on the device what a generator on the CPU would have drawn, bit by bit.

Only the generator's state goes to the device, as four arguments of the kernel. So a run draws the same masks on both,
and a checkpoint of the generators continues on either.
"""

import math

import numpy as np

from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes

__all__ = ["draw_uniform", "takes"]

EACH = 8  # 64-bit draws of a thread of the kernel: as in nn/gpu/random.cu
MASK = 2**64 - 1


def draw_uniform(rng, shape, dtype, xp):
    """rng.random(shape, dtype) as an array of xp; the generator advances by as many draws.

    Raises ValueError for a generator that is not np.random.default_rng's, PCG64.
    """
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
    launch("random", "uniform", threads, dtype, y, count, kept, first, *words)
    _advance(rng, state, count - kept, halves)
    return y


def _advance(rng, state, count, halves):
    """Advance the generator as if it had drawn `count` values, each half of 64 bits or all of them."""
    rng.bit_generator.advance(count // halves)  # forgets a kept half
    if halves == 2:
        rng.random(count % 2, np.float32)  # half a draw: the other half is kept
    else:
        kept = {name: state[name] for name in ("has_uint32", "uinteger")}
        rng.bit_generator.state = rng.bit_generator.state | kept
