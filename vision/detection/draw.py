"""Pictures of detections: boxes with names and scores, ground truth for comparison, contact sheets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nn.layer import check_shape
from vision.boxes.boxes import area, check_labels, clip, iou

# Far apart in hue and lightness; none is too pale or too dark to be seen in a photograph. Class 1 takes the first.
COLOURS = (
    (230, 57, 70), (38, 132, 255), (46, 172, 90), (255, 159, 28), (155, 81, 224), (0, 178, 178),
    (240, 98, 179), (140, 98, 57), (128, 150, 25), (83, 92, 200), (255, 209, 46), (120, 200, 245),
)  # fmt: skip
WHITE, BLACK = (255, 255, 255), (16, 16, 16)
LONG_SIDE = 600  # pixels: smaller images are enlarged to about this, or the letters would hide them


class Plate(NamedTuple):
    """A line of text on a coloured background, drawn near a box."""

    text: str
    box: np.ndarray
    colour: tuple[int, int, int]


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    truth: dict | None = None,
) -> np.ndarray:
    """A copy of the image with an outline and a plate "name 0.97" for each detection, one colour per class.

    image (H, W, 3) uint8; boxes (D, 4) in its pixels, labels (D,) in 1..C, scores (D,); classes: the C names
    -> (f * H, f * W, 3) uint8, enlarged by an integer factor f where the image is small. Boxes are clipped to it.

    With `truth`, a dict of boxes (G, 4), labels (G,) and perhaps difficult (G,), the objects are outlined in dashed
    white. Objects that no detection of their class overlaps with IoU 0.5 are marked "missed".
    Raises ValueError for another kind of image, and for boxes, labels and scores of different lengths.
    """
    _check_image("draw_detections", image)
    _check_objects("boxes", boxes, labels, scores, classes)
    factor = max(1, int(LONG_SIDE / max(image.shape[:2]) + 0.5))
    size = (image.shape[1] * factor, image.shape[0] * factor)
    picture = np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    line = max(3, round(max(size) / 250))
    plates = []

    if truth is not None:
        _check_objects("truth boxes", truth["boxes"], truth["labels"], None, classes)
        for box in truth["boxes"]:
            _frame(picture, box * factor, line - 1, WHITE, dashes=BLACK)
    visible = np.flatnonzero(area(clip(boxes, image.shape[:2])))
    worst_first = visible if scores is None else visible[np.argsort(scores[visible], kind="stable")]
    for i in worst_first:  # so the best is on top
        colour = COLOURS[(labels[i] - 1) % len(COLOURS)]
        text = _name(labels[i], classes) + ("" if scores is None else f" {scores[i]:.2f}")
        _frame(picture, boxes[i] * factor, line + 1, BLACK)  # a thin rim, to stand out from any background
        _frame(picture, boxes[i] * factor, line, colour)
        plates.append(Plate(text, boxes[i] * factor, colour))
    plates.reverse()  # and its plate is positioned first
    if truth is not None:
        for i in _missed(boxes, labels, truth):
            plates.append(Plate("missed " + _name(truth["labels"][i], classes), truth["boxes"][i] * factor, WHITE))
        plates.append(Plate("solid: detected, dashed: ground truth", np.array([0, 0, *size]), BLACK))
    return put_plates(picture, plates)


def grid(
    images: Sequence[np.ndarray], columns: int | None = None, titles: Sequence[str] | None = None, gap: int = 12
) -> np.ndarray:
    """A contact sheet: images (H_i, W_i, 3) uint8 row by row, in equal cells on white, with a title above each.

    columns: None makes the sheet about square. -> (H, W, 3) uint8
    Raises ValueError for no images, for images that are not RGB, and for another number of titles.
    """
    if len(images) == 0 or (titles is not None and len(titles) != len(images)):
        raise ValueError(f"grid: wanted images and as many titles, got {len(images)} and {titles}")
    for image in images:
        _check_image("grid", image)
    cell_h, cell_w = np.max([image.shape[:2] for image in images], axis=0).tolist()
    columns = min(len(images), columns or max(1, round((len(images) * cell_h / cell_w) ** 0.5)))
    rows = -(-len(images) // columns)
    font = _font(cell_w)
    above = gap if titles is None else gap + round(1.2 * font.size)

    sheet = Image.new("RGB", (columns * (cell_w + gap) + gap, rows * (cell_h + above) + gap), WHITE)
    for i, image in enumerate(images):
        x, y = gap + i % columns * (cell_w + gap), above + i // columns * (cell_h + above)
        sheet.paste(Image.fromarray(image), (x, y))
        if titles is not None:
            ImageDraw.Draw(sheet).text((x, y - font.size // 4), titles[i], fill=BLACK, font=font, anchor="ls")
    return np.array(sheet)


def _frame(picture, box, line, colour, dashes=None):
    """Paint the outline of a box into the picture, in place, `line` pixels wide, dashed with a second colour if any."""
    x1, y1, x2, y2 = _pixels(picture, box)
    left, right = slice(x1, x1 + line), slice(max(x1, x2 - line), x2)
    top, bottom = slice(y1, y1 + line), slice(max(y1, y2 - line), y2)
    rows, columns = slice(y1, y2), slice(x1, x2)
    for side in ((top, columns), (bottom, columns), (rows, left), (rows, right)):
        strip = picture[side]
        along = np.add.outer(np.arange(strip.shape[0]), np.arange(strip.shape[1]))
        strip[...] = np.where((along // (4 * line) % 2 == 0)[..., None], colour, dashes or colour)


def _pixels(picture, box):
    """The box rounded to whole pixels inside the picture, as four ints."""
    return np.floor(clip(np.asarray(box, float), picture.shape[:2]) + 0.5).astype(int)


def put_plates(picture, plates):
    """Write every plate where it overlaps the earlier ones least."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    font = _font(max(image.size))
    pad = font.size // 3
    taken = np.zeros((0, 4))
    for text, box, colour in plates:
        w, h = round(font.getlength(text)) + 2 * pad, round(1.35 * font.size)
        position = _free_position(_pixels(picture, box), w, h, image.size, taken)
        taken = np.concatenate([taken, position[None]])
        x1, y1, x2, y2 = position.tolist()
        draw.rounded_rectangle((x1, y1, x2 - 1, y2 - 1), radius=pad // 2, fill=colour, outline=BLACK)
        dark_ground = np.dot(colour, (0.299, 0.587, 0.114)) < 150
        draw.text((x1 + pad, (y1 + y2) / 2), text, fill=WHITE if dark_ground else BLACK, font=font, anchor="lm")
    return np.array(image)


def _free_position(box, w, h, picture_size, taken):
    """The position (4,) of a plate of size w, h at a box: above it, inside or below, whichever is covered least."""
    x1, y1, x2, y2 = box
    corners = [(x1, y1 - h), (x2 - w, y1 - h), (x1, y1), (x1, y2), (x2 - w, y2), (x1, y2 - h), (x2 - w, y2 - h)]
    start = np.clip(corners, 0, np.maximum(np.subtract(picture_size, (w, h)), 0)).astype(float)
    positions = np.concatenate([start, start + np.array([w, h])], axis=1)
    return positions[iou(positions, taken).sum(axis=1).argmin()]


def _missed(boxes, labels, truth):
    """Indices of the objects, without difficult ones, that no detection of their class overlaps with IoU 0.5."""
    met = (iou(truth["boxes"], boxes) >= 0.5) & (truth["labels"][:, None] == labels)
    return np.flatnonzero(~met.any(axis=1) & ~np.asarray(truth.get("difficult", np.zeros(len(met))), bool))


def _font(picture_side):
    return ImageFont.load_default(size=max(13, round(picture_side / 45)))


def _name(label, classes):
    return str(label) if classes is None else classes[label - 1]


def _check_image(owner, image):
    if np.ndim(image) != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        got = f"{getattr(image, 'dtype', type(image).__name__)} {np.shape(image)}"
        raise ValueError(f"{owner}: image must be (H, W, 3) uint8 in RGB, got {got}")


def _check_objects(name, boxes, labels, scores, classes):
    who = f"draw_detections: {name}"
    check_shape(who, boxes=(boxes, ("D", 4)), **({} if scores is None else {"scores": (scores, ("D",))}))
    check_labels(who, boxes, None if classes is None else len(classes), labels=labels)
    if not np.isfinite(boxes).all():
        raise ValueError(f"{who}: must be finite, got {boxes[~np.isfinite(boxes).all(axis=1)][0].tolist()}")
