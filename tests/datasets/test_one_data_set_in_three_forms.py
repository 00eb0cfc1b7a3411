"""The same pictures and boxes as VOC, COCO and YOLO: the samples agree bit by bit."""

import json

import numpy as np
from PIL import Image

from datasets import VOCDetection, YOLODetection, open_coco

NAMES = ("bird", "cat", "dog")


def make(count=12, seed=0):
    """[(pixels, [(class number, x1, y1, x2, y2)])] with boxes in whole pixels."""
    rng, scenes = np.random.default_rng(seed), []
    for _ in range(count):
        h, w = rng.integers(40, 200, 2).tolist()
        things = []
        for _ in range(rng.integers(0, 6)):
            x1, x2 = np.sort(2 * rng.choice(w // 2 + 1, 2, replace=False)).tolist()  # two pixels wide at least
            y1, y2 = np.sort(2 * rng.choice(h // 2 + 1, 2, replace=False)).tolist()
            things.append((int(rng.integers(3)), x1, y1, x2, y2))
        scenes.append((rng.integers(0, 256, (h, w, 3), dtype=np.uint8), things))
    return scenes


def write_voc(root, scenes):
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    for i, (pixels, things) in enumerate(scenes):
        Image.fromarray(pixels).save(root / f"JPEGImages/{i:03}.png")
        objects = "".join(
            f"<object><name>{NAMES[k]}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
            f"<ymax>{y2}</ymax></bndbox></object>"
            for k, x1, y1, x2, y2 in things
        )
        (root / f"Annotations/{i:03}.xml").write_text(f"<annotation>{objects}</annotation>")
    (root / "ImageSets/Main/train.txt").write_text("".join(f"{i:03}\n" for i in range(len(scenes))))


def write_coco(root, scenes):
    (root / "images").mkdir(parents=True)
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 10 * k + 5, "name": n} for k, n in enumerate(NAMES)],
    }
    for i, (pixels, things) in enumerate(scenes):
        Image.fromarray(pixels).save(root / f"images/{i:03}.png")
        content["images"].append({"id": i, "file_name": f"{i:03}.png"})
        for k, x1, y1, x2, y2 in things:
            bbox = [x1, y1, x2 - x1, y2 - y1]
            content["annotations"].append({"image_id": i, "category_id": 10 * k + 5, "bbox": bbox})
    (root / "instances_train.json").write_text(json.dumps(content))


def write_yolo(root, scenes):
    for part in ("images/train", "labels/train"):
        (root / part).mkdir(parents=True)
    for i, (pixels, things) in enumerate(scenes):
        h, w = pixels.shape[:2]
        Image.fromarray(pixels).save(root / f"images/train/{i:03}.png")
        rows = [
            f"{k} {(x1 + x2) / 2 / w:.6f} {(y1 + y2) / 2 / h:.6f} {(x2 - x1) / w:.6f} {(y2 - y1) / h:.6f}\n"
            for k, x1, y1, x2, y2 in things
        ]
        (root / f"labels/train/{i:03}.txt").write_text("".join(rows))
    (root / "data.yaml").write_text(f"train: images/train\nnames: [{', '.join(NAMES)}]\n")


def test_samples_agree(tmp_path):
    scenes = make()
    write_voc(tmp_path / "voc", scenes)
    write_coco(tmp_path / "coco", scenes)
    write_yolo(tmp_path / "yolo", scenes)
    voc = VOCDetection(tmp_path / "voc", "train", NAMES)
    coco, yolo = open_coco(tmp_path / "coco", "train"), YOLODetection(tmp_path / "yolo", "train")
    assert voc.classes == coco.classes == yolo.classes == NAMES
    assert voc.counts == coco.counts == yolo.counts
    for (pixels, things), *samples in zip(scenes, voc, coco, yolo):
        for sample in samples:
            np.testing.assert_array_equal(sample["image"], pixels)
            np.testing.assert_array_equal(sample["boxes"], np.array([t[1:] for t in things], np.float32).reshape(-1, 4))
            np.testing.assert_array_equal(sample["labels"], [t[0] + 1 for t in things])
            assert not sample["difficult"].any()
