"""Pictures of where a recurrent attention model looked: squares along a path."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

LONG_SIDE = 336  # pixels: smaller images are enlarged to about this
RIM = (16, 16, 16)


def draw_glimpses(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The image with the outlines of the glimpses and a line through their centres, from blue (first) to red (last).

    image (H, W, 3) uint8; boxes (T, scales, 4) as RecurrentAttention.look gives them: (x1, y1, x2, y2) in its pixels
    -> (f * H, f * W, 3) uint8, enlarged by an integer factor f if the image is small. The first glimpse is a disc, each
    further one a disc at the end of its line. The finest scale is drawn with a thicker line than the others.
    """
    boxes = np.asarray(boxes)
    if np.ndim(image) != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"draw_glimpses: image must be (H, W, 3) uint8 in RGB, got {image.dtype} {image.shape}")
    if boxes.ndim != 3 or boxes.shape[2] != 4:
        raise ValueError(f"draw_glimpses: boxes must have shape (T, scales, 4), got {boxes.shape}")
    factor = max(1, int(LONG_SIDE / max(image.shape[:2]) + 0.5))
    picture = Image.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1))
    pen, line, boxes = ImageDraw.Draw(picture), max(2, picture.width // 110), boxes * factor
    colours = _colours(len(boxes))
    for glimpse, colour in zip(boxes, colours):
        for scale, (x1, y1, x2, y2) in reversed([*enumerate(glimpse)]):
            pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour, width=1 if scale else line)
    centres = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in boxes[:, 0].tolist()]
    for width, rim in ((2 * line, RIM), (line, None)):
        for start, end, colour in zip(centres, centres[1:], colours[1:]):
            pen.line((*start, *end), fill=rim or colour, width=width)
    for (x, y), colour in zip(centres, colours):
        pen.ellipse((x - 2 * line, y - 2 * line, x + 2 * line, y + 2 * line), fill=colour, outline=RIM)
    return np.array(picture)


def _colours(n):
    """n colours from blue over green to red."""
    hues = np.linspace(0.62, 0, n)
    return [tuple(int(255 * part + 0.5) for part in colorsys.hsv_to_rgb(hue, 0.85, 1)) for hue in hues]
