"""Default boxes: the reference boxes of a detector that predicts from several feature maps at once, and their targets.

They differ from anchors (vision/boxes/anchors.py) in that a coarser map has larger boxes, and in how they are matched:
every object gets one, whatever its overlap. Pure functions: no gradient goes through them.

Reference: Liu et al. 2016, SSD: single shot multibox detector, arXiv:1512.02325, sec. 2.2.
"""

from collections.abc import Sequence

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape
from vision.boxes.boxes import check_labels, check_positive_size, encode, iou

CENTRE_SIZE_STD = (0.1, 0.1, 0.2, 0.2)  # box targets are divided by these: the code's "variances"


def default_shapes(size: float, next_size: float, ratios: Sequence[float]) -> np.ndarray:
    """(k, 2): width and height of the default boxes of one map in pixels, k = 2 + 2 len(ratios).

    A square of side s_k = size; one of side sqrt(s_k s_{k+1}); for each ratio a, w = s_k sqrt(a), h = s_k / sqrt(a),
    and the same box upright.

    Raises ValueError for a size or ratio that is not positive. Reference: sec. 2.2, "Choosing scales".
    """
    if min(size, next_size, *ratios) <= 0:
        raise ValueError(f"default_shapes: sizes and ratios must be positive, got {size}, {next_size}, {tuple(ratios)}")
    between = (size * next_size) ** 0.5
    shapes = [(size, size), (between, between)]
    for ratio in ratios:
        w, h = size * ratio**0.5, size / ratio**0.5
        shapes += [(w, h), (h, w)]
    return np.array(shapes, np.float32)


def default_boxes(shapes: np.ndarray, map_size: tuple[int, int], image_size: tuple[int, int]) -> np.ndarray:
    """(h * w * k, 4): boxes of these shapes (k, 2) centred in each cell of a map of map_size (h, w), by row, column, k.

    The centre of cell (i, j) is ((j + 0.5) / w, (i + 0.5) / h) of the image, whose size in pixels is (H, W). Boxes
    may reach beyond the image. The authors' code puts the centres of its 38x38 map 8 pixels apart, not 300 / 38.
    """
    xp, (h, w), (height, width) = array_module(shapes), map_size, image_size
    y, x = ((xp.arange(n) + 0.5).astype(shapes.dtype) * (side / n) for n, side in ((h, height), (w, width)))
    x, y = xp.broadcast_to(x, (h, w)), xp.broadcast_to(y[:, None], (h, w))
    centres = xp.stack([x, y], axis=2).reshape(h * w, 1, 2)
    return xp.concatenate([centres - shapes / 2, centres + shapes / 2], axis=2).reshape(-1, 4)


def match_default_boxes(
    defaults: np.ndarray, gt_boxes: np.ndarray, gt_labels: np.ndarray, num_classes: int, threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Targets of the default boxes of one image: labels (A,) int64, 0 for background, and deltas (A, 4).

    First each object takes the default box that it overlaps most, the best pair of all first, so that two objects
    never share one. Then each default box left takes the object that it overlaps most, if the IoU is above `threshold`.
    An object that overlaps no default box, or only boxes already taken, has none: see `unmatched`.

    defaults (A, 4), gt_boxes (G, 4), gt_labels (G,) in 1 .. num_classes, G = 0 allowed. deltas: `encode` of the object
    over CENTRE_SIZE_STD, 0 for background. Raises ValueError for labels outside the range and boxes of zero size.

    Reference: sec. 2.2, "Matching strategy"; the order of the first step is that of the authors' code.
    """
    check_shape("match_default_boxes", defaults=(defaults, ("A", 4)), gt_boxes=(gt_boxes, ("G", 4)))
    check_positive_size("match_default_boxes", gt_boxes=gt_boxes)
    check_labels("match_default_boxes", gt_boxes, num_classes, gt_labels=gt_labels)
    xp = array_module(defaults)
    labels, deltas = xp.zeros(len(defaults), np.int64), xp.zeros_like(defaults)
    if not len(gt_boxes):
        return labels, deltas
    overlap = iou(defaults, gt_boxes)  # (A, G)
    owner = xp.where(overlap.max(axis=1) > threshold, overlap.argmax(axis=1), -1)
    for box, gt in best_pairs(overlap):
        owner[box] = gt
    matched = xp.flatnonzero(owner >= 0)
    labels[matched] = gt_labels[owner[matched]]
    std = xp.asarray(CENTRE_SIZE_STD, defaults.dtype)
    deltas[matched] = encode(gt_boxes[owner[matched]], defaults[matched]) / std
    return labels, deltas


def best_pairs(overlap: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (default box, object) of an overlap (A, G): the largest of all, then the largest of the others, and so on.

    Pairs without overlap do not count, so there are G at most.
    """
    left, pairs = overlap.copy(), []
    for _ in range(overlap.shape[1]):
        box, gt = divmod(int(left.argmax()), overlap.shape[1])
        if not left[box, gt] > 0:
            break
        pairs.append((box, gt))
        left[box], left[:, gt] = 0, 0
    return pairs


def unmatched(defaults: np.ndarray, gt_boxes: np.ndarray) -> int:
    """How many of the objects (G, 4) get no default box of their own in match_default_boxes."""
    return len(gt_boxes) - len(best_pairs(iou(defaults, gt_boxes))) if len(gt_boxes) else 0


def hard_negatives(losses: np.ndarray, positive: np.ndarray, ratio: float = 3.0) -> np.ndarray:
    """bool (N, A): the default boxes of background that count, those with the largest losses in each image.

    losses (N, A): the loss of each box as background. positive (N, A): boxes of objects. There are at most `ratio`
    negatives for each positive of the image: none in an image without objects.

    Reference: sec. 2.2, "Hard negative mining".
    """
    xp = array_module(losses)
    order = xp.argsort(xp.where(positive, -np.inf, losses), axis=1)[:, ::-1]  # largest loss first, positives last
    rank = xp.argsort(order, axis=1)  # the position of each box in that order
    allowed = (ratio * positive.sum(axis=1, keepdims=True)).astype(np.int64)
    return (rank < allowed) & ~positive
