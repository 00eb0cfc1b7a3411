"""Attention between two sentences as a picture."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, SIZE, MARGIN = 24, 14, 6  # pixels: side of a square, height of letters, margin
INK, GROUND = (16, 16, 16), (255, 255, 255)


def draw_attention(weights: np.ndarray, source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """A matrix of squares, a row for each target word, a column for each source word; white: weight 1, black: 0.

    weights (T, S) in 0 .. 1, source S words, target T words -> (H, W, 3) uint8. The source is written above the
    columns, rotated unless all its words are single characters.

    Reference: Bahdanau et al. 2015, arXiv:1409.0473, fig. 3.
    """
    if np.shape(weights) != (len(target), len(source)):
        raise ValueError(
            f"draw_attention: weights must have shape (T={len(target)}, S={len(source)}), got {np.shape(weights)}"
        )
    font = ImageFont.load_default(SIZE)
    turned = any(len(word) > 1 for word in source)
    left = 2 * MARGIN + max((round(font.getlength(_shown(word))) for word in target), default=0)
    above = 2 * MARGIN + (max(round(font.getlength(_shown(word))) for word in source) if turned else SIZE)
    picture = Image.new("RGB", (left + CELL * len(source) + MARGIN, above + CELL * len(target) + MARGIN), GROUND)
    grey = (np.clip(weights, 0, 1) * 255 + 0.5).astype(np.uint8).repeat(CELL, axis=0).repeat(CELL, axis=1)
    picture.paste(Image.fromarray(grey).convert("RGB"), (left, above))
    draw = ImageDraw.Draw(picture)
    for t, word in enumerate(target):
        draw.text((left - MARGIN, above + CELL * (t + 0.5)), _shown(word), INK, font, anchor="rm")
    for s, word in enumerate(source):
        strip = Image.new("RGB", (above - MARGIN, CELL) if turned else (CELL, above - MARGIN), GROUND)
        position = (0, CELL / 2) if turned else (CELL / 2, strip.height - MARGIN / 2)
        ImageDraw.Draw(strip).text(position, _shown(word), INK, font, anchor="lm" if turned else "ms")
        picture.paste(strip.rotate(90, expand=True) if turned else strip, (left + CELL * s, 0))
    return np.array(picture)


def _shown(word):
    return "_" if word == " " else word
