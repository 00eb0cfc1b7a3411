"""Masks of instances: targets of a mask head, pasting into the image, suppression and merging."""

from collections.abc import Sequence

import numpy as np

from nn import RoIAlign
from nn.dispatch import array_module
from vision.boxes.mask_runs import mask_runs, run_iou


def mask_targets(masks: np.ndarray, rois: np.ndarray, matched: np.ndarray, size: int) -> np.ndarray:
    """What a mask head should say of each region: the part of its object's mask inside it, on size x size cells.

    masks (G, H, W) bool in pixels of the image, rois (P, 4), matched (P,): the object of each -> (P, size, size), 0 or
    1 in the dtype of rois: a cell is 1 where half of it or more lies in the mask.

    Reference: He et al. 2017, arXiv:1703.06870, sec. 3, "Training": the target is the intersection of an RoI and the
    mask of its object.
    """
    xp = array_module(rois)
    maps = xp.asarray(masks)[:, None].astype(rois.dtype)  # (G, 1, H, W): each object's mask is a map of its own
    covered = RoIAlign(size, 1.0, aligned=True)(maps, rois, matched)[:, 0]
    return (covered >= 0.5).astype(rois.dtype)


def paste(
    probabilities: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int], threshold: float = 0.5
) -> np.ndarray:
    """Masks (D, H, W) bool in an image of size (H, W): each grid of probabilities (D, m, m) laid into its box.

    Cell (i, j) of the grid has its centre at ((j + 0.5) / m, (i + 0.5) / m) of the box. A pixel takes the bilinear
    interpolation at its own centre, along y and x one after the other: P = R p C^T with R (H, m) and C (W, m).

    Reference: sec. 3.1, "Inference": the mask is resized to the RoI size and binarised at 0.5.
    """
    masks, m = np.zeros((len(boxes), *image_size), bool), probabilities.shape[-1]
    for mask, p, (x1, y1, x2, y2) in zip(masks, probabilities, np.asarray(boxes, np.float64)):
        top, rows = _interpolation(y1, y2, image_size[0], m)
        left, columns = _interpolation(x1, x2, image_size[1], m)
        inside = rows @ p @ columns.T >= threshold
        mask[top : top + len(rows), left : left + len(columns)] = inside
    return masks


def spread(probabilities: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The probabilities (D, m, m) at all pixels, (D, H, W) float64: interpolated as by `paste`, 0 outside the boxes."""
    spread_out, m = np.zeros((len(boxes), *image_size)), probabilities.shape[-1]
    for over, p, (x1, y1, x2, y2) in zip(spread_out, probabilities, np.asarray(boxes, np.float64)):
        top, rows = _interpolation(y1, y2, image_size[0], m)
        left, columns = _interpolation(x1, x2, image_size[1], m)
        over[top : top + len(rows), left : left + len(columns)] = rows @ p @ columns.T
    return spread_out


def _interpolation(low: float, high: float, length: int, m: int) -> tuple[int, np.ndarray]:
    """The first pixel whose centre is inside [low, high], and the weights (pixels, m) of the cells from it on."""
    first, end = max(int(np.ceil(low - 0.5)), 0), min(int(np.floor(high - 0.5)) + 1, length)
    centres = np.arange(first, max(end, first)) + 0.5
    at = np.clip((centres - low) / max(high - low, 1e-12) * m - 0.5, 0, m - 1)  # in cells; beyond the last: its value
    return first, np.maximum(1 - np.abs(at[:, None] - np.arange(m)), 0)


def fitted(boxes: np.ndarray, masks: np.ndarray, tolerance: float = 1.5) -> np.ndarray:
    """The boxes (K, 4), each replaced by the one around its mask where a side is more than `tolerance` pixels away.

    masks (K, H, W) bool, none empty. A crop clips a box, and what is left of the mask may lie in a part of it.
    """
    columns, rows, (h, w) = masks.any(axis=1), masks.any(axis=2), masks.shape[1:]
    sides = columns.argmax(1), rows.argmax(1), w - columns[:, ::-1].argmax(1), h - rows[:, ::-1].argmax(1)
    around = np.stack(sides, axis=1).astype(boxes.dtype)
    return np.where(np.abs(around - boxes).max(axis=1, keepdims=True) > tolerance, around, boxes)


def mask_nms(masks: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Indices of the masks to keep, best first: `nms` with the IoU of masks instead of boxes.

    masks (K, H, W) bool, scores (K,).

    Reference: Hariharan et al. 2014, arXiv:1407.1808, sec. 3: "non-maximum suppression on the regions".
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    runs, kept = mask_runs(masks), []
    for i in order:
        if not (run_iou([runs[i]], [runs[k] for k in kept]) > iou_threshold).any():
            kept.append(i)
    return np.array(kept, np.int64)


def merge(masks: np.ndarray, scores: Sequence[float] | None = None) -> np.ndarray:
    """One map (H, W) int64 of masks that may overlap: k + 1 in the pixels of mask k, 0 in none; the best lies on top.

    Without scores the first lies on top.
    """
    order = np.arange(len(masks)) if scores is None else np.argsort(-np.asarray(scores), kind="stable")
    merged = np.zeros(masks.shape[1:], np.int64)
    for k in order[::-1]:
        merged[masks[k]] = k + 1
    return merged
