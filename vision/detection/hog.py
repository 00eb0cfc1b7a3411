"""Histograms of oriented gradients: the edges of an image, by direction, in cells and overlapping blocks.

Reference: Dalal and Triggs 2005, Histograms of oriented gradients for human detection, CVPR 2005,
doi:10.1109/CVPR.2005.177, sec. 6.
"""

from dataclasses import dataclass

import numpy as np

from vision.options import check_least


@dataclass(frozen=True)
class HOG:
    """The descriptor's parameters; hog(image) gives its map. The defaults are those of the published weights.

    The paper's default detector has two others: no square root, and sigma = 8, half of a block's width.

    cell, block: sides in pixels and in cells. signed: directions over 360 degrees, else opposite ones are one.
    interpolate: a vote is shared between the two nearest bins and, by position, between the cells of its block
    (trilinear); else it goes to the bin and cell that it falls into. sigma: of the Gaussian weight of a block's pixels,
    None for none. clip: of L2-Hys. root: square root of the image first (gamma compression). With interpolate=False and
    sigma=None this is scikit-image's hog.

    Raises ValueError for sizes below 1 and a clip, epsilon or sigma that is not positive.
    """

    cell: int = 8
    block: int = 2
    bins: int = 9
    signed: bool = False
    interpolate: bool = True
    sigma: float | None = 4.0
    clip: float = 0.2
    root: bool = True
    epsilon: float = 1e-5

    def __post_init__(self):
        check_least("HOG", self, 1, "cell", "block", "bins")
        check_least("HOG", self, 0, "clip", "epsilon", "sigma", above=True)

    @property
    def channels(self) -> int:
        """Elements of one block: 36 for 2 x 2 cells of 9 bins."""
        return self.block**2 * self.bins

    def blocks(self, height: int, width: int) -> tuple[int, int]:
        """Blocks of an image, one a cell: (15, 7) of 128 x 64."""
        return tuple(max(0, side // self.cell - self.block + 1) for side in (height, width))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(by, bx, block, block, bins): the normalised blocks of an image (H, W) or (H, W, C), in 0 .. 1.

        Axes: row and column of the block, row and column of the cell in it, bin. float32 for float32.
        """
        votes = self.votes(*gradient(np.sqrt(image) if self.root else image))
        h, w = votes.shape[:2]
        down, across = (self.spatial_weights(side).astype(votes.dtype) for side in (h, w))
        # Weights in a block are a product of one along y and one along x, so two matrix products sum up the votes.
        by_row = np.tensordot(down, votes, axes=([2], [0]))  # (by, block, W, bins)
        blocks = np.tensordot(by_row, across, axes=([2], [2]))  # (by, block, bins, bx, block)
        return self.normalised(np.ascontiguousarray(blocks.transpose(0, 3, 1, 4, 2)))

    def votes(self, magnitude: np.ndarray, angle: np.ndarray) -> np.ndarray:
        """(H, W, bins): each pixel's magnitude in its bins. angle in radians; bin k is centred at (k + 1/2) width."""
        (h, w), around = magnitude.shape, 2 * np.pi if self.signed else np.pi
        position = angle % around * (self.bins / around)
        votes = np.zeros((h * w, self.bins), magnitude.dtype)
        pixels, flat = np.arange(h * w), magnitude.ravel()
        if not self.interpolate:
            votes[pixels, np.minimum(position.ravel().astype(np.int64), self.bins - 1)] = flat
            return votes.reshape(h, w, self.bins)
        low = np.floor(position.ravel() - 0.5)
        share = (position.ravel() - 0.5 - low).astype(magnitude.dtype)
        votes[pixels, low.astype(np.int64) % self.bins] = (1 - share) * flat
        votes[pixels, (low.astype(np.int64) + 1) % self.bins] += share * flat  # no pixel comes twice
        return votes.reshape(h, w, self.bins)

    def spatial_weights(self, length: int) -> np.ndarray:
        """(blocks, block, length): along one axis, the weight of each pixel for each cell of each block.

        Gaussian of the distance to the block's centre, times, where votes are shared, 1 - the distance to the cell's
        centre in cells; divided by cell, so that the weights of both axes give the mean over a cell's pixels.
        """
        count, side = self.blocks(length, length)[0], self.block * self.cell
        at = np.arange(side) + 0.5
        centres = (np.arange(self.block) + 0.5)[:, None] * self.cell
        apart = abs(at - centres) / self.cell  # (block, side)
        weights = np.maximum(1 - apart, 0) if self.interpolate else (apart < 0.5).astype(float)
        if self.sigma is not None:
            weights = weights * np.exp(-((at - side / 2) ** 2) / (2 * self.sigma**2))
        placed = np.zeros((count, self.block, length))
        for k in range(count):
            placed[k, :, k * self.cell : k * self.cell + side] = weights / self.cell
        return placed

    def normalised(self, blocks: np.ndarray) -> np.ndarray:
        """L2-Hys: each block (..., block, block, bins) over its L2 norm, clipped, over its norm again (sec. 6.4)."""
        for limit in (self.clip, np.inf):
            squared = (blocks**2).sum(axis=(-3, -2, -1), keepdims=True)
            blocks = np.minimum(blocks / np.sqrt(squared + self.epsilon**2), limit)
        return blocks


def gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(magnitude (H, W), angle (H, W) in radians) of (H, W) or (H, W, C): masks [-1, 0, 1], 0 at the border.

    Of several channels the one with the largest magnitude counts at each pixel (sec. 6.2).
    """
    x = image[..., None] if image.ndim == 2 else image
    dx, dy = np.zeros_like(x), np.zeros_like(x)
    dx[:, 1:-1], dy[1:-1] = x[:, 2:] - x[:, :-2], x[2:] - x[:-2]
    if x.shape[2] > 1:
        steepest = (dx**2 + dy**2).argmax(axis=2)[..., None]
        dx, dy = (np.take_along_axis(d, steepest, axis=2) for d in (dx, dy))
    return np.hypot(dx, dy)[..., 0], np.arctan2(dy, dx)[..., 0]
