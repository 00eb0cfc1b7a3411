"""Readers of captions: on folders made here, and on real photographs where they are."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import COCOCaptions, Flickr8kCaptions, ListedCaptions

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def images(tmp_path):
    """A folder with 5.jpg, 7.jpg and 9.jpg, as wide as twice their name says."""
    folder = tmp_path / "images"
    folder.mkdir()
    for k in (5, 7, 9):
        Image.fromarray(np.full((8, 2 * k, 3), 10 * k, np.uint8)).save(folder / f"{k}.jpg")
    return folder


def coco(folder, /, **changes):
    """The data set of a COCO file, with some of its lists changed."""
    content = {
        "images": [{"id": k, "file_name": f"{k}.jpg"} for k in (7, 5)],
        "annotations": [
            {"id": 1, "image_id": 5, "caption": "A  small\nbear. "},
            {"id": 2, "image_id": 7, "caption": "A dog"},
            {"id": 4, "image_id": 5, "caption": "Brown"},
        ],
    }
    path = folder.parent / "captions_val.json"
    path.write_text(json.dumps(content | changes))
    return COCOCaptions(path, folder)


def listed(images, *entries, split="train"):
    content = [
        {"id": 5, "file": "5.jpg", "split": "train", "captions": ["A bear", "Brown"]},
        {"id": 7, "file": "7.jpg", "split": "test", "captions": ["A dog"]},
    ]
    (images.parent / "captions.json").write_text(json.dumps([*content, *entries]))
    return ListedCaptions(images.parent, split)


TOKENS = "5.jpg#1\tBrown\n5.jpg#0\tA bear .\n7.jpg#0\tA dog\n\ngone.jpg.1#0\tA cat\n"


def flickr(images, tokens=TOKENS, names="7.jpg\n5.jpg\n"):
    (images.parent / "tokens.txt").write_text(tokens)
    (images.parent / "list.txt").write_text(names or "")
    return Flickr8kCaptions(images.parent / "tokens.txt", images, images.parent / "list.txt" if names else None)


def test_coco_samples(images):
    data = coco(images)
    assert [(sample["id"], sample["caption"]) for sample in data] == [
        ("7", ["A dog"]),
        ("5", ["A small bear.", "Brown"]),
    ]
    assert data.captions == [["A dog"], ["A small bear.", "Brown"]]
    assert data[1]["image"].shape == (8, 10, 3)
    assert data[1]["image"].dtype == np.uint8
    data[1]["caption"].clear()
    assert data[-1]["caption"] == ["A small bear.", "Brown"]
    with pytest.raises(IndexError):
        data[2]


def test_listed_samples(images):
    assert [(s["id"], s["caption"], s["image"].shape[1]) for s in listed(images)] == [("5", ["A bear", "Brown"], 10)]
    assert [(s["id"], s["caption"]) for s in listed(images, split="test")] == [("7", ["A dog"])]


def test_flickr_samples(images):
    data = flickr(images)
    assert [(s["id"], s["caption"]) for s in data] == [("7.jpg", ["A dog"]), ("5.jpg", ["A bear .", "Brown"])]
    assert len(flickr(images, "9.jpg#0\tA\n7.jpg#3\tB\n", names=None)) == 2


def test_text_is_composed_and_read_whatever_its_encoding(images):
    content = [{"id": 5, "file": "e\u0301.jpg", "split": "train", "captions": ["un e\u0301le\u0300ve \u2028 la\x0c"]}]
    (images / "5.jpg").rename(images / "\xe9.jpg")
    for encoding, ascii_only in (("utf-8-sig", True), ("utf-16", False)):
        (images.parent / "captions.json").write_text(json.dumps(content, ensure_ascii=ascii_only), encoding=encoding)
        data = ListedCaptions(images.parent)
        assert data.captions == [["un \xe9l\xe8ve la"]] and data.problems == []
        assert data[0]["image"].shape == (8, 10, 3)


def test_names_with_spaces_and_folders(images):
    (images / "my dogs").mkdir()
    (images / "5.jpg").rename(images / "my dogs" / "a dog.jpg")
    data = flickr(images, "my dogs/a dog.jpg#0\tA dog\u2028 runs .\n", "my dogs/a dog.jpg\n")
    assert data.captions == [["A dog runs ."]]
    assert data[0]["id"] == "my dogs/a dog.jpg"


def test_captions_without_spaces_are_a_note(images):
    (note,) = listed(images, ONE | {"captions": ["\u72d7\u5728\u8dd1\u3002"]}).problems
    assert "1 captions are written without spaces between words (first: \u72d7" in note


ONE = {"id": 9, "file": "9.jpg", "split": "train", "captions": ["A"]}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda f: coco(f, images=None), r"captions_val\.json: images must be a list, got nothing"),
        (lambda f: coco(f, images=[{"id": 7.5}]), r"images\[0\] must have 'id', whole number or text, got number"),
        (lambda f: coco(f, images=[{"id": 7}]), r"images\[0\] must have 'file_name', text, got nothing"),
        (lambda f: coco(f, images=[3]), r"images\[0\] must have 'id', whole number or text, got nothing"),
        (lambda f: coco(f, annotations={}), "annotations must be a list, got object"),
        (lambda f: coco(f, images=[{"id": 5, "file_name": "5.jpg"}]), r"annotations\[1\]: there is no image 7 under"),
        (
            lambda f: coco(f, annotations=[{"id": 1, "image_id": 5, "caption": "A"}] * 2),
            r"annotations\[1\]: the id 1 comes twice",
        ),
        (
            lambda f: coco(f, annotations=[{"id": 1, "image_id": 5, "caption": "A"}]),
            r"image 7 \(7\.jpg\) has no caption",
        ),
        (
            lambda f: coco(f, annotations=[{"id": k, "image_id": k, "caption": " \n"} for k in (5, 7)]),
            r"image 7: caption 1 is empty; got ' \\n', wanted words",
        ),
        (
            lambda f: coco(
                f,
                images=[{"id": 5, "file_name": "5.jpg"}] * 2,
                annotations=[{"id": 1, "image_id": 5, "caption": "A"}],
            ),
            r"image 5 \(5\.jpg\) is listed twice",
        ),
        (lambda f: coco(f, images=[], annotations=[]), r"captions_val\.json: lists no image"),
        (lambda f: listed(f, split="val"), r"captions\.json: has no split 'val', but test, train"),
        (lambda f: listed(f, ONE | {"captions": []}), r"image 9 \(9\.jpg\) has no caption; add one or remove"),
        (lambda f: listed(f, ONE | {"captions": ["A", ""]}), r"image 9: caption 2 is empty"),
        (lambda f: listed(f, ONE | {"captions": ["A", " . "]}), r"image 9: caption 2 has no words; got ' \. ', wanted"),
        (lambda f: listed(f, ONE | {"file": "../9.jpg"}), r"'\.\./9\.jpg' leads out of .*images"),
        (lambda f: listed(f, ONE | {"file": "9.png"}), r"9\.png: .* did you mean .*9\.jpg \(with another ending\)\?"),
        (lambda f: listed(f, ONE | {"captions": ["A", 3]}), r"image 9: caption 2 is no text; got 3, wanted words"),
        (lambda f: listed(f, ONE | {"captions": "A"}), r"the list\[2\] must have 'captions', list, got text"),
        (lambda f: listed(f, ONE, ONE), r"image 9 \(9\.jpg\) is listed twice"),
        (lambda f: listed(f, ONE, ONE | {"id": 8}), r"image 8 \(9\.jpg\) is listed twice"),
        (lambda f: listed(f, ONE | {"file": "8.jpg"}), r"8\.jpg: there is no such image file"),
        (
            lambda f: flickr(f, "5.jpg\tA bear\n"),
            r"tokens\.txt: line 1: must be name\.jpg#0, a tab and a caption, got '5",
        ),
        (lambda f: flickr(f, "7.jpg#0\tA\n5.jpg#0 A bear\n"), "line 2: must be name.jpg#0"),
        (lambda f: flickr(f, "5.jpg#0\tA\n5.jpg#0\tB\n"), r"line 2: 5\.jpg#0 comes twice"),
        (lambda f: flickr(f, "5.jpg#0\t\n", "5.jpg"), r"list\.txt: image 5\.jpg: caption 1 is empty"),
        (lambda f: flickr(f, names="9.jpg"), r"list\.txt, line 1: 9\.jpg has no caption in .*tokens\.txt"),
        (lambda f: flickr(f, names="5.jpg 5.jpg"), r"image 5\.jpg .* is listed twice"),
        (lambda f: flickr(f, names=" "), r"list\.txt: the list is empty"),
        (lambda f: flickr(f, names=None), r"gone\.jpg\.1: there is no such image file"),
        (lambda f: Flickr8kCaptions(f / "no.txt", f), r"no\.txt: there is no such file"),
        (lambda f: Flickr8kCaptions(f / "5.jpg", f), r"5\.jpg, line 1: not a text file in UTF-8 \(byte 0xff at 0\)"),
        (lambda f: Flickr8kCaptions(f, f), "images: is a folder; give a text file"),
        (lambda f: COCOCaptions(f / "no.json", f), r"no\.json: there is no such file"),
        (lambda f: COCOCaptions(f / "no.json", f / "none"), "none: there is no such folder"),
        (
            lambda f: ListedCaptions(f),
            r"captions\.json: there is no such file; give the folder that holds captions\.json",
        ),
    ],
)
def test_what_is_wrong_is_named(images, read, message):
    with pytest.raises(ValueError, match=message):
        read(images)


@pytest.mark.parametrize("content", ["", "{", '{"images": [}', "[1, 2"])
def test_damaged_json(images, content):
    (images.parent / "captions.json").write_text(content)
    with pytest.raises(ValueError, match=r"captions\.json: not readable as JSON"):
        ListedCaptions(images.parent)
    with pytest.raises(ValueError, match=r"captions\.json: not readable as JSON"):
        COCOCaptions(images.parent / "captions.json", images)


def test_coco_must_be_an_object(images):
    (images.parent / "captions.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold an object with 'images' and 'annotations', is a list"):
        COCOCaptions(images.parent / "captions.json", images)


def test_damaged_images_are_found_at_once(images):
    os.truncate(images / "5.jpg", 100)
    with pytest.raises(ValueError, match=r"5\.jpg: "):
        coco(images)


def test_real_photographs():
    root = DATA / "coco_captions_open"
    if not root.is_dir():
        pytest.skip(f"needs {root}")
    data = {split: ListedCaptions(root, split) for split in ("train", "val", "test")}
    assert {split: len(d) for split, d in data.items()} == {"train": 593, "val": 80, "test": 80}
    assert sum(len(captions) for d in data.values() for captions in d.captions) == 3767
    assert data["train"][0]["caption"][1] == "The large brown bear has a black nose."
    assert data["train"][0]["image"].shape == (192, 176, 3)
