"""Data for segmentation: samples with a label for every pixel."""

from collections.abc import Iterator

from datasets import CamVid, LabelledFolders, LabelledImages, LabelledShards, Nuclei, Pets, Shapes, VOCSegmentation
from datasets.listing import Listed
from scripts.readers.shapes import SPLITS, open_shapes

BACKGROUND = "background"
FOLDERS = {  # --data NAME -> data set, and the content of --root
    "folders": (LabelledFolders, "images, labels and classes.txt"),
    "camvid": (CamVid, "train, trainannot, train.txt and so on"),
    "voc": (VOCSegmentation, "JPEGImages, SegmentationClass and ImageSets"),
    "nuclei": (Nuclei, "images, masks and index.csv"),
    "shards": (LabelledShards, "classes.txt, train-000000.tar and so on"),
    "pets": (Pets, "images, trimaps and index.csv"),
}


class LabelledShapes:
    """Generated scenes with a label for every pixel: 0 is the background, a class like any other here."""

    def __init__(self, shapes: Shapes):
        self.shapes, self.classes = shapes, (BACKGROUND, *shapes.classes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> dict:
        sample = self.shapes[index]
        return {key: sample[key] for key in ("id", "image", "segmentation")}

    def listing(self) -> Iterator[Listed]:
        """Those of the scenes."""
        return self.shapes.listing()

    def label_maps(self):
        """Each sample's labels (H, W)."""
        return (self[i]["segmentation"] for i in range(len(self)))


def open_labelled_shapes(arguments, split: str, classes=None) -> LabelledShapes:
    """Generated scenes; classes, if given, begin with the background."""
    if classes and classes[0] != BACKGROUND:
        raise ValueError(f"--classes of --data shapes must begin with {BACKGROUND}, got {' '.join(classes)}")
    return LabelledShapes(open_shapes(arguments, split, tuple(classes[1:]) if classes else None))


def open_labelled(arguments, split: str, classes=None) -> LabelledImages:
    """A folder of photographs with label pictures, all of which are checked: see its data set."""
    opened, held = FOLDERS[arguments.data]
    if not arguments.root:
        raise ValueError(f"--data {arguments.data} needs --root DIR: the folder that holds {held}")
    return opened(arguments.root, split, classes)


READERS = {"shapes": (open_labelled_shapes, SPLITS)} | dict.fromkeys(FOLDERS, (open_labelled, SPLITS))
