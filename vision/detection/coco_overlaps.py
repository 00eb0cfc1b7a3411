"""How COCO compares a detection with an object: boxes and masks by their IoU, key points by their distances.

Each function takes one image's detections and objects, dicts of arrays as in coco_metrics.py, and returns (D, G).
A crowd is a region of many objects: there a detection counts by the share of it that lies inside.

Reference: Lin et al. 2014, arXiv:1405.0312, and cocodataset.org, "Detection evaluation" and "Keypoint evaluation".
"""

import numpy as np

from vision.boxes.boxes import area, iou
from vision.boxes.mask_runs import mask_runs, run_areas, run_intersections

# Standard deviation of where people put a point, in units of the object's scale: nose, eyes, ears, shoulders, elbows,
# wrists, hips, knees, ankles.
PERSON_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
OTHER_SIGMA = 0.05  # of points that are not a person's, for which COCO gives none


def box_overlap(detected: dict, truth: dict) -> np.ndarray:
    """|d n g| / |d u g|, in a crowd |d n g| / |d|."""
    a, b = (np.asarray(each["boxes"], np.float64) for each in (detected, truth))
    overlap, crowd = iou(a, b), _crowd(truth)
    if crowd.any():
        sides = np.minimum(a[:, None, 2:], b[crowd, 2:]) - np.maximum(a[:, None, :2], b[crowd, :2])
        inside = np.maximum(sides, 0).prod(axis=2)
        overlap[:, crowd] = inside / _positive(area(a))[:, None]
    return overlap


def mask_overlap(detected: dict, truth: dict) -> np.ndarray:
    """The same of masks."""
    a, b = runs_of(detected), runs_of(truth)
    shared, size = run_intersections(a, b), run_areas(a)[:, None]
    union = np.where(_crowd(truth), size, size + run_areas(b) - shared)
    return shared / _positive(union)


def keypoint_similarity(detected: dict, truth: dict, sigmas: np.ndarray | None = None) -> np.ndarray:
    """OKS = mean over the object's labelled points of exp(-d^2 / (2 area (2 sigma)^2)), d the distance.

    An object without labelled points is compared by how far the points lie outside its box, doubled on all sides.
    sigmas (J,): default those of COCO's 17 points of a person, and OTHER_SIGMA for other points.
    """
    if sigmas is None:
        sigmas = PERSON_SIGMAS if np.shape(detected["keypoints"])[1] == len(PERSON_SIGMAS) else OTHER_SIGMA
    oks = np.zeros((len(detected["keypoints"]), len(truth["keypoints"])))
    found = np.asarray(detected["keypoints"], np.float64)[..., :2]  # (D, J, 2)
    for g, (points, box, size) in enumerate(zip(truth["keypoints"], truth["boxes"], truth["area"])):
        seen, (corner, far) = points[:, 2] > 0, np.asarray(box, np.float64).reshape(2, 2)
        side = far - corner
        beyond = np.maximum(corner - side - found, 0) + np.maximum(found - far - side, 0)
        apart = found - points[:, :2] if seen.any() else beyond
        exponent = (apart**2).sum(axis=2) / (2 * sigmas) ** 2 / (size + np.spacing(1)) / 2
        oks[:, g] = np.exp(-exponent)[:, seen if seen.any() else slice(None)].mean(axis=1)
    return oks


def runs_of(objects: dict) -> list[np.ndarray]:
    """The runs of an image's masks, given as (K, H, W) bool or as mask_runs makes them."""
    masks = objects["masks"]
    return masks if isinstance(masks, list) else mask_runs(masks)


def point_extent(objects: dict) -> np.ndarray:
    """The area (K,) of the box around all key points: COCO's size of a detected pose."""
    points = np.asarray(objects["keypoints"], np.float64)[..., :2]
    return np.ptp(points, axis=1).prod(axis=1)


def _crowd(truth):
    return np.asarray(truth.get("crowd", np.zeros(len(truth["labels"]))), bool)


def _positive(size):
    return np.where(size > 0, size, 1)
