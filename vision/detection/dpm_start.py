"""How a part model starts: components by aspect, the two sides of objects, roots from warped objects, parts from roots.

Reference: Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, sec. 5.2.
"""

import numpy as np

from nn import Upsample2d
from nn.layer import check_shape
from vision.detection.dpm_features import cell_features, mirrored
from vision.detection.windows import crop

SHARE_LARGER = 0.8  # of a component's objects that are larger than its root
TRIES = 5  # first objects from which left and right are told apart


def by_aspect(boxes: np.ndarray, count: int) -> list[np.ndarray]:
    """Indices of boxes (N, 4) in `count` groups of about equal size by height over width, flat ones first."""
    check_shape("by_aspect", boxes=(boxes, ("N", 4)))
    aspects = (boxes[:, 3] - boxes[:, 1]) / (boxes[:, 2] - boxes[:, 0])
    return np.array_split(np.argsort(aspects, kind="stable"), count)


def root_size(boxes: np.ndarray, cell: int, most: int) -> tuple[int, int]:
    """(h, w) in cells: the median aspect of boxes (N, 4), and an area that 80 % of them have at least.

    cell: side of a cell in pixels of the boxes. Sides are 3 cells at least and `most` at most.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]) / cell
    aspect = np.median(sides[:, 1] / sides[:, 0])
    area = np.quantile(sides.prod(axis=1), 1 - SHARE_LARGER)
    h, w = np.sqrt(area * aspect), np.sqrt(area / aspect)
    shrink = min(1.0, most / max(h, w))
    return tuple(int(np.clip(np.floor(side * shrink + 0.5), 3, most)) for side in (h, w))


def warped(picture: np.ndarray, box: np.ndarray, size: tuple[int, int], cell: int) -> np.ndarray:
    """(2, 31, h, w): features of a box (4,) of (H, W, 3) uint8, warped to the root's size in cells, and mirrored.

    A cell more on all sides is cut out, so that neighbours count as they do in the picture.
    """
    margin = (box[2:] - box[:2]) / size[::-1]
    wider = np.concatenate([box[:2] - margin, box[2:] + margin])
    cut = crop(picture, wider, tuple((side + 2) * cell for side in size))
    features = cell_features(cut, cell)[:, 1:-1, 1:-1]
    return np.stack([features, mirrored(features)])


def facing(pairs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) of 0 and 1: which of each pair (N, 2, D), an object and its mirror image, so that all face the same way.

    As k-means with one cluster: each is turned to be nearer to the mean, and the mean is taken again; the best of a few
    starts. So a component and its mirror image are a pair, one for each side.
    """
    best, least = np.zeros(len(pairs), np.int64), np.inf
    for first in rng.choice(len(pairs), min(TRIES, len(pairs)), replace=False):
        mean, before = pairs[first, 0], None
        while True:
            apart = ((pairs - mean) ** 2).sum(axis=2)
            turned = apart.argmin(axis=1)
            if before is not None and (turned == before).all():
                break
            mean, before = np.take_along_axis(pairs, turned[:, None, None], axis=1)[:, 0].mean(axis=0), turned
        if (total := float(apart.min(axis=1).sum())) < least:
            best, least = turned, total
    return best


def parts_of_root(root: np.ndarray, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """anchors (count, 2) and filters (count, 31, side, side) that cover the parts of a root (31, h, w) of most energy.

    The root is enlarged to twice the resolution. Its energy at a cell is the sum of its squared positive weights there.
    One after another, the square of most energy becomes a part, and its energy counts no more. Where none is left the
    other parts are not used: their anchors are -1.
    Raises ValueError where the enlarged root is smaller than a part.
    """
    _, h, w = root.shape
    if min(2 * h, 2 * w) < side:
        raise ValueError(f"parts_of_root: parts of {side} cells do not fit in {2 * h}x{2 * w}, twice the root")
    fine = Upsample2d((2 * h, 2 * w), mode="bilinear", align_corners=False)(root[None])[0]
    energy = (np.maximum(fine, 0) ** 2).sum(axis=0)
    anchors, filters = np.full((count, 2), -1), np.zeros((count, len(fine), side, side), fine.dtype)
    for i in range(count):
        covered = np.lib.stride_tricks.sliding_window_view(energy, (side, side)).sum(axis=(2, 3))
        if covered.max() <= 0:
            break
        r, c = anchors[i] = np.unravel_index(covered.argmax(), covered.shape)
        filters[i] = fine[:, r : r + side, c : c + side]
        energy[r : r + side, c : c + side] = 0
    return anchors, filters
