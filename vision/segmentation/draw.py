"""Pictures of labelled pixels: the photograph with each class in its colour, and a legend of the colours."""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vision.detection.draw import COLOURS

WHITE, BLACK = (255, 255, 255), (16, 16, 16)
BACKGROUND = "background"  # a class of this name is not painted
LONG_SIDE = 320  # pixels: smaller images are enlarged to about this, so that there is room for words
OPACITY = 0.55
UNKNOWN = 255  # label -1 in a file


def class_colours(count: int) -> np.ndarray:
    """(count, 3) uint8, a colour for each class: twelve far apart, then these darker, then paler, and so on."""
    base = np.array(COLOURS, float)
    every = np.concatenate([base, 0.55 * base, 0.5 * base + 127])
    return every[np.arange(count) % len(every)].astype(np.uint8)


def overlay(image: np.ndarray, labels: np.ndarray, classes: Sequence[str], opacity: float = OPACITY) -> np.ndarray:
    """The image (H, W, 3) uint8 with its labels (H, W) int laid over it; -1 and the background are left as they are.

    Raises ValueError for another kind of image, another size of labels, and labels of no class.
    """
    if np.ndim(image) != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or labels.shape != image.shape[:2]:
        raise ValueError(
            "overlay: image must be (H, W, 3) uint8 and labels (H, W) of the same size, "
            f"got {image.dtype} {image.shape} and {labels.shape}"
        )
    if labels.size and not -1 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"overlay: labels must lie in -1 .. {len(classes) - 1}, got {labels.min()} .. {labels.max()}")
    painted = np.array([name != BACKGROUND for name in classes] + [False])  # -1 takes the last
    mixed = (1 - opacity) * image + opacity * class_colours(len(classes) + 1)[labels]
    return np.where(painted[labels][..., None], mixed + 0.5, image).astype(np.uint8)


def draw_labels(
    image: np.ndarray, labels: np.ndarray, classes: Sequence[str], truth: np.ndarray | None = None
) -> np.ndarray:
    """The image with its labels laid over it, beside it with the true ones if given; below, a legend of their classes.

    image (H, W, 3) uint8, labels and truth (H, W) int -> (H', W', 3) uint8, small images enlarged by an integer factor.
    """
    factor = max(1, int(LONG_SIDE / max(image.shape[:2]) + 0.5))
    parts = [overlay(image, each, classes) for each in (labels, truth) if each is not None]
    picture = np.concatenate(parts, axis=1).repeat(factor, axis=0).repeat(factor, axis=1)
    seen = np.unique(np.concatenate([each.ravel() for each in (labels, truth) if each is not None]))
    title = "" if truth is None else "left found, right true:"
    strip = legend(classes, picture.shape[1], [c for c in seen.tolist() if c >= 0], title)
    return np.concatenate([picture, strip])


def legend(classes: Sequence[str], width: int, shown: Sequence[int] | None = None, title: str = "") -> np.ndarray:
    """(H, width, 3) uint8: the title, then colour and name of each class, or of those shown."""
    font, colours = ImageFont.load_default(size=14), class_colours(len(classes))
    line, x, y, positions = 20, 4 + (round(font.getlength(title)) + 12 if title else 0), 3, []
    for c in range(len(classes)) if shown is None else shown:
        length = 18 + round(font.getlength(classes[c])) + 12
        if x > 4 and x + length > width:
            x, y = 4, y + line
        positions.append((c, x, y))
        x += length
    picture = Image.new("RGB", (width, y + line + 3), WHITE)
    draw = ImageDraw.Draw(picture)
    draw.text((4, 13), title, fill=BLACK, font=font, anchor="lm")
    for c, x, y in positions:
        fill = WHITE if classes[c] == BACKGROUND else tuple(colours[c].tolist())
        draw.rectangle((x, y + 3, x + 13, y + 16), fill=fill, outline=BLACK)
        draw.text((x + 18, y + 10), classes[c], fill=BLACK, font=font, anchor="lm")
    return np.array(picture)


def write_labels(path: str | os.PathLike, labels: np.ndarray, classes: Sequence[str]):
    """Write labels (H, W) int in -1 .. C - 1 as a palette PNG whose values they are, 255 for -1.

    The palette has the classes' colours, black for the background. Raises ValueError for more than 255 classes.
    """
    if len(classes) > UNKNOWN:
        raise ValueError(f"{os.fspath(path)}: a palette PNG holds at most {UNKNOWN} classes, got {len(classes)}")
    palette = np.full((UNKNOWN + 1, 3), 224, np.uint8)
    palette[: len(classes)] = class_colours(len(classes)) * np.array([[name != BACKGROUND] for name in classes])
    picture = Image.fromarray(np.where(labels < 0, UNKNOWN, labels).astype(np.uint8))
    picture.putpalette(palette.tobytes())
    picture.save(path, format="PNG")
