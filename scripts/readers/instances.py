"""Data for instance segmentation: samples with boxes and a mask for each object."""

from collections.abc import Iterator

import numpy as np

import datasets
from datasets import COCODetection, Nuclei, Pets, YOLODetection, mask_boxes
from datasets.labelled_images import LabelledImages
from datasets.listing import Listed
from scripts.readers.given import absent
from scripts.readers.shapes import SPLITS, open_shapes


class LabelledThings:
    """Labelled pictures as objects: each value of `instances` is one; without it all pixels above 0 are one.

    Pixels that do not count belong to no object.
    """

    def __init__(self, pictures: LabelledImages, classes=None):
        self.pictures, self.classes, self.problems = pictures, (pictures.classes[1],), pictures.problems
        if classes and tuple(classes) != self.classes:
            raise ValueError(f"the class of these objects is {self.classes[0]}, got {' '.join(classes)}; leave it out")

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict:
        sample = self.pictures[index]
        values = sample.get("instances", sample["segmentation"])
        masks = values == np.unique(values[values > 0])[:, None, None]
        labels = np.ones(len(masks), np.int64)
        boxes = mask_boxes(masks) if len(masks) else np.zeros((0, 4), np.float32)
        return {"id": sample["id"], "image": sample["image"], "boxes": boxes, "labels": labels, "masks": masks}

    def listing(self) -> Iterator[Listed]:
        """Those of the pictures."""
        return self.pictures.listing()


def open_coco(arguments, split: str, classes=None) -> COCODetection:
    """A folder with COCO's JSON files and images; ValueError where no object has a segmentation."""
    root = _root(arguments, "annotations and images")
    return _with_masks(datasets.open_coco(root, split, classes, absent=absent(arguments, classes)), arguments)


def open_yolo(arguments, split: str, classes=None) -> YOLODetection:
    """A folder in the layout of YOLO whose objects are polygons."""
    root = _root(arguments, "images, labels and data.yaml")
    return _with_masks(YOLODetection(root, split, classes, absent=absent(arguments, classes)), arguments)


def open_nuclei(arguments, split: str, classes=None) -> LabelledThings:
    """Each nucleus of the microscope images."""
    return LabelledThings(Nuclei(_root(arguments, "images, masks and index.csv"), split), classes)


def open_pets(arguments, split: str, classes=None) -> LabelledThings:
    """The pet of each photograph: what the trimap says is pet, without the border that is unsure."""
    return LabelledThings(Pets(_root(arguments, "images, trimaps and index.csv"), split), classes)


def _root(arguments, held: str) -> str:
    if not arguments.root:
        raise ValueError(f"--data {arguments.data} needs --root DIR: the folder that holds {held}")
    return arguments.root


def _with_masks(data, arguments):
    if "masks" not in data.extras:
        polygons = "a segmentation" if arguments.data == "coco" else "all of its objects as polygons"
        raise ValueError(f"{data.source}: a model of instances needs masks, but the split does not have {polygons}")
    return data


READERS = {
    "shapes": (open_shapes, SPLITS),
    "coco": (open_coco, ("train", "val")),
    "yolo": (open_yolo, ("train", "val")),
    "nuclei": (open_nuclei, ("train", "test")),
    "pets": (open_pets, ("train", "test")),
}
