"""Small whole data sets and files of all kinds that are read, and readers that read all of them: for tests.fuzz.

READERS has for each name write(folder), which writes it, and read(folder), which reads it to the end and asserts that
what comes out is sound. Here are pictures and lists; weights, checkpoints and runs are in tests/whole_data_runs.py,
data sets in tests/whole_data_sets.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import datasets
from datasets.files import PICTURES
from datasets.headers import read_header
from datasets.lists import find_all, read_list
from datasets.pictures import pictures
from vision.preprocess import open_photograph

H, W = 16, 20


class Reader(NamedTuple):
    write: Callable[[Path], None]
    read: Callable[[Path], Any]


READERS: dict[str, Reader] = {}


def reader(write: Callable[[Path], None], name: str = ""):
    """Enter the function that reads what `write` writes, under its own name or another."""

    def enter(read):
        READERS[name or read.__name__] = Reader(write, read)
        return read

    return enter


def text(path: Path, content: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def picture(path: Path, seed: int = 0, mode: str = "RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (H, W, 3), np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == "labels":
        image = Image.fromarray(pixels[..., 0] % 3)
    else:
        image = image.convert(mode)
    image.save(path)


def check_samples(data):
    """All samples of a data set are sound."""
    assert all(isinstance(line, str) for line in getattr(data, "problems", ()))
    assert len(list(data.listing())) == len(data) > 0
    for i in range(len(data)):
        check_sample(data[i], data.classes if hasattr(data, "classes") else ())


def check_sample(sample, classes):
    image = sample["image"]
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)
    h, w = image.shape[:2]
    if "boxes" in sample:
        boxes, k = sample["boxes"], len(sample["boxes"])
        assert boxes.dtype == np.float32 and boxes.shape == (k, 4) and np.isfinite(boxes).all()
        x1, y1, x2, y2 = boxes.T
        assert ((x1 >= 0) & (x1 < x2) & (x2 <= w) & (y1 >= 0) & (y1 < y2) & (y2 <= h)).all()
        assert sample["labels"].shape == sample["difficult"].shape == (k,)
        assert ((sample["labels"] >= 1) & (sample["labels"] <= len(classes))).all()
        assert sample["masks"].shape == (k, h, w) if "masks" in sample else True
        assert np.isfinite(sample.get("area", 0)).all()
    if "segmentation" in sample:
        labels = sample["segmentation"]
        assert labels.dtype == np.int64 and labels.shape == (h, w)
        assert -1 <= labels.min() and labels.max() < len(classes)
    assert 0 <= sample.get("label", 0) < max(len(classes), 1)
    assert all(any(map(str.isalnum, caption)) for caption in sample.get("caption", ()))


# Pictures and lists --------------------------------------------------------------------------------------------------

MODES = {".jpg": "RGB", ".jpeg": "CMYK", ".png": "RGBA", ".bmp": "RGB", ".tif": "L", ".tiff": "I;16", ".gif": "P"}


def write_pictures(folder):
    for i, ending in enumerate(PICTURES):
        picture(folder / f"{i}{ending}", i, MODES.get(ending, "RGB"))
    for i, mode in enumerate(("1", "L", "I;16", "P", "LA")):
        picture(folder / f"mode {mode.replace(';', '')}.png", i, mode)


@reader(write_pictures)
def photographs(folder):
    for path in pictures(folder).values():
        header, image = read_header(path), datasets.read_image(path)
        assert image.dtype == np.uint8 and image.shape == (header.height, header.width, 3)


@reader(write_pictures)
def photographs_of_models(folder):
    """What model.detect and the like open."""
    for path in pictures(folder).values():
        image = open_photograph(path)
        assert image.dtype == np.uint8 and image.shape[2] == 3


def write_label_pictures(folder):
    picture(folder / "a.png", 0, "labels")
    datasets.write_label_picture(folder / "b.png", np.arange(H * W).reshape(H, W) % 3)
    picture(folder / "c.png", 0, "I;16")


@reader(write_label_pictures)
def label_pictures(folder):
    for path in pictures(folder).values():
        values = datasets.read_label_picture(path)
        assert values.ndim == 2 and values.dtype == np.int64 and values.min() >= 0


def write_lists(folder):
    picture(folder / "images/street 1.jpg")
    picture(folder / "images/a/b.png")
    text(folder / "list.txt", "street 1\nimages/a/b.png\nstreet 1.jpg 1\n")


@reader(write_lists)
def lists(folder):
    names = find_all(read_list(folder / "list.txt", folder), (folder / "images", pictures(folder / "images")))
    assert all(len(each) == 1 for each in names)


def write_label_maps(folder):
    text(folder / "classes.txt", "sky 0\nroad 1\ncar 2\nignore 255\n")
    text(folder / "classes.json", json.dumps({"sky": [0, 0, 0], "car": [[1, 0, 0], [2, 0, 0]], "void": [9, 9, 9]}))


@reader(write_label_maps)
def label_maps(folder):
    for name in ("classes.txt", "classes.json"):
        found = datasets.read_label_map(folder / name)
        assert found.classes and set(found.labels.values()) >= set(range(len(found.classes)))
