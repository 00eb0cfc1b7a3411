"""A generated data set: textured scenes of simple shapes, with the annotations of every task.

Needs no files, so it is the default of every script, test and demonstration.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from .listing import Listed
from .shapes_paint import KINDS, Thing, paint_scene

DOMAIN = 0x5A9E5  # keeps these random streams apart from others that are seeded with [seed, index], too
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Shapes:
    """n scenes of 1 to `max_objects` textured circles, squares and triangles on a textured background.

    Scene i depends on (seed, i) and the options only: the same in every process. Later objects cover
    earlier ones; of every object more than a quarter stays visible, and all lie whole inside the image.

    Sample: image (H, W, 3) uint8; id str
        boxes (K, 4) float32, tight around the visible pixels: (x1, y1, x2, y2), 0-based, half-open
        labels (K,) int64, 1 for `classes[0]` and so on (0 is the background)
        kinds, colours (K,) str: "circle", "red"
        difficult (K,) bool: less than half of the object is visible
        masks (K, H, W) bool: visible pixels, disjoint; segmentation (H, W) int64: the labels painted
        keypoints (K, 4, 3) float32: x, y, v of the object's topmost, rightmost, lowest and leftmost point,
            each the middle pixel of its extreme row or column; v is 2 if it is visible, 1 if covered
        caption: three true sentences: how many of each class; every object by colour; where the largest lies
        label int: the class of the largest visible object

    classes: any of circle, square, triangle, star, cross.   size: (height, width).
    For training and testing take two seeds.
    """

    keypoint_names = ("top", "right", "bottom", "left")
    horizontal_order = (0, 3, 2, 1)  # `keypoint_order` for horizontal_flip
    vertical_order = (2, 1, 0, 3)  # and for vertical_flip

    def __init__(
        self,
        n: int,
        size: tuple[int, int] = (120, 160),
        seed: int = 0,
        *,
        classes: Sequence[str] = ("circle", "square", "triangle"),
        max_objects: int = 6,
    ):
        if n < 1 or max_objects < 1 or seed < 0:
            raise ValueError(f"Shapes: need n, max_objects >= 1 and seed >= 0, got {n}, {max_objects} and {seed}")
        if len(size) != 2 or min(size) < 32:
            raise ValueError(f"Shapes: size must be (height, width), both at least 32 to hold objects, got {size}")
        if not classes or isinstance(classes, str) or len(set(classes) & KINDS.keys()) != len(classes):
            raise ValueError(f"Shapes: classes must be some of {', '.join(KINDS)}, none twice, got {classes!r}")
        self.n, self.size, self.seed, self.max_objects = n, tuple(size), seed, max_objects
        self.classes = tuple(classes)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict:
        index = range(self.n)[index]  # negative indices count from the end; IndexError beyond
        rng = np.random.default_rng([DOMAIN, self.seed, index])
        image, owner, things = paint_scene(rng, self.size, self.classes, self.max_objects)
        return {"id": f"shapes-{self.seed}-{index}", "image": image, **self._annotate(owner, things)}

    def listing(self) -> Iterator[Listed]:
        """The id and size of each scene."""
        return (Listed(f"shapes-{self.seed}-{index}", self.size) for index in range(self.n))

    def _annotate(self, owner: np.ndarray, things: list[Thing]) -> dict:
        masks = owner == np.arange(len(things))[:, None, None]
        labels = np.array([self.classes.index(thing.kind) + 1 for thing in things], dtype=np.int64)
        visible = masks.sum(axis=(1, 2))
        boxes = mask_boxes(masks)
        return {
            "boxes": boxes,
            "labels": labels,
            "kinds": np.array([thing.kind for thing in things]),
            "colours": np.array([thing.colour for thing in things]),
            "difficult": visible < 0.5 * np.array([thing.area for thing in things]),
            "masks": masks,
            "segmentation": np.append(labels, 0)[owner],  # owner -1, the background, takes the last entry
            "keypoints": _keypoints(masks, things),
            "caption": _captions(boxes, visible, things, self.size[1]),
            "label": int(labels[visible.argmax()]),
        }


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """Tight boxes (K, 4) float32 around masks (K, H, W) bool, none of them empty: 0-based, half-open."""
    h, w = masks.shape[1:]
    columns, rows = masks.any(axis=1), masks.any(axis=2)
    sides = columns.argmax(1), rows.argmax(1), w - columns[:, ::-1].argmax(1), h - rows[:, ::-1].argmax(1)
    return np.stack(sides, axis=1).astype(np.float32)


def _keypoints(masks: np.ndarray, things: list[Thing]) -> np.ndarray:
    """(K, 4, 3) x, y, v: v is 2 where the object itself is seen at the point, 1 where another covers it."""
    points = np.stack([thing.extremes for thing in things])
    columns, rows = points.astype(np.int64).transpose(2, 0, 1)
    seen = masks[np.arange(len(things))[:, None], rows, columns]
    return np.concatenate([points, np.where(seen, 2, 1)[..., None]], axis=2).astype(np.float32)


def _captions(boxes: np.ndarray, visible: np.ndarray, things: list[Thing], width: int) -> list[str]:
    order = np.argsort(-visible, kind="stable")  # the largest first
    kinds = Counter(things[i].kind for i in order)
    names = [f"{things[i].colour} {things[i].kind}" for i in order]
    centres = (boxes[order, :2] + boxes[order, 2:]) / 2
    if len(names) == 1:
        place = f"a {names[0]} in the {'left' if centres[0, 0] < width / 2 else 'right'} half"
    else:
        dx, dy = centres[1] - centres[0]  # from the largest to the second
        across, down = "left of" if dx > 0 else "right of", "above" if dy > 0 else "below"
        other = f"another {names[1]}" if names[1] == names[0] else f"a {names[1]}"
        place = f"a {names[0]} {across if abs(dx) > abs(dy) else down} {other}"
    return [_listed(kinds, one="one"), _listed(Counter(names), one="a"), place]


def _listed(counts: Counter, one: str) -> str:
    """{"circle": 1, "cross": 2, "star": 1} -> "one circle, two crosses and one star"."""
    parts = []
    for noun, count in counts.items():
        number = one if count == 1 else NUMBERS[count] if count < len(NUMBERS) else str(count)
        parts.append(f"{number} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
