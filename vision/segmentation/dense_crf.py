"""A conditional random field that joins every pixel to every other one, after any network's probabilities.

Reference: Krähenbühl and Koltun 2011, Efficient inference in fully connected CRFs with Gaussian edge potentials,
arXiv:1210.5644.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np

from nn import Softmax
from nn.layers.separable import resample
from vision.segmentation.permutohedral import PermutohedralLattice

Filter = Callable[[np.ndarray], np.ndarray]  # (C, H, W) to (C, H, W)


def dense_crf(
    image: np.ndarray, probabilities: np.ndarray, gaussian: Sequence[float] = (3.0, 3.0),
    bilateral: Sequence[float] = (5.0, 50.0, 10.0), iterations: int = 10,
) -> np.ndarray:  # fmt: skip
    """Probabilities (C, H, W) after some steps of mean field, image (H, W, 3).

    The energy of labels x is sum of -log P_i(x_i) + sum over pairs of [x_i != x_j] k(i, j) (Potts), with

        k(i, j) = w1 exp(-|p_i - p_j|^2 / (2 alpha^2) - |I_i - I_j|^2 / (2 beta^2))
                + w2 exp(-|p_i - p_j|^2 / (2 gamma^2))

    gaussian: (w2, gamma), bilateral: (w1, alpha, beta); p are positions in pixels, I colours in grey levels (eq. 3). As
    in the authors' code, each kernel K is divided by its sums, D^-1/2 K D^-1/2 with D = diag(K 1), so that weights mean
    the same for images of all sizes, and j may be i. The bilateral kernel is filtered on a permutohedral lattice; the
    Gaussian one, a product of rows and columns, exactly. Weight 0 leaves a kernel out. Raises ValueError for other
    shapes, for probabilities that are negative or not finite, and as check_parameters does.

    Reference: Krähenbühl and Koltun 2011, algorithm 1, sec. 3.2.
    """
    check_parameters(gaussian, bilateral, iterations)
    _check_inputs(image, probabilities)
    size, filters = image.shape[:2], []
    if gaussian[0]:
        filters.append((gaussian[0], normalised(gaussian_filter(size, gaussian[1]), size)))
    if bilateral[0]:
        filters.append((bilateral[0], normalised(bilateral_filter(image, *bilateral[1:]), size)))
    unary = -np.log(np.maximum(probabilities, 1e-8)).astype(np.float32)
    softmax = Softmax(axis=0)
    q = softmax(-unary)
    for _ in range(iterations):
        # messages of labels other than l = those of all labels - that of l, and the former are the same for every l
        q = softmax(sum((w * message(q) for w, message in filters), -unary))
    return q


def gaussian_filter(size: tuple[int, int], std: float) -> Filter:
    """q to sum over j of exp(-|p_i - p_j|^2 / (2 std^2)) q_j: the same matrix product along rows and columns."""
    rows, cols = (np.exp(-((np.arange(n)[:, None] - np.arange(n)) ** 2) / (2 * std**2)) for n in size)
    return lambda q: resample(q[None], rows, cols)[0]


def bilateral_filter(image: np.ndarray, std_position: float, std_colour: float) -> Filter:
    """q to about sum over j of exp(-|p_i - p_j|^2 / (2 std_position^2) - |I_i - I_j|^2 / (2 std_colour^2)) q_j.

    All sums have one factor that is not determined: see PermutohedralLattice.
    """
    positions = np.indices(image.shape[:2]).reshape(2, -1).T / std_position  # (H W, 2)
    lattice = PermutohedralLattice(np.hstack([positions, image.reshape(len(positions), -1) / std_colour]))  # (H W, 5)
    return lambda q: lattice.filter(q.reshape(len(q), -1).T).T.reshape(q.shape)  # (C, H, W) as (H W, C) and back


def normalised(kernel: Filter, size: tuple[int, int]) -> Filter:
    """D^-1/2 K D^-1/2, D = diag(K 1)."""
    root = kernel(np.ones((1, *size), np.float32)) ** -0.5
    return lambda q: root * kernel(root * q)


def check_parameters(gaussian: Sequence[float], bilateral: Sequence[float], iterations: int) -> None:
    """ValueError unless these are what dense_crf takes."""
    for name, values, count in (("gaussian", gaussian, 2), ("bilateral", bilateral, 3)):
        finite = isinstance(values, (list, tuple)) and all(isinstance(v, Real) and math.isfinite(v) for v in values)
        if not finite or len(values) != count or values[0] < 0 or min(values[1:]) <= 0:
            stds = f"{count - 1} standard deviation{'s' * (count > 2)} > 0"
            raise ValueError(f"dense_crf: {name} must be a weight >= 0 and {stds}, got {values!r}")
    if not isinstance(iterations, (int, np.integer)) or iterations < 0:
        raise ValueError(f"dense_crf: iterations must be a whole number >= 0, got {iterations!r}")


def _check_inputs(image, probabilities):
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"dense_crf: image must have shape (H, W, 3), got {image.shape}")
    if probabilities.ndim != 3 or probabilities.shape[1:] != image.shape[:2]:
        wanted = f"(C, {image.shape[0]}, {image.shape[1]})"
        raise ValueError(f"dense_crf: probabilities must have shape {wanted}, as the image, got {probabilities.shape}")
    if not (probabilities.min() >= 0 and probabilities.max() < np.inf):  # a NaN is neither
        raise ValueError("dense_crf: probabilities must be finite and not negative")
