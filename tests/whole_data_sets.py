"""Data sets of all kinds, for tests.fuzz. See tests/whole_data.py."""

import gzip
import io
import json
import os
import shutil
import struct
import tarfile
import zipfile
from unittest import mock

import numpy as np
from PIL import Image

import datasets
from datasets import header_index
from datasets.yolo_config import read_yaml
from scripts.readers.captioning import CaptionedPhotographs
from tests.whole_data import H, W, check_samples, picture, reader, text

# Objects -------------------------------------------------------------------------------------------------------------


def write_voc(folder):
    for i in range(2):
        picture(folder / f"JPEGImages/{i}.png", i)
        box = f"<bndbox><xmin>{2 + i}</xmin><ymin>3</ymin><xmax>12.5</xmax><ymax>14</ymax></bndbox>"
        item = f"<object><name>cat</name><difficult>0</difficult>{box}</object>"
        size = f"<size><width>{W}</width><height>{H}</height><depth>3</depth></size>"
        text(folder / f"Annotations/{i}.xml", f"<annotation>{size}{item}</annotation>")
        datasets.write_label_picture((folder / f"{i}.png"), np.arange(H * W).reshape(H, W) % 3)
        (folder / "SegmentationClass").mkdir(exist_ok=True)
        (folder / f"{i}.png").rename(folder / f"SegmentationClass/{i}.png")
    text(folder / "ImageSets/Main/train.txt", "0\n1\n")
    text(folder / "ImageSets/Segmentation/train.txt", "0\n1\n")


@reader(write_voc)
def voc(folder):
    check_samples(datasets.VOCDetection(folder, "train", datasets.find_classes(folder, "train")))


@reader(write_voc)
def voc_segmentation(folder):
    check_samples(datasets.VOCSegmentation(folder, "train"))


def write_coco(folder):
    images = [{"id": i, "file_name": f"{i}.png", "width": W, "height": H} for i in range(2)]
    categories = [{"id": 3, "name": "cat", "keypoints": ["left eye", "right eye"], "skeleton": [[1, 2]]}]
    shapes = [[[2.5, 3, 12, 3, 12, 14]], {"size": [H, W], "counts": [50, 20, H * W - 70]}]
    things = [
        {"id": i, "image_id": i, "category_id": 3, "bbox": [2.5, 3, 10, 11], "area": 90.5, "iscrowd": i,
         "segmentation": shapes[i], "keypoints": [3, 4, 2, 6.5, 7, 1]} for i in range(2)
    ]  # fmt: skip
    for i in range(2):
        picture(folder / f"images/{i}.png", i)
    content = {"images": images, "categories": categories, "annotations": things}
    text(folder / "annotations/instances_train.json", json.dumps(content))


@reader(write_coco)
def coco(folder):
    data = datasets.open_coco(folder, "train")
    check_samples(data)
    assert len(data.image_ids) == len(data)


def write_yolo(folder):
    for i, rows in enumerate(("0 0.5 0.5 0.25 0.5\n1 0.3 0.3 0.2 0.2\n", "1 0.1 0.1 0.9 0.1 0.9 0.8\n")):
        picture(folder / f"images/train/{i}.jpg", i)
        text(folder / f"labels/train/{i}.txt", rows)
    text(folder / "data.yaml", "path: .\ntrain: images/train\nval: images/train\nnc: 2\nnames:\n  0: cat\n  1: dog\n")


@reader(write_yolo)
def yolo(folder):
    read_yaml(folder / "data.yaml")
    check_samples(datasets.YOLODetection(folder, "train"))


@reader(lambda folder: text(folder / "rle.json", json.dumps(datasets.encode_rle(np.eye(9, 7) > 0))))
def rle(folder):
    """Run-length encoding has no file of its own: errors get the path here, as the reader of COCO gives it one."""
    from datasets.text import read_json

    found = read_json(folder / "rle.json")
    if isinstance(found, dict):
        try:
            mask = datasets.decode_rle(found)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error
        assert mask.dtype == bool and mask.shape == tuple(found["size"])


# Classes and labelled pixels -----------------------------------------------------------------------------------------


def write_class_folders(folder):
    for i, name in enumerate(("train/cat/1.jpg", "train/dog/2.png", "val/cat/3.gif")):
        picture(folder / name, i)


@reader(write_class_folders)
def class_folders(folder):
    check_samples(datasets.ClassFolders(folder, "train"))


def write_shards(folder):
    text(folder / "classes.txt", "sky\nroad\ncar\n")
    for i in range(2):
        write_labelled(folder / "files")
        text(folder / f"files/{i}.cls", f"{i}\n")
        text(folder / f"files/{i}.txt", "A car.\nA road.\n")
    with tarfile.open(folder / "train-000000.tar", "w") as tar:
        for i in range(2):
            for ending, name in (("jpg", f"images/{i}.jpg"), ("seg.png", f"labels/{i}.png")):
                tar.add(folder / "files" / name, f"{i}.{ending}")
            for ending in ("cls", "txt"):
                tar.add(folder / f"files/{i}.{ending}", f"{i}.{ending}")
    shutil.rmtree(folder / "files")
    for opened in (datasets.ClassShards, datasets.LabelledShards):
        opened(folder)  # writes the index


@reader(write_shards)
def shards(folder):
    for opened in (datasets.ClassShards, datasets.LabelledShards):
        check_samples(opened(folder))


def with_index(folder):
    """Open pictures as if two were many."""
    with mock.patch.object(header_index, "LEAST", 2), mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache")):
        return datasets.ClassFolders(folder, "train")


def write_indexed(folder):
    for i, name in enumerate(("train/cat/1.png", "train/dog/2.png", "train/dog/3.png")):
        picture(folder / name, i)
    with_index(folder)


@reader(write_indexed)
def indexed_pictures(folder):
    data = with_index(folder)
    check_samples(data)
    assert all(listed.size == sample["image"].shape[:2] for listed, sample in zip(data.listing(), data))


def write_labelled(folder):
    for i in range(2):
        picture(folder / f"images/{i}.jpg", i)
        picture(folder / f"labels/{i}.png", i, "labels")
    text(folder / "classes.txt", "sky\nroad\ncar\n")
    text(folder / "train.txt", "0\nimages/1.jpg labels/1.png\n")


@reader(write_labelled)
def labelled_folders(folder):
    check_samples(datasets.LabelledFolders(folder, "train"))


def write_camvid(folder):
    for i in range(2):
        picture(folder / f"train/{i}.png", i)
        picture(folder / f"trainannot/{i}.png", i, "labels")
    text(folder / "train.txt", "/SegNet/CamVid/train/0.png /SegNet/CamVid/trainannot/0.png\n1\n")


@reader(write_camvid)
def camvid(folder):
    check_samples(datasets.CamVid(folder, "train"))


def write_indexed(folder):
    for i in range(2):
        picture(folder / f"images/{i}.jpg", i)
        for name in ("trimaps", "masks"):
            picture(folder / name / f"{i}.png", i, "labels")
            values = np.array(Image.open(folder / name / f"{i}.png")) + (name == "trimaps")
            Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{i}.png")
    text(folder / "index.csv", 'name,split\n0,train\n"1",val\n')


@reader(write_indexed)
def pets(folder):
    check_samples(datasets.Pets(folder, "train"))


@reader(write_indexed)
def nuclei(folder):
    check_samples(datasets.Nuclei(folder, "train"))


# Captions and texts --------------------------------------------------------------------------------------------------


def write_captions(folder):
    words = ["A dog.", "Une élève, deux."]
    listed = [{"id": i, "file": f"{i}.jpg", "split": "train", "captions": words} for i in range(2)]
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(2)]
    written = [{"id": i, "image_id": i, "caption": words[i]} for i in range(2)]
    for i in range(2):
        picture(folder / f"images/{i}.jpg", i)
    text(folder / "captions.json", json.dumps(listed))
    text(folder / "coco.json", json.dumps({"images": images, "annotations": written}))
    text(folder / "tokens.txt", "".join(f"{i}.jpg#{k}\t{words[k]}\n" for i in range(2) for k in range(2)))
    text(folder / "names.txt", "0.jpg\n1.jpg\n")


@reader(write_captions)
def captions(folder):
    images = folder / "images"
    for data in (
        datasets.ListedCaptions(folder, "train"),
        datasets.COCOCaptions(folder / "coco.json", images),
        datasets.Flickr8kCaptions(folder / "tokens.txt", images, folder / "names.txt"),
    ):
        check_samples(data)
        words = [word for captions in data.captions for caption in captions for word in caption]
        CaptionedPhotographs(data, ["<pad>", "<start>", "<end>", "<unk>", *dict.fromkeys(map(str.lower, words))])


def write_texts(folder):
    text(folder / "texts/a.txt", "A text\nof two lines, é.\n")
    text(folder / "texts/b.txt", "another")
    text(folder / "pairs.tsv", "a b\tb a\nc d\td c\n")


@reader(write_texts)
def texts(folder):
    assert datasets.read_texts(folder / "texts").strip()
    assert all(pair["text"] and pair["target"] for pair in datasets.read_pairs(folder / "pairs.tsv"))


# Arrays of pictures --------------------------------------------------------------------------------------------------


def idx(array):
    return struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder):
    digits = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(digits))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([1, 2, 9], np.uint8))))


@reader(write_mnist)
def mnist(folder):
    check_samples(datasets.MNIST(folder, "train"))


def write_omniglot(folder):
    def png(value):
        file = io.BytesIO()
        Image.fromarray(np.arange(105 * 105).reshape(105, 105) % 7 < value).save(file, "PNG")
        return file.getvalue()

    names = {"small/Greek/character01": 2, "small/Latin/character01": 2}
    with zipfile.ZipFile(folder / "images_background_small1.zip", "w") as archive:
        for name, count in names.items():
            for i in range(count):
                archive.writestr(f"{name}/0394_{i + 1:02d}.png", png(i + 1))
    with zipfile.ZipFile(folder / "all_runs.zip", "w") as archive:
        archive.writestr("run01/training/class01.png", png(2))
        archive.writestr("run01/test/item01.png", png(3))
        archive.writestr("run01/class_labels.txt", "run01/test/item01.png run01/training/class01.png\n")


@reader(write_omniglot)
def omniglot(folder):
    check_samples(datasets.Omniglot(folder, "trainval"))
    check_samples(datasets.OmniglotRuns(folder))


def write_cifar(folder):
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (9, 1024, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"cifar10_batch_{i}.png")
    labels = {f"cifar10_batch_{i}": list(range(9)) for i in range(2)}
    text(folder / "labels.json", json.dumps(labels | {"classes": list("abcdefghij")}))


@reader(write_cifar)
def cifar(folder):
    check_samples(datasets.CIFAR10Lossless(folder, "train"))
