"""Data for pose models: pictures of one person (or object) with its points."""

from collections.abc import Iterator, Sequence

from datasets import PoseCrops, Shapes
from datasets.listing import Listed
from scripts.readers.localization import ShapesOf
from scripts.readers.shapes import SPLITS, open_shapes


class Posed:
    """A data set of one object a picture whose classes are the names of its points.

    horizontal_order: for each point its counterpart on the other side, for flips.
    """

    def __init__(self, samples, names: Sequence[str], horizontal_order: Sequence[int]):
        self.samples, self.classes, self.horizontal_order = samples, tuple(names), tuple(horizontal_order)
        self.problems = getattr(samples, "problems", [])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        return self.samples[index]

    def listing(self) -> Iterator[Listed]:
        """Those of the pictures."""
        return self.samples.listing()


def open_shape(arguments, split: str, classes=None) -> Posed:
    """Generated scenes of one object, with its topmost, rightmost, lowest and leftmost point."""
    scenes = ShapesOf(open_shapes(arguments, split), 1)
    return _checked(Posed(scenes, Shapes.keypoint_names, Shapes.horizontal_order), classes)


def open_crops(arguments, split: str, classes=None) -> Posed:
    """A folder with people.json and images, crops around one person each."""
    if not arguments.root:
        raise ValueError("--data pose_crops needs --root DIR: the folder that holds people.json and images")
    crops = PoseCrops(arguments.root, split)
    return _checked(Posed(crops, crops.keypoint_names, crops.horizontal_order), classes)


def _checked(data: Posed, classes) -> Posed:
    if classes and tuple(classes) != data.classes:
        raise ValueError(f"poses have the points {' '.join(data.classes)} as classes, got {' '.join(classes)}")
    return data


READERS = {"shapes": (open_shape, SPLITS), "pose_crops": (open_crops, ("train", "val"))}
