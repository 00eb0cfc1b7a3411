"""Mask voting: the masks of boxes that NMS drops are averaged into the mask that stays.

Reference: Dai et al. 2016, Instance-aware semantic segmentation via multi-task network cascades, arXiv:1512.04412,
"Inference"; after the box voting of Gidaris and Komodakis 2015, arXiv:1505.01749.
"""

import numpy as np

from vision.boxes import iou
from vision.instances.masks import spread


def vote(
    kept: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    grids: np.ndarray,
    image_size: tuple[int, int],
    similar_iou: float = 0.5,
) -> np.ndarray:
    """Masks (K, H, W) bool of the kept instances, pixel by pixel the mean of all similar ones, weighted by scores:

        mask = sum_i s_i p_i / sum_i s_i >= 0.5,    p_i = 0 outside of box i

    i: the kept one, and those of its class that were dropped and overlap its box with an IoU of similar_iou or more.
    kept (K,) int, of instances with boxes (N, 4), labels (N,), scores (N,) and grids (N, m, m) of probabilities.
    """
    masks, dropped = np.zeros((len(kept), *image_size), bool), np.ones(len(boxes), bool)
    dropped[kept] = False
    for mask, k in zip(masks, kept):
        similar = dropped & (labels == labels[k]) & (iou(boxes[[k]], boxes)[0] >= similar_iou)
        voters = np.concatenate([[k], np.flatnonzero(similar)])
        everywhere = spread(grids[voters], boxes[voters], image_size)  # (V, H, W)
        mask[...] = np.average(everywhere, axis=0, weights=scores[voters]) >= 0.5
    return masks
