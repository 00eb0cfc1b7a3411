"""Pictures of classified images, with the class found and the true class below."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

RIGHT, WRONG, NEUTRAL, GROUND = (20, 120, 50), (200, 30, 45), (16, 16, 16), (255, 255, 255)
LONG_SIDE = 240  # pixels: smaller images are enlarged to about this, so that there is room for words


def draw_label(image: np.ndarray, found: str, truth: str | None = None, right: bool | None = None) -> np.ndarray:
    """The image, enlarged by an integer factor f where it is small, with `found` below it, and `truth` if there is one.

    image (H, W, 3) uint8 -> (f * H + a strip, f * W, 3) uint8. `found` is green where right, red where wrong, black
    where that is not known. Text that is too wide is made smaller.
    """
    if np.ndim(image) != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        got = f"{getattr(image, 'dtype', type(image).__name__)} {np.shape(image)}"
        raise ValueError(f"draw_label: image must be (H, W, 3) uint8 in RGB, got {got}")
    factor = max(1, int(LONG_SIDE / max(image.shape[:2]) + 0.5))
    enlarged = Image.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1))
    lines = [(found, NEUTRAL if right is None else RIGHT if right else WRONG)]
    lines += [] if truth is None else [(f"is: {truth}", NEUTRAL)]
    size = max(14, enlarged.width // 14)
    picture = Image.new("RGB", (enlarged.width, enlarged.height + round(1.4 * size) * len(lines)), GROUND)
    picture.paste(enlarged, (0, 0))
    for i, (text, colour) in enumerate(lines):
        position = size // 3, enlarged.height + round(1.4 * size * (i + 0.5))
        room = enlarged.width - 2 * position[0]
        fitting = size * min(1, room / max(1, ImageFont.load_default(size).getlength(text)))
        ImageDraw.Draw(picture).text(position, text, colour, ImageFont.load_default(max(6, int(fitting))), anchor="lm")
    return np.array(picture)
