"""Data for detectors: samples with boxes and labels."""

from datasets import VOCDetection, find_classes
from scripts.readers.shapes import SPLITS, open_shapes


def open_voc(arguments, split: str, classes=None) -> VOCDetection:
    """A folder in Pascal VOC's layout; without class names, those that occur in the split."""
    if not arguments.root:
        raise ValueError("--data voc needs --root DIR: the folder that holds JPEGImages, Annotations and ImageSets")
    return VOCDetection(arguments.root, split, classes or find_classes(arguments.root, split))


READERS = {"shapes": (open_shapes, SPLITS), "voc": (open_voc, ("trainval", "test"))}
