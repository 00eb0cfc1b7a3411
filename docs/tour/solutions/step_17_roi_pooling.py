"""Solutions to step 17."""

import numpy as np

from docs.tour.step_03_gradient_check import numerical_gradient, relative_error
from docs.tour.step_17_roi_pooling import roi_pool, roi_pool_backward
from nn import RoIAlign


def exercise_1():
    """The loss is a sum over both regions, so its gradient is a sum, too: each adds its dy where its maxima were."""
    rng = np.random.default_rng(0)
    x, dy, boxes = rng.standard_normal((6, 6)), rng.standard_normal((2, 2, 2)), ([4, 4, 28, 28], [12, 12, 44, 44])

    def loss():
        return sum((roi_pool(x, box, 2, 1 / 8, "caffe")[0] * d).sum() for box, d in zip(boxes, dy))

    dx = sum(roi_pool_backward(d, roi_pool(x, box, 2, 1 / 8, "caffe")[1], x.shape) for box, d in zip(boxes, dy))
    error = relative_error(dx, numerical_gradient(loss, x))
    print(f"dx of two regions that overlap: relative error {error:.0e}")
    assert error < 1e-8


def roi_align_backward(dy, box, shape, scale, samples=2):
    """dx (H, W) of roi_align: each sample gives the four cells around it dy / samples^2, times its factors."""
    x1, y1, x2, y2 = (v * scale - 0.5 for v in box)
    n, dx = len(dy), np.zeros(shape)
    inside = (np.arange(samples) + 0.5) / samples
    for i, j in np.ndindex(n, n):
        for u in inside:
            for v in inside:
                r = np.clip(y1 + (i + u) * (y2 - y1) / n, 0, shape[0] - 1)
                c = np.clip(x1 + (j + v) * (x2 - x1) / n, 0, shape[1] - 1)
                row, column = min(int(r), shape[0] - 2), min(int(c), shape[1] - 2)
                factors = np.outer([1 - (r - row), r - row], [1 - (c - column), c - column])
                dx[row : row + 2, column : column + 2] += dy[i, j] / samples**2 * factors
    return dx


def exercise_2():
    """The forward is linear in x, with factors that depend on the box alone: the backward has the same factors."""
    rng = np.random.default_rng(0)
    x, dy, box = rng.standard_normal((1, 1, 8, 9)), rng.standard_normal((1, 1, 3, 3)), [9.0, 5.0, 61.0, 47.0]
    layer = RoIAlign(3, 1 / 8, sampling_ratio=2, aligned=True)
    _, cache = layer.forward(x, np.array([box]), np.array([0]))
    dx, _, _ = layer.backward(dy, cache)
    ours = roi_align_backward(dy[0, 0], box, (8, 9), 1 / 8)
    print("largest difference from nn.RoIAlign:", abs(ours - dx[0, 0]).max())
    assert np.allclose(ours, dx[0, 0])


if __name__ == "__main__":
    exercise_1()
    exercise_2()
