"""The same pictures and boxes in the formats of VOC, COCO and YOLO give the same weights; folders of classes."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from datasets import Shapes
from scripts import evaluate, train

CLASSES = ("circle", "square", "triangle")
MODEL = ("--model", "stand_in", "--batch-size", 5, "--epochs", 2, "--pictures", 0, "--evaluate-every", 0)


@pytest.fixture(scope="module")
def pictures():
    """60 pictures with boxes at integer pixels."""
    scenes = Shapes(60, (40, 48), seed=9, classes=CLASSES)
    return [(scene["image"], scene["boxes"].round().astype(int), scene["labels"]) for scene in scenes]


def write_voc(root, pictures):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for i, (image, boxes, labels) in enumerate(pictures):
        Image.fromarray(image).save(root / f"JPEGImages/{i:03}.png")
        objects = "".join(
            f"<object><name>{CLASSES[label - 1]}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for (x1, y1, x2, y2), label in zip(boxes, labels)
        )
        size = "<size><width>48</width><height>40</height><depth>3</depth></size>"
        (root / f"Annotations/{i:03}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (root / "ImageSets/Main/train.txt").write_text("".join(f"{i:03}\n" for i in range(50)))
    (root / "ImageSets/Main/val.txt").write_text("".join(f"{i:03}\n" for i in range(50, 60)))


def write_coco(root, pictures):
    (root / "images").mkdir(parents=True)
    for split, numbers in (("train", range(50)), ("val", range(50, 60))):
        images, annotations = [], []
        for i in numbers:
            image, boxes, labels = pictures[i]
            Image.fromarray(image).save(root / f"images/{i:03}.png")
            images.append({"id": i, "file_name": f"{i:03}.png", "width": 48, "height": 40})
            for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist()):
                box = [x1, y1, x2 - x1, y2 - y1]
                annotation = {"id": len(annotations) + 1, "image_id": i, "category_id": 10 * label, "bbox": box}
                annotations.append(annotation | {"area": box[2] * box[3], "iscrowd": 0})
        categories = [{"id": 10 * (k + 1), "name": name} for k, name in enumerate(CLASSES)]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"instances_{split}.json").write_text(json.dumps(whole))


def write_yolo(root, pictures):
    for i, (image, boxes, labels) in enumerate(pictures):
        split = "train" if i < 50 else "val"
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / f"images/{split}/{i:03}.png")
        lines = (
            f"{label - 1} {(x1 + x2) / 96:.6f} {(y1 + y2) / 80:.6f} {(x2 - x1) / 48:.6f} {(y2 - y1) / 40:.6f}\n"
            for (x1, y1, x2, y2), label in zip(boxes, labels)
        )
        (root / f"labels/{split}/{i:03}.txt").write_text("".join(lines))
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [circle, square, triangle]\n")


def write_shards(root, voc):
    """Tar files of ten pictures from a folder of VOC's."""
    root.mkdir()
    for i in range(6):
        split = "train" if i < 5 else "val"
        with tarfile.open(root / f"{split}-{i % 5:06}.tar", "w") as tar:
            for k in range(10 * i, 10 * i + 10):
                tar.add(voc / f"JPEGImages/{k:03}.png", f"{k:03}.png")
                tar.add(voc / f"Annotations/{k:03}.xml", f"{k:03}.xml")


def test_the_same_data_in_three_formats_trains_to_the_same_weights(pictures, tmp_path, capsys):
    weights, measured = {}, {}
    for name, write in (("voc", write_voc), ("coco", write_coco), ("yolo", write_yolo)):
        write(tmp_path / name, pictures)
        data = ("--data", name, "--root", tmp_path / name, "--train-split", "train", "--val-split", "val")
        run = tmp_path / f"run_{name}"
        assert train.main([*MODEL, *data, "--classes", *CLASSES, "--run-dir", run]) == 0
        assert "50 images to train on (train), 10 to evaluate on (val)" in capsys.readouterr().out
        assert evaluate.main([run, "--json", run / "test.json"]) == 0
        measured[name] = json.loads((run / "test.json").read_text()) | {"images_per_second": None}
        with np.load(run / "last.npz") as arrays:
            weights[name] = {n: arrays[n] for n in arrays.files if n.startswith(("model/", "optimiser/"))}
    write_shards(tmp_path / "shards", tmp_path / "voc")  # read in another order
    assert train.main([*MODEL, "--data", "shards", "--root", tmp_path / "shards", "--run-dir", tmp_path / "run"]) == 0
    assert "50 images to train on (train), 10 to evaluate on (val)" in capsys.readouterr().out
    assert evaluate.main([tmp_path / "run"]) == 0
    for name in ("coco", "yolo"):
        assert measured[name] == measured["voc"]
        assert weights[name].keys() == weights["voc"].keys()
        for key, array in weights["voc"].items():
            np.testing.assert_array_equal(weights[name][key], array, err_msg=f"{name} {key}")


def test_folders_of_classes(tmp_path, capsys, error_of):
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 150)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(low, low + 100, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    model = ("--model", "resnet20_cifar", "--set", "n=1", "width=2", "--batch-size", 8, "--pictures", 0)
    arguments = (*model, "--data", "class_folders", "--epochs", 8, "--lr", 0.05, "--run-dir", tmp_path / "run")
    assert train.main([*arguments, "--root", tmp_path / "data"]) == 0
    out = capsys.readouterr().out
    assert "classes dark, light" in out
    assert "32 images to train on (train), 8 to evaluate on (val)" in out
    assert evaluate.main([tmp_path / "run"]) == 0
    assert "all         8     1.000" in capsys.readouterr().out
    assert "--data class_folders needs --root DIR" in error_of(train.main, *arguments[:-1], tmp_path / "other")


@pytest.mark.parametrize("name", ["coco", "yolo", "shards"])
def test_a_missing_root_is_named(name, tmp_path, error_of):
    arguments = (*MODEL, "--data", name, "--run-dir", tmp_path / "run")
    assert f"--data {name} needs --root DIR" in error_of(train.main, *arguments)
    assert str(tmp_path / "none") in error_of(train.main, *arguments, "--root", tmp_path / "none")
