"""Pictures of what a network looks at: the outline of a spatial transformer's grid, points of deformed kernels."""

import numpy as np
from PIL import Image, ImageDraw

LONG_SIDE = 336  # pixels: smaller images are enlarged to about this
COLOUR, FIRST = (255, 200, 0), (255, 60, 60)


def draw_frame(image: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The image with a closed line through the points of the frame; a disc is at the first, the grid's top left.

    image (H, W, 3) uint8; frame (K, 2), (x, y) in its pixels -> (f * H, f * W, 3) uint8, enlarged by an integer f
    where the image is small. Raises ValueError for arrays of other shapes.
    """
    frame = np.asarray(frame)
    picture, factor = _enlarged("draw_frame", image)
    if frame.ndim != 2 or frame.shape[1] != 2 or len(frame) < 3:
        raise ValueError(f"draw_frame: frame must have shape (K, 2), K at least 3, got {frame.shape}")
    pen, line = ImageDraw.Draw(picture), max(2, picture.width // 110)
    points = [tuple(point) for point in (frame * factor).tolist()]
    pen.line([*points, points[0]], fill=COLOUR, width=line)
    x, y = points[0]
    pen.ellipse((x - 2 * line, y - 2 * line, x + 2 * line, y + 2 * line), fill=FIRST)
    return np.array(picture)


def draw_points(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The image with a disc at each of the points (K, 2), (x, y) in its pixels; enlarged as in draw_frame."""
    points = np.asarray(points)
    picture, factor = _enlarged("draw_points", image)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"draw_points: points must have shape (K, 2), got {points.shape}")
    pen, size = ImageDraw.Draw(picture), max(1, picture.width // 150)
    for x, y in (points * factor).tolist():
        pen.ellipse((x - size, y - size, x + size, y + size), fill=FIRST)
    return np.array(picture)


def _enlarged(owner, image):
    """A PIL image of (H, W, 3) uint8, enlarged by an integer factor where it is small, and that factor."""
    if np.ndim(image) != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{owner}: image must be (H, W, 3) uint8 in RGB, got {image.dtype} {image.shape}")
    factor = max(1, int(LONG_SIDE / max(image.shape[:2]) + 0.5))
    return Image.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1)), factor
