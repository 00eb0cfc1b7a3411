"""Training crops round single objects: the examples of DeconvNet's two stages, from pictures with pixel labels."""

from collections.abc import Callable

import numpy as np

from datasets.transforms import FILL, _scale_to, _window

KINDS = ("objects", "proposals")
CONTEXT = 1.2  # side of a crop / side of its box
OVERLAP = 0.5  # IoU that a proposal has with the object's box at least
LEAST = 16  # pixels of an object; smaller ones are passed over


def object_crop(
    sample: dict,
    rng: np.random.Generator,
    *,
    kind: str,
    size: tuple[int, int],
    components: Callable[[np.ndarray], np.ndarray],
) -> dict:
    """One object of the sample with 1.2 times the height and width of its box, scaled to size (height, width).

    sample: id and light, if it has them, image (H, W, 3) uint8 in its own size and segmentation (H, W) int, in which 0
    must be the background and -1 does not count. The result has these fields and no others. A class is drawn among
    those in the picture, all alike, then one of its connected parts, found by components(mask). With kind "objects" all
    but this part becomes background, the first stage; with "proposals" the crop is round a random box that overlaps the
    object's by an IoU of 0.5 or more, and all labels stay, the second. What lies outside the picture is filled, with
    label -1. A picture without objects is scaled whole. Raises ValueError for another kind and for a sample without
    segmentation.

    Reference: Noh et al. 2015, arXiv:1505.04366, sec. 4.2 and 6.1. Their proposals are those of edge boxes, and their
    crops are scaled to 250 x 250, of which every step sees 224 x 224 at random (stage_1_train.prototxt).
    """
    if kind not in KINDS:
        raise ValueError(f"object_crop: kind must be {' or '.join(map(repr, KINDS))}, got {kind!r}")
    if "segmentation" not in sample:
        raise ValueError(f"object_crop: the sample must have labels of its pixels, got {', '.join(sample)}")
    labels = sample["segmentation"]
    sample = {key: sample[key] for key in ("id", "image", "segmentation", "light") if key in sample}
    mask = draw_object(labels, rng, components)
    if mask is None:
        return _scale_to(sample, *size)
    box = tight_box(mask)
    if kind == "objects":
        sample["segmentation"] = np.where(mask, labels, np.minimum(labels, 0))
    else:
        box = proposal(box, rng)
    x0, y0, x1, y1 = np.floor(extended(box, CONTEXT) + 0.5).astype(int).tolist()
    return _scale_to(_window(sample, x0, y0, max(y1 - y0, 1), max(x1 - x0, 1), 0.0, FILL), *size)


def draw_object(labels: np.ndarray, rng: np.random.Generator, components) -> np.ndarray | None:
    """The mask (H, W) bool of a connected part of one class, of at least LEAST pixels, or None."""
    for label in rng.permutation(np.unique(labels[labels > 0])):
        parts = components(labels == label)
        large = np.flatnonzero(np.bincount(parts.ravel())[1:] >= LEAST) + 1
        if len(large):
            return parts == rng.choice(large)
    return None


def tight_box(mask: np.ndarray) -> np.ndarray:
    """(x1, y1, x2, y2) around the True pixels, half-open."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def extended(box: np.ndarray, factor: float) -> np.ndarray:
    """The box with sides `factor` times as long, round the same middle."""
    middle, half = (box[:2] + box[2:]) / 2, factor * (box[2:] - box[:2]) / 2
    return np.concatenate([middle - half, middle + half])


def proposal(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random box that overlaps `box` by an IoU of OVERLAP or more: moved by up to half a side, 0.6 to 1.6 times."""
    sides = box[2:] - box[:2]
    while True:
        middle = (box[:2] + box[2:]) / 2 + rng.uniform(-0.5, 0.5, 2) * sides
        half = np.exp(rng.uniform(np.log(0.6), np.log(1.6), 2)) * sides / 2
        other = np.concatenate([middle - half, middle + half])
        inside = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
        common = inside.clip(0).prod()
        if common >= OVERLAP * (sides.prod() + (2 * half).prod() - common):
            return other
