"""Data for localizers: pictures with a fixed number of objects, each with a class and a box."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from datasets import COCODetection, Shapes
from datasets.listing import Listed
from scripts.readers.detection import READERS as DETECTION
from scripts.readers.shapes import SPLITS, open_shapes

FIELDS = ("id", "image", "boxes", "labels", "keypoints")


class ShapesOf:
    """Generated scenes of exactly `count` objects: those of a longer series that have as many.

    A scene is drawn once and kept, since drawing takes as long as a training step; about 15 kB each.
    """

    def __init__(self, shapes: Shapes, count: int):
        more = Shapes(20 * len(shapes), shapes.size, shapes.seed, classes=shapes.classes, max_objects=count)
        scenes = ({key: scene[key] for key in FIELDS} for scene in more if len(scene["boxes"]) == count)
        self.shapes, self.classes, self.samples = shapes, shapes.classes, list(islice(scenes, len(shapes)))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        return dict(self.samples[index])

    def listing(self) -> Iterator[Listed]:
        """The id and size of each scene."""
        return (Listed(sample["id"], sample["image"].shape[:2]) for sample in self.samples)


def open_one(arguments, split: str, classes=None) -> ShapesOf:
    """Generated scenes of one object."""
    return ShapesOf(open_shapes(arguments, split, classes), 1)


def open_pairs(arguments, split: str, classes=None) -> ShapesOf:
    """Generated scenes of two objects, for --set objects=2."""
    return ShapesOf(open_shapes(arguments, split, classes), 2)


def open_persons(arguments, split: str, classes=None) -> COCODetection:
    """A folder with persons_SPLIT.json, COCO's JSON of pictures with one person each, and images."""
    if not arguments.root:
        raise ValueError("--data coco_persons needs --root DIR: the folder that holds persons_train.json and images")
    root = Path(arguments.root)
    return COCODetection(root / f"persons_{split}.json", root / "images", classes, masks=False)


READERS = {
    "shapes": (open_one, SPLITS),
    "shapes_pairs": (open_pairs, SPLITS),
    "coco_persons": (open_persons, ("train", "val")),
    **{name: reader for name, reader in DETECTION.items() if name != "shapes"},
}
