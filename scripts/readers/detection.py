"""Data for detectors: samples with boxes and labels."""

import datasets
from datasets import BoxedShards, COCODetection, PetHeads, VOCDetection, YOLODetection, find_classes
from scripts.readers.given import absent
from scripts.readers.shapes import SPLITS, open_shapes


def open_voc(arguments, split: str, classes=None) -> VOCDetection:
    """A folder in Pascal VOC's layout; without class names, those that occur in the split."""
    if not arguments.root:
        raise ValueError("--data voc needs --root DIR: the folder that holds JPEGImages, Annotations and ImageSets")
    return VOCDetection(arguments.root, split, classes or find_classes(arguments.root, split))


def open_coco(arguments, split: str, classes=None) -> COCODetection:
    """A folder with COCO's JSON files and images, in any of the usual layouts: see datasets.open_coco."""
    if not arguments.root:
        raise ValueError("--data coco needs --root DIR: the folder that holds annotations and images")
    return datasets.open_coco(arguments.root, split, classes, masks=False, absent=absent(arguments, classes))


def open_yolo(arguments, split: str, classes=None) -> YOLODetection:
    """A folder in the layout of YOLO: images, labels, and data.yaml or classes.txt."""
    if not arguments.root:
        raise ValueError("--data yolo needs --root DIR: the folder that holds images, labels and data.yaml")
    return YOLODetection(arguments.root, split, classes, masks=False, absent=absent(arguments, classes))


def open_shards(arguments, split: str, classes=None) -> BoxedShards:
    """Tar files of photographs, each with an annotation as Pascal VOC's: root/train-000000.tar and so on."""
    if not arguments.root:
        raise ValueError("--data shards needs --root DIR: the folder that holds train-000000.tar and so on")
    return BoxedShards(arguments.root, split, classes)


def open_heads(arguments, split: str, classes=None) -> PetHeads:
    """Photographs of pets with the box of the head: see datasets.PetHeads."""
    if not arguments.root:
        raise ValueError("--data pets needs --root DIR: the folder that holds images and index.csv")
    return PetHeads(arguments.root, split, classes)


READERS = {
    "shapes": (open_shapes, SPLITS),
    "voc": (open_voc, ("trainval", "test")),
    "coco": (open_coco, ("train", "val")),
    "yolo": (open_yolo, ("train", "val")),
    "shards": (open_shards, ("train", "val")),
    "pets": (open_heads, ("train", "val")),
}
