"""Slopes below 0 of one chunk: what LeakyReLU, PReLU and ELU share."""

import numpy as np


def leaky_chunk(x, slope, out):
    """out = x where x > 0, else slope * x, as a sum of which one term is 0: array code dislikes branches."""
    np.minimum(x, 0, out=out)
    out *= slope
    out += np.maximum(x, 0)


def leaky_chunk_backward(dy, x, slope, out):
    """out = dy where x > 0, else slope * dy."""
    positive = x > 0
    np.multiply(slope, ~positive, out=out, dtype=out.dtype)
    out += positive
    out *= dy
