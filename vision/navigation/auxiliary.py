"""What an agent predicts beside its policy: the depth of what it sees, and whether it has closed a loop.

Reference: Mirowski et al. 2017, arXiv:1611.03673, sec. 3: depth on a 4 x 16 map in 8 bands by softmax, from the
convolutions (D1) or from the LSTM (D2), which learns faster than regression; loop closure (L) by a logistic unit.
Their bands are of DeepMind Lab's depth buffer to the power of 10, with bounds at 0.05, 0.175, 0.3, 0.425, 0.55, 0.675
and 0.8 in public implementations (the paper was not at hand); here they are BANDS, in cells.
"""

import numpy as np

from nn import Linear, ReLU, Sequential, binary_cross_entropy_with_logits, l2, softmax_cross_entropy
from nn.dispatch import array_module

ROWS, COLUMNS = 4, 16  # of the depth map
BANDS = np.array([0.5, 1, 1.5, 2.5, 3.5, 5, 7], np.float32)  # cells: bounds between the 8 bands
DEPTHS = len(BANDS) + 1
FAR = 8.0  # cells: depths are divided by it for regression


def depth_map(depth: np.ndarray) -> np.ndarray:
    """(N, 4, 16) of depth (N, H, W): pixels of the middle half of the rows, without most of floor and ceiling."""
    h, w = depth.shape[1:]
    rows = (h * (0.25 + 0.5 * (np.arange(ROWS) + 0.5) / ROWS)).astype(int)
    columns = (w * (np.arange(COLUMNS) + 0.5) / COLUMNS).astype(int)
    return depth[:, rows[:, None], columns]


def head(inputs: int, units: int, outputs: int, rng: np.random.Generator) -> Sequential:
    """A hidden layer, then the outputs."""
    return Sequential(Linear(inputs, units, rng=rng), ReLU(), Linear(units, outputs, rng=rng))


def depth_loss(y, depth, regression: bool):
    """(value, dy): softmax cross-entropy over the bands, or half the squared error of depth / FAR.

    y (M, 64 * 8) or (M, 64) for regression; depth (M, 4, 16) in cells. The mean is over the map's 64 positions too.
    """
    if regression:
        return l2(y, (depth.reshape(y.shape) / FAR).clip(0, 1).astype(y.dtype))
    bands = (depth[..., None] >= array_module(depth).asarray(BANDS)).sum(axis=-1)  # (M, 4, 16)
    value, dscores = softmax_cross_entropy(y.reshape(bands.size, DEPTHS), bands.reshape(bands.size))
    return value, dscores.reshape(y.shape)


def loop_loss(y, loop):
    """(value, dy): logistic loss of y (M, 1) for loop (M,), whether a loop is closed."""
    return binary_cross_entropy_with_logits(y, loop[:, None].astype(y.real.dtype))
