"""Pictures of captions: the sentence below the image and, with attention, a map for each word."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WHITE, BLACK, GREY = (255, 255, 255), (16, 16, 16), (110, 110, 110)
SIDE, GAP, COLUMNS = 160, 8, 6  # pixels of a tile's longer side, and between tiles; tiles in a row
DARKEST = 0.25  # brightness of pixels with weight 0


def draw_caption(image: np.ndarray, caption: str, references: Sequence[str] = ()) -> np.ndarray:
    """The image with the caption below it and, in grey, the references. (H, W, 3) uint8 -> (H', W', 3) uint8."""
    _check_image("draw_caption", image)
    tile = _tile(image, 2 * SIDE)
    return _with_text(tile, [(caption or "(no words)", BLACK), *((text, GREY) for text in references)])


def draw_attention(
    image: np.ndarray, words: Sequence[str], attention: np.ndarray, references: Sequence[str] = ()
) -> np.ndarray:
    """One picture: the image, then for each word the image with its brightness scaled by the attention.

    image (H, W, 3) uint8; attention (T, h, w) for the T words, each map over the whole image. A map is enlarged
    smoothly, and its largest weight shown at full brightness. The references are below, in grey. -> (H', W', 3) uint8
    Raises ValueError for another kind of image, and where words and maps differ in number.
    """
    _check_image("draw_attention", image)
    if np.ndim(attention) != 3 or len(attention) != len(words):
        raise ValueError(f"draw_attention: attention must have shape ({len(words)}, h, w), got {np.shape(attention)}")
    plain = _tile(image, SIDE)
    tiles = [_titled(plain, "")] + [_titled(_lit(plain, weights), word) for word, weights in zip(words, attention)]
    h, w = tiles[0].shape[:2]
    columns = min(COLUMNS, len(tiles))
    sheet = np.full((-(-len(tiles) // columns) * (h + GAP), columns * (w + GAP), 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * (h + GAP), i % columns * (w + GAP)
        sheet[y : y + h, x : x + w] = tile
    return _with_text(sheet, [(text, GREY) for text in references])


def _lit(tile, weights):
    """The tile, darker where the weights (h, w) are smaller; unchanged at the largest weight."""
    share = Image.fromarray((weights / weights.max()).astype(np.float32))
    light = np.asarray(share.resize(tile.shape[1::-1], Image.Resampling.BICUBIC)).clip(0, 1)
    return (tile * (DARKEST + (1 - DARKEST) * light[:, :, None])).astype(np.uint8)


def _tile(image, side):
    """The image scaled to `side` pixels on its longer side."""
    scale = side / max(image.shape[:2])
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _titled(tile, word):
    """The tile below a strip with the word."""
    font = _font(16)
    picture = Image.new("RGB", (tile.shape[1], tile.shape[0] + 22), WHITE)
    picture.paste(Image.fromarray(tile), (0, 22))
    ImageDraw.Draw(picture).text((tile.shape[1] / 2, 19), word, fill=BLACK, font=font, anchor="ms")
    return np.array(picture)


def _with_text(picture, lines):
    """The picture above lines of text (text, colour); long lines are broken."""
    font = _font(14)
    broken = [(part, colour) for text, colour in lines for part in _broken(text, font, picture.shape[1] - 8)]
    result = Image.new("RGB", (picture.shape[1], picture.shape[0] + 19 * len(broken) + (4 if broken else 0)), WHITE)
    result.paste(Image.fromarray(picture), (0, 0))
    for i, (text, colour) in enumerate(broken):
        ImageDraw.Draw(result).text((4, picture.shape[0] + 19 * i + 16), text, fill=colour, font=font, anchor="ls")
    return np.array(result)


def _broken(text, font, width):
    """The text in lines of at most `width` pixels, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= width or not lines[-1] else [*lines, word]
    return lines


def _font(size):
    return ImageFont.load_default(size=size)


def _check_image(owner, image):
    if np.ndim(image) != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        got = f"{getattr(image, 'dtype', type(image).__name__)} {np.shape(image)}"
        raise ValueError(f"{owner}: image must be (H, W, 3) uint8 in RGB, got {got}")
