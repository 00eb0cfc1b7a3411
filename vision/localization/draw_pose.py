"""Pictures of poses: a line for each limb, left and right in different colours, a dot for each point."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from nn.layer import check_shape

ONE_SIDED = ("shoulder", "elbow"), ("elbow", "wrist"), ("shoulder", "hip"), ("hip", "knee"), ("knee", "ankle")
LIMBS = (  # by name; those whose both ends a pose has are drawn
    *((f"{side}_{a}", f"{side}_{b}") for side in ("left", "right") for a, b in ONE_SIDED),
    ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), ("nose", "left_eye"), ("nose", "right_eye"),
    ("left_eye", "left_ear"), ("right_eye", "right_ear"),
)  # fmt: skip
COLOURS = {"left": (255, 159, 28), "right": (38, 132, 255), "": (46, 172, 90)}
LONG_SIDE = 400  # pixels: smaller images are enlarged to about this


def draw_pose(
    image: np.ndarray, points: np.ndarray, names: Sequence[str], seen: np.ndarray | None = None
) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8, enlarged by an integer factor where it is small, with the points (J, 2) and
    the limbs between them. seen (J,) bool: points that are not are left out. Without known names, points are joined in
    their order, as an outline. Raises ValueError for points of another shape, or another number of names."""
    check_shape("draw_pose", points=(points, (len(names), 2)))
    index = {name: j for j, name in enumerate(names)}
    limbs = [(index[a], index[b]) for a, b in LIMBS if a in index and b in index]
    limbs = limbs or [(j, (j + 1) % len(names)) for j in range(len(names))]
    seen = np.ones(len(names), bool) if seen is None else seen
    factor = max(1, int(LONG_SIDE / max(image.shape[:2]) + 0.5))
    picture = Image.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1))
    draw, width, at = ImageDraw.Draw(picture), max(2, max(picture.size) // 100), points * factor
    for a, b in limbs:
        if seen[a] and seen[b]:
            draw.line([*at[a], *at[b]], _colour(names[a], names[b]), width)
    for (x, y), name in zip(at[seen], np.array(names)[seen]):
        draw.ellipse((x - width, y - width, x + width, y + width), _colour(name, name), (16, 16, 16))
    return np.array(picture)


def _colour(a: str, b: str):
    return next((COLOURS[side] for side in ("left", "right") if a.startswith(side) and b.startswith(side)), COLOURS[""])
