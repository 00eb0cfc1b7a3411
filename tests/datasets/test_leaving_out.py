"""A damaged picture is refused by every reader when training, and left out where `leaving_out` holds."""

import json

import pytest
from PIL import Image

from datasets import (
    ClassFolders,
    COCODetection,
    LabelledFolders,
    ListedCaptions,
    VOCDetection,
    YOLODetection,
)
from datasets.pictures import leaving_out


def damaged_voc(root):
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (48, 40)).save(root / f"JPEGImages/{name}.png")
        box = "<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
        (root / f"Annotations/{name}.xml").write_text(
            f"<annotation><object><name>cat</name>{box}</object></annotation>"
        )
    (root / "ImageSets/Main/train.txt").write_text("a\nb\nc\n")
    return root / "JPEGImages/b.png", lambda: VOCDetection(root, "train", ["cat"])


def damaged_yolo(root):
    (root / "images/train").mkdir(parents=True)
    (root / "labels/train").mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (48, 40)).save(root / f"images/train/{name}.png")
        (root / f"labels/train/{name}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (root / "classes.txt").write_text("cat\n")
    return root / "images/train/b.png", lambda: YOLODetection(root, "train")


def damaged_coco(root):
    (root / "images").mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (48, 40)).save(root / f"images/{name}.png")
    content = {
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate("abc")],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [3, 3, 20, 20], "area": 400},
                        {"id": 2, "image_id": 2, "category_id": 5, "bbox": [3, 3, 20, 20], "area": 400}],
        "categories": [{"id": 5, "name": "cat"}],
    }  # fmt: skip
    (root / "a.json").write_text(json.dumps(content))
    return root / "images/b.png", lambda: COCODetection(root / "a.json", root / "images")


def damaged_folders(root):
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
        for name in "abc":
            Image.new("RGB" if part == "images" else "L", (48, 40)).save(root / f"{part}/{name}.png")
    (root / "classes.txt").write_text("sky\nroad\n")
    (root / "train.txt").write_text("a\nb\nc\n")
    return root / "images/b.png", lambda: LabelledFolders(root, "train")


def damaged_classes(root):
    (root / "train/cat").mkdir(parents=True)
    (root / "val/cat").mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (48, 40)).save(root / f"train/cat/{name}.png")
    return root / "train/cat/b.png", lambda: ClassFolders(root, "train")


def damaged_captions(root):
    (root / "images").mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (48, 40)).save(root / f"images/{name}.png")
    listed = [{"id": i, "file": f"{name}.png", "split": "train", "captions": ["a cat"]} for i, name in enumerate("abc")]
    (root / "captions.json").write_text(json.dumps(listed))
    return root / "images/b.png", lambda: ListedCaptions(root, "train")


KINDS = [damaged_voc, damaged_yolo, damaged_coco, damaged_folders, damaged_classes, damaged_captions]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_picture_is_refused_or_left_out(tmp_path, kind):
    path, open_data = kind(tmp_path / "root")
    everything = [open_data()[i]["id"] for i in range(3)]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"b\.png: the image cannot be decoded"):
        open_data()
    failed = []
    with leaving_out(failed):
        data = open_data()
    assert len(failed) == 1 and failed[0].startswith(f"{path}: the image cannot be decoded")
    assert [data[i]["id"] for i in range(len(data))] == [everything[0], everything[2]]
    assert [each.id for each in data.listing()] == [everything[0], everything[2]]
    if hasattr(data, "image_ids"):
        assert data.image_ids == [0, 2]
    with pytest.raises(ValueError, match=r"b\.png"):  # the block has ended
        open_data()


@pytest.mark.parametrize("kind", KINDS)
def test_where_all_are_damaged(tmp_path, kind):
    path, open_data = kind(tmp_path / "root")
    for each in path.parent.iterdir():
        each.write_bytes(each.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"none of 3 pictures can be read; the first: .*a\.png"), leaving_out([]):
        open_data()


@pytest.mark.parametrize("kind", KINDS)
def test_frames_behind_the_first_are_told(tmp_path, kind):
    path, open_data = kind(tmp_path / "root")
    frames = [Image.new("RGB", (48, 40), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    notes = [note for note in open_data().problems if "frames or pages" in note]
    assert len(notes) == 1 and "1 (b.png) of 3 pictures have several frames or pages; the first of each is" in notes[0]


def test_a_damaged_label_picture_is_left_out_with_its_photograph(tmp_path):
    path, open_data = damaged_folders(tmp_path / "root")
    path = path.parent.parent / "labels/b.png"
    path.write_bytes(path.read_bytes()[:50])
    failed = []
    with leaving_out(failed):
        data = open_data()
    assert len(failed) == 1 and "labels/b.png" in failed[0]
    assert [data[i]["id"] for i in range(len(data))] == ["a", "c"]
