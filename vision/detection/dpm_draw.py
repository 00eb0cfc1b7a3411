"""Pictures of star models as in the paper: root, parts, and what it costs to move each part.

Reference: Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, fig. 1 and 9.
"""

import numpy as np
from PIL import Image, ImageDraw

from vision.detection.dpm_features import BINS
from vision.detection.dpm_star import StarModels

SIDE = 18  # pixels of a cell of a part; one of a root has twice as many


def draw_star(stars: StarModels, k: int) -> np.ndarray:
    """(H, W, 3) uint8: model k's root, its parts where their anchors are, and their costs, beside one another.

    Strokes are edges, across the direction of the gradient; the brighter, the larger the positive weight. A cost is
    that of the part's centre at this place of its frame, black for none, white for the largest of the model.
    """
    h, w = stars.sizes[k].tolist()
    root = strokes(stars.roots.value[k, :, :h, :w], 2 * SIDE)
    parts, costs = np.zeros_like(root), np.zeros_like(root)
    used = [i for i, (r, _) in enumerate(stars.anchors[k]) if r >= 0]
    side = stars.parts.value.shape[-1] * SIDE
    for i in used:
        where = tuple(slice(start * SIDE, start * SIDE + side) for start in stars.anchors[k, i])
        parts[where] = framed(strokes(stars.parts.value[k, i], SIDE))
        costs[where] = framed(cost_map(stars.costs.value[k, i], side))
    gap = np.full((len(root), SIDE), 255.0)
    panels = [scaled(root), gap, scaled(parts), gap, scaled(costs)] if used else [scaled(root)]
    return np.repeat(np.concatenate(panels, axis=1).astype(np.uint8)[..., None], 3, axis=2)


def strokes(weights: np.ndarray, side: int) -> np.ndarray:
    """(h * side, w * side): the positive weights (31, h, w) of each direction as strokes in each cell."""
    signed, unsigned = weights[: 2 * BINS], weights[2 * BINS : 3 * BINS]
    energy = np.maximum(signed[:BINS] + signed[BINS:] + unsigned, 0)  # (9, h, w)
    _, h, w = energy.shape
    cells = np.einsum("khw,kyx->hywx", energy, np.stack([stroke(k, side) for k in range(BINS)]))
    return cells.reshape(h * side, w * side)


def stroke(k: int, side: int) -> np.ndarray:
    """(side, side): the edge of gradients in bin k, a line through the middle of a cell."""
    angle = (k + 0.5) * np.pi / BINS + np.pi / 2
    middle, reach = (side - 1) / 2, (side - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).line([*(middle - reach), *(middle + reach)], fill=255, width=max(1, side // 12))
    return np.asarray(image, float) / 255


def cost_map(costs: np.ndarray, side: int) -> np.ndarray:
    """(side, side): costs (4,) of displacements in cells of a part, from the middle."""
    apart = (np.arange(side) - (side - 1) / 2) / SIDE
    dx, dy = apart[None], apart[:, None]
    return costs[0] * dx + costs[1] * dy + costs[2] * dx**2 + costs[3] * dy**2


def framed(image: np.ndarray) -> np.ndarray:
    """The image with a thin bright line around it."""
    image = np.maximum(image, 0)
    image[[0, -1]], image[:, [0, -1]] = image.max(), image.max()
    return image


def scaled(image: np.ndarray) -> np.ndarray:
    """In 0 .. 255, 255 for the largest."""
    return image * (255 / max(image.max(), 1e-12))
