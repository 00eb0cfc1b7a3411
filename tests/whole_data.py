"""Small whole data sets and files of all kinds that are read, and readers that read all of them: for tests.fuzz.

READERS has for each name write(folder), which writes it, and read(folder), which reads it to the end and asserts that
what comes out is sound.
"""

import contextlib
import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import datasets
import vision
from datasets.files import PICTURES
from datasets.lists import find_all, read_list
from datasets.pictures import pictures, read_header
from datasets.yolo_config import read_yaml
from nn.io.checkpoint import read_checkpoint, write_checkpoint
from nn.io.state import read_metadata, read_state, save_state
from scripts import evaluate, train
from scripts.readers.captioning import CaptionedPhotographs
from scripts.run_folder import read_log
from scripts.weights import load_start
from tests.nn.pth_bytes import legacy_file, ordered, storage, tensor, zip_file
from vision.preprocess import open_photograph

H, W = 16, 20
ARRAYS = {"x": np.arange(6, dtype=np.float32), "layer.y": np.ones((2, 3), np.int16)}


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


# Weights, checkpoints, runs ------------------------------------------------------------------------------------------


def check_arrays(arrays):
    assert all(isinstance(array, np.ndarray) and array.dtype.kind in "biufc" for array in arrays.values())


def write_npz(folder):
    save_state(ARRAYS, folder / "a.npz", {"note": "all"})


@reader(write_npz)
def weights_npz(folder):
    check_arrays(read_state(folder / "a.npz"))
    read_metadata(folder / "a.npz")


def write_safetensors(folder):
    save_state(ARRAYS, folder / "a.safetensors", {"note": "all"})


@reader(write_safetensors)
def weights_safetensors(folder):
    check_arrays(read_state(folder / "a.safetensors"))


def state_dict():
    return ordered({"x": tensor(storage("0"), (2, 3), (3, 1)), "layer.y": tensor(storage("0"), (2,), (2,), 1)})


def write_pth(folder):
    (folder / "a.pth").write_bytes(zip_file({"epoch": 3, "state_dict": state_dict()}, {"0": ARRAYS["x"].tobytes()}))


@reader(write_pth)
def weights_pth(folder):
    check_arrays(read_state(folder / "a.pth", ("state_dict", "model")))


def write_legacy(folder):
    (folder / "a.pth").write_bytes(legacy_file(state_dict(), {"0": (6, ARRAYS["x"].tobytes())}))


READERS["weights_pth_legacy"] = Reader(write_legacy, weights_pth)


def tiny():
    return vision.build("mnist_fc", ["a", "b"], np.random.default_rng(0), hidden=2)


def write_model(folder):
    model = tiny()
    meta = {"model": model.config, "progress": {"step": 3}}
    write_checkpoint(folder / "best.npz", {f"model/{name}": a for name, a in model.state_dict().items()}, meta)


@reader(write_model)
def checkpoints(folder):
    read_checkpoint(folder / "best.npz")
    vision.load(folder)


@reader(write_model)
def pretrained(folder):
    """--pretrained and --weights."""
    for name in ("pretrained", "weights"):
        args = SimpleNamespace(pretrained=None, weights=None)
        setattr(args, name, str(folder / "best.npz"))
        load_start(args, tiny())


RUN: dict[str, bytes] = {}  # the files of a run that is done; their text names the folder


def write_run(folder):
    if not RUN:
        text(folder / "letters.txt", "a small text of a few words. " * 20)
        with contextlib.redirect_stdout(io.StringIO()):
            words = f"--model char_rnn --data text --root {folder}/letters.txt --run-dir {folder}/run --set hidden=3"
            train.main.__wrapped__([*words.split(), "--epochs", "1", "--batch-size", "2", "--pictures", "0"])
        RUN.update({"": str(folder).encode()})
        for path in (folder / "letters.txt", *(folder / "run").iterdir()):
            RUN[path.relative_to(folder).as_posix()] = path.read_bytes()
    (folder / "run").mkdir(exist_ok=True)
    for name in RUN.keys() - {""}:
        (folder / name).write_bytes(RUN[name].replace(RUN[""], str(folder).encode()))
    (folder / "run" / "curve.png").unlink()


@reader(write_run)
def run_folders(folder):
    """Resuming, loading, evaluating."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run = str(folder / "run")
        read_log(folder / "run")
        vision.load(run)
        evaluate.main.__wrapped__([run])
        train.main.__wrapped__(["--resume", "--run-dir", run])


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
