"""Readers for instances, and the scripts from training to files of masks."""

import json
import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import COCODetection, Shapes, decode_rle, encode_rle, mask_boxes
from datasets.results import read_coco_results
from scripts import evaluate, predict, train
from scripts.readers import readers_of

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[3] / "shared" / "data"))
CLASSES = ("circle", "square", "triangle")
TINY = ("width=4", "stride=8", "hidden=16", "short_side=48", "max_side=64", "mask_channels=6", "mask_convs=1")
TINY += ("anchor_scales=[16,32]",)
MODEL = ("--model", "mask_rcnn_small", "--epochs", 1, "--batch-size", 2, "--set", *TINY)


def open_split(name, root, split="train", classes=None):
    return readers_of("instances")[name].open(Namespace(data=name, root=root, classes=None), split, classes)


def write_coco(root, count=6):
    (root / "images").mkdir(parents=True)
    images, annotations = [], []
    for i, scene in enumerate(Shapes(count, (48, 64), seed=2)):
        Image.fromarray(scene["image"]).save(root / f"images/{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
        for mask, (x1, y1, x2, y2), label in zip(scene["masks"], scene["boxes"].tolist(), scene["labels"].tolist()):
            entry = {
                "id": len(annotations) + 1,
                "image_id": i,
                "category_id": label,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
            }
            annotations.append(entry | {"segmentation": encode_rle(mask), "area": int(mask.sum()), "iscrowd": 0})
    categories = [{"id": k, "name": name} for k, name in enumerate(CLASSES, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    for split in ("train", "val"):
        (root / f"instances_{split}.json").write_text(json.dumps(content))


def test_train_evaluate_and_predict(tmp_path, capsys):
    write_coco(tmp_path / "data")
    run, out = tmp_path / "run", tmp_path / "out"
    assert train.main([*MODEL, "--data", "coco", "--root", tmp_path / "data", "--run-dir", run, "--pictures", 2]) == 0
    shown = capsys.readouterr().out
    assert "objects in train: circle" in shown and "mask AP (COCO)" in shown
    assert evaluate.main([run, "--json", tmp_path / "test.json"]) == 0
    assert {"mask_AP50", "mask_AP", "APr_0.5", "object_F1"} <= json.loads((tmp_path / "test.json").read_text()).keys()
    arguments = (run, tmp_path / "data/images", "--out", out, "--threshold", 0, "--write", "coco")
    assert predict.main([*arguments]) == 0
    records = json.loads((out / "predictions.json").read_text())
    results = read_coco_results(out / "coco_results.json", [1, 2, 3])
    data = COCODetection(out / "coco_instances.json", tmp_path / "data/images")
    assert any(len(record["found"]) for record in records)
    for i, record in enumerate(records, 1):
        if i in results:
            assert sorted(row["pixels"] for row in record["found"]) == sorted(results[i]["masks"].sum((1, 2)).tolist())
            seen = results[i]["masks"][results[i]["masks"].any(axis=(1, 2))]
            np.testing.assert_array_equal(data[i - 1]["masks"], seen)
        with Image.open(out / record["labels"]) as picture:
            assert picture.size == (64, 48) and np.asarray(picture).max() <= len(record["found"])


def test_polygons_of_yolo_and_data_without_masks(tmp_path):
    for folder in ("images/train", "labels/train"):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "images/train/a.png")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [cat]\n")
    (tmp_path / "labels/train/a.txt").write_text("0 0.1 0.25 0.5 0.25 0.5 0.75 0.1 0.75\n")
    (sample,) = open_split("yolo", tmp_path)
    np.testing.assert_array_equal(mask_boxes(sample["masks"]), sample["boxes"])
    (tmp_path / "labels/train/a.txt").write_text("0 0.3 0.5 0.4 0.5\n")
    with pytest.raises(ValueError, match="needs masks, but the split does not have all of its objects as polygons"):
        open_split("yolo", tmp_path)
    write_coco(tmp_path / "coco")
    path = tmp_path / "coco/instances_train.json"
    content = json.loads(path.read_text())
    for entry in content["annotations"]:
        entry["segmentation"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="needs masks, but the split does not have a segmentation"):
        open_split("coco", tmp_path / "coco")
    with pytest.raises(ValueError, match="--data coco needs --root DIR: the folder that holds annotations and images"):
        open_split("coco", None)


@pytest.mark.parametrize(
    "shape, message",
    [
        ([[1, 2, 3, 4]], "segmentation must be a list of polygons"),
        ({"size": [48, 63], "counts": [48 * 63]}, "the RLE is of 63x48 pixels, wanted 64x48"),
    ],
)
def test_shapes_that_are_none_are_named(tmp_path, shape, message):
    write_coco(tmp_path)
    path = tmp_path / "instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][3]["segmentation"] = shape
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"annotation 4 of image .*{message}"):
        open_split("coco", tmp_path)


@pytest.mark.parametrize("name, folder, count", [("nuclei", "nuclei_dsb2018", 39), ("pets", "pets3", 298)])
def test_real_objects(name, folder, count):
    if not (DATA / folder).is_dir():
        pytest.skip(f"needs {DATA / folder}")
    data = open_split(name, DATA / folder, "test")
    assert len(data) == count
    for i in range(0, count, count // 6):
        sample = data[i]
        masks = sample["masks"]
        assert masks.shape[1:] == sample["image"].shape[:2] and masks.any(axis=(1, 2)).all()
        assert masks.sum(axis=0).max() == 1
        np.testing.assert_array_equal(mask_boxes(masks), sample["boxes"])
        assert (sample["labels"] == 1).all() and (name == "nuclei" or len(masks) == 1)
    with pytest.raises(ValueError, match="the class of these objects is (nucleus|pet), got cat; leave it out"):
        open_split(name, DATA / folder, "test", ["cat"])


def test_real_photographs_with_crowds_and_polygons():
    if not (DATA / "coco_det_open").is_dir():
        pytest.skip(f"needs {DATA / 'coco_det_open'}")
    data = open_split("coco", DATA / "coco_det_open", "val", ["person", "car"])
    sample = next(sample for sample in data if len(sample["labels"]) > 1)
    assert data.classes == ("person", "car") and len(sample["masks"]) == len(sample["labels"])
    for mask in sample["masks"]:
        np.testing.assert_array_equal(decode_rle(encode_rle(mask)), mask)
