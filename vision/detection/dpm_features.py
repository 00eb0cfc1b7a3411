"""The features of a cell for part models: directions with and without sign, and texture, normalised by neighbours.

Reference: Felzenszwalb, Girshick, McAllester and Ramanan 2010, Object detection with discriminatively trained
part-based models, TPAMI 32(9), doi:10.1109/TPAMI.2009.167, sec. 6.
"""

import numpy as np

from vision.detection.hog import HOG, gradient

BINS = 9  # of directions without sign; twice as many with it
CHANNELS = 3 * BINS + 4  # 18 with sign, 9 without, 4 of texture
CLIP = 0.2  # of a normalised bin (sec. 6.1)
TEXTURE = 0.2357  # 1 / sqrt(18): so that texture weighs as much as a direction
EPSILON = 1e-3  # added to the norms: gradients of this size, of an image in 0 .. 1, are none


def cell_features(image: np.ndarray, cell: int) -> np.ndarray:
    """(31, H // cell, W // cell) of an image (H, W, 3) in 0 .. 1.

    A cell's histogram is divided by the norms of the four blocks of 2x2 cells that hold it, and clipped; the four
    results are summed up over the blocks (27 channels), and for each block over the directions (4 channels of texture).
    That is the projection of the 4 x 27 elements that keeps what their principal components do (sec. 6.2).
    """
    signed = histograms(image, cell)  # (h, w, 18)
    unsigned = signed[..., :BINS] + signed[..., BINS:]
    with_sign, without, texture = 0, 0, []
    for norm in block_norms(unsigned):
        clipped = np.minimum(signed / norm[..., None], CLIP)
        with_sign = with_sign + clipped / 2
        without = without + np.minimum(unsigned / norm[..., None], CLIP) / 2
        texture.append(TEXTURE * clipped.sum(axis=-1))
    features = np.concatenate([with_sign, without, np.stack(texture, axis=-1)], axis=-1)
    return np.ascontiguousarray(features.transpose(2, 0, 1))


def histograms(image: np.ndarray, cell: int) -> np.ndarray:
    """(h, w, 18): each pixel votes for the two nearest of 18 directions in the four nearest cells (sec. 6.1)."""
    votes = HOG(cell=cell, bins=2 * BINS, signed=True).votes(*gradient(image))  # (H, W, 18)
    down, across = (shares(side, cell).astype(votes.dtype) for side in votes.shape[:2])
    by_row = np.tensordot(down, votes, axes=(1, 0))  # (h, W, 18)
    cells = np.tensordot(by_row, across, axes=(1, 1))  # (h, 18, w)
    return np.ascontiguousarray(cells.transpose(0, 2, 1))


def shares(length: int, cell: int) -> np.ndarray:
    """(length // cell, length): along an axis, 1 - distance to the cell's centre in cells, over cell, of each pixel."""
    centres = (np.arange(length // cell) + 0.5)[:, None] * cell
    return np.maximum(1 - abs(np.arange(length) + 0.5 - centres) / cell, 0) / cell


def block_norms(unsigned: np.ndarray) -> list[np.ndarray]:
    """Four norms (h, w) of each cell of histograms (h, w, 9): those of the blocks up-left, up-right, down-left and
    down-right of it (eq. 6 of sec. 6.1). Cells at the border are repeated outside."""
    energy = np.pad((unsigned**2).sum(axis=-1), 1, "edge")
    blocks = energy[:-1, :-1] + energy[:-1, 1:] + energy[1:, :-1] + energy[1:, 1:]  # (h + 1, w + 1)
    norms = np.sqrt(blocks + EPSILON**2)
    return [norms[:-1, :-1], norms[:-1, 1:], norms[1:, :-1], norms[1:, 1:]]


def mirrored(features: np.ndarray) -> np.ndarray:
    """The features (..., 31, h, w) of the mirrored image: columns reversed, and an angle a becomes 180 degrees - a."""
    directions = np.arange(BINS - 1, -1, -1)  # of bin k, centred at (k + 1/2) 20 degrees
    with_sign = (BINS - 1 - np.arange(2 * BINS)) % (2 * BINS)
    texture = 3 * BINS + np.array([1, 0, 3, 2])
    order = np.concatenate([with_sign, 2 * BINS + directions, texture])
    return np.ascontiguousarray(features[..., order, :, ::-1])
