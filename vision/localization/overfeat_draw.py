"""Pictures of OverFeat's boxes before and after they are merged, as in the paper.

Reference: Sermanet et al. 2014, OverFeat, arXiv:1312.6229, fig. 6 and 7.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from vision.detection.draw import COLOURS, draw_detections, grid

LEAST = 0.1  # share of all scores in a merged box that is drawn


def draw_merge(image: np.ndarray, before, after, classes: Sequence[str]) -> np.ndarray:
    """(H, W, 3) uint8: the boxes of all windows, and the merged boxes that hold a tenth of the scores at least.

    image (H, W, 3) uint8; before, after: Candidates, see vision.localization.overfeat.
    """
    share = after.scores / max(after.scores.sum(), 1e-12)
    kept = share >= LEAST
    merged = draw_detections(image, after.boxes[kept], after.labels[kept] + 1, share[kept], classes)
    factor = merged.shape[0] // image.shape[0]
    picture = Image.fromarray(image).resize(merged.shape[1::-1], Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for box, label in zip(before.boxes * factor, before.labels):
        draw.rectangle(box.tolist(), outline=COLOURS[label % len(COLOURS)])
    titles = [f"{len(before.boxes)} boxes of windows", f"{len(after.boxes)} merged"]
    return grid([np.asarray(picture), merged], columns=2, titles=titles)
