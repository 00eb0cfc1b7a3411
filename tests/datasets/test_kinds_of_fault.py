"""Faults of data sets in COCO's and YOLO's form and as folders of classes: read rightly, noted, or refused by name."""

import json
import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from datasets import ClassFolders, VOCDetection, YOLODetection, open_coco
from datasets.captions import ListedCaptions
from datasets.segmentation_folders import LabelledFolders

W, H = 60, 40
DECOMPOSED = unicodedata.normalize("NFD", "élève 1.JPG")


def picture(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    Image.fromarray(values).save(path, **options)


def turned(orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


def coco(root, file_name="a.jpg", boxes=((1, 1, 10, 10),), kept_as=None, names=("cat",), image=None, bom=b"", **more):
    """A data set of one picture; objects take the categories in turn."""
    image = dict(image or {})
    picture(root / "images" / (kept_as or "a.jpg"), **{key: image.pop(key) for key in ("exif",) if key in image})
    content = {
        "images": [{"id": 1, "file_name": file_name} | image],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, 1)],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1 + (i - 1) % len(names), "bbox": list(box), "area": 9.0} | more
            for i, box in enumerate(boxes, 1)
        ],
    }
    (root / "instances_train.json").write_bytes(bom + json.dumps(content, ensure_ascii=False).encode())
    return open_coco(root)


@pytest.mark.parametrize(
    "given",
    [
        {"file_name": "élève 1.JPG", "kept_as": DECOMPOSED},
        {"file_name": DECOMPOSED, "kept_as": "élève 1.JPG", "bom": b"\xef\xbb\xbf"},
        {"file_name": "images\\a.jpg"},
        {"file_name": "C:\\Users\\me\\data\\images\\a.jpg"},
        {"file_name": "/home/me/a.jpg"},
        {"iscrowd": "0"},
        {"file_name": "day 1/a.b.webp", "kept_as": "day 1/a.b.webp"},
    ],
)
def test_coco_is_read(tmp_path, given):
    data = coco(tmp_path, **given)
    assert data.problems == [] and data[0]["boxes"].tolist() == [[1, 1, 11, 11]]


@pytest.mark.parametrize(
    "given, note",
    [
        (
            {"boxes": [(0.1, 0.1, 0.5, 0.5), (3, 3, 20, 20)]},
            r"\[0.1, 0.1, 0.5, 0.5\] looks like fractions of the image",
        ),
        ({"iscrowd": 1}, "all 1 objects are marked difficult or crowd, so none counts"),
        (
            {"names": ("Car", "car"), "boxes": [(1, 1, 9, 9)] * 2},
            "'Car' .1 times. and 'car' .1 times. are written almost",
        ),
        ({"image": {"exif": turned(3)}}, "EXIF turns 1 .a.jpg. of 1 pictures"),
        ({"boxes": ()}, "none of 1 pictures has an object"),
        ({"boxes": [(30, 5, 58, 39), (20, 20, 50, 38)]}, "all would lie inside as x1 y1 x2 y2, COCO has x y w h"),
        ({"boxes": [(3, 3, 0, 20), (3, 3, 5, 5)]}, r"\[3, 3, 0, 20\] has no area: dropped"),
    ],
)
def test_coco_is_noted(tmp_path, given, note):
    assert any(re.search(note, line) for line in coco(tmp_path, **given).problems)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"kept_as": "a.jpeg"}, "did you mean .*a.jpeg .with another ending.?"),
        ({"file_name": "http://x.org/a.jpg"}, "did you mean .*images/a.jpg .in another folder.?"),
        ({"file_name": ""}, r"images\[0\] must have 'file_name', text, got an empty one"),
        ({"names": ("cat", "cat")}, "an id or a name comes twice, the name 'cat'; give each once"),
        ({"names": ("",)}, r"categories\[0\] must have 'name', text, got an empty one"),
        ({"boxes": [(1, 1, 10**400, 4)]}, r"annotation 1 of image 1: bbox must be \[x, y, width, height\], got"),
        ({"iscrowd": "perhaps"}, "annotation 1 of image 1: iscrowd must be 0 or 1, got 'perhaps'"),
        ({"image_id": "1"}, "annotations.0.: there is no image '1' under 'images', but 1: write ids in one way"),
        ({"category_id": 2}, "annotations.0.: there is no category 2 under 'categories', only 1"),
        ({"file_name": "A.JPG"}, "did you mean .*images/a.jpg .in another case.?"),
        ({"boxes": [(0.1, 0.1, 0.5, 0.5)]}, "all 1 boxes are dropped, the first because: .* looks like fractions"),
        (
            {"image": {"exif": turned(6), "width": W, "height": H}},
            "EXIF turns this picture, and the size is that of the",
        ),
        ({"boxes": [(3, 3, 10, float("nan"))]}, r"annotation 1 of image 1: bbox must be \[x, y, width, height\], got"),
        ({"segmentation": [[1, 1, 5, 5]]}, "segmentation must be a list of polygons"),
        ({"segmentation": {"size": [H, W - 1], "counts": [H * (W - 1)]}}, "the RLE is of 59x40 pixels, wanted 60x40"),
    ],
)
def test_coco_is_refused(tmp_path, given, message):
    sized = {"image": {"width": W, "height": H}} if "segmentation" in given else {}
    with pytest.raises(ValueError, match=message):
        coco(tmp_path, **sized, **given)


def yolo(root, lines="0 0.5 0.5 0.2 0.2\n", names="names: [cat, dog]", kept_as="a.jpg", text="a.txt"):
    picture(root / "images/train" / kept_as)
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/train" / text).write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    (root / "data.yaml").write_text(f"train: images/train\n{names}\n")
    return YOLODetection(root)


@pytest.mark.parametrize(
    "given",
    [
        {"lines": b"\xef\xbb\xbf0 0.5 0.5 0.2 0.2\r\n\r\n"},
        {"lines": "0.0  0.5\t0.5 0.2 0.2"},
        {"kept_as": "a.WebP"},
        {"text": "A.txt"},
        {"kept_as": "élève 1.jpg", "text": unicodedata.normalize("NFD", "élève 1.txt")},
    ],
)
def test_yolo_is_read(tmp_path, given):
    data = yolo(tmp_path, **given)
    assert data.problems == [] and data[0]["boxes"].tolist() == [[24, 16, 36, 24]] and data.counts["cat"] == 1


@pytest.mark.parametrize(
    "given, message",
    [
        ({"lines": "0 30 20 10 10\n"}, "all 1 boxes are dropped, the first because: .* looks like pixels"),
        ({"lines": "0 0.5 0.5 0 0.2\n"}, "all 1 boxes are dropped, the first because: .* has no area"),
        ({"lines": "7 0.5 0.5 0.2 0.2\n"}, "has no class 7, only 0 cat, 1 dog"),
        ({"lines": "cat 0.5 0.5 0.2 0.2\n"}, "must hold numbers with spaces between them, the first a class index"),
        ({"lines": "0,0.5,0.5,0.2,0.2\n"}, "must hold numbers with spaces between them"),
        ({"lines": "0 0.5 0.5 0.2 0.2 0.93\n"}, "got 6 values: .*; is the last one a score?"),
        ({"lines": "0 0.5 0.5 0.2 nan\n"}, "must be class cx cy w h"),
        ({"names": "nc: 3\nnames: [cat, dog]"}, "nc is 3, but there are 2 names"),
    ],
)
def test_yolo_is_refused(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        yolo(tmp_path, **given)


def test_yolo_pictures_of_one_name_and_hidden_files(tmp_path):
    yolo(tmp_path)
    (tmp_path / "images/train/._a.jpg").write_bytes(b"of another system")
    assert len(YOLODetection(tmp_path)) == 1
    picture(tmp_path / "images/train/a.png")
    with pytest.raises(ValueError, match=r"a.png: a.jpg has the same name; keep one of them"):
        YOLODetection(tmp_path)


def folders(root, **counts):
    for name, count in counts.items():
        for i in range(count):
            picture(root / name.replace("__", "/") / f"{i}.jpg")
    return root


def test_splits_in_another_case_are_splits(tmp_path):
    folders(tmp_path, Train__cat=3, Train__dog=2, VAL__cat=1, Testing__dog=1)
    assert [len(ClassFolders(tmp_path, split)) for split in ("train", "val", "test")] == [5, 1, 1]
    assert ClassFolders(tmp_path).classes == ("cat", "dog")


def test_an_empty_folder_of_a_class_is_noted(tmp_path):
    (folders(tmp_path, train__cat=2, val__cat=1) / "train/dog").mkdir()
    (tmp_path / "train/.ipynb_checkpoints").mkdir()
    assert any("1 folders hold no picture: dog" in line for line in ClassFolders(tmp_path).problems)


def test_folders_of_composed_and_decomposed_names_are_one_class(tmp_path):
    folders(tmp_path, **{unicodedata.normalize("NFD", "train__élève"): 2, "val__élève": 1})
    assert ClassFolders(tmp_path, "train", ["élève"]).counts == {"élève": 2}
    with pytest.raises(ValueError, match="has no folder of the class 'Élève'; did you mean 'élève'?"):
        ClassFolders(tmp_path, "train", ["Élève"])
    with pytest.raises(ValueError, match="has no folder of the split 'test', but train, val"):
        ClassFolders(tmp_path, "test")


@pytest.mark.parametrize(
    ("made", "opened", "message"),
    [
        (["images/a.jpg", "labels/"], "folders", "labels: holds no picture a, named .*; the folder is empty"),
        (["images/", "labels/a.png"], "folders", "images: holds no picture a, named .*; the folder is empty"),
        (
            ["images/train/a.jpg", "labels/train/"],
            "yolo",
            "such as .*a.txt; add .*; the folder .*labels/train is empty",
        ),
        (["images/train/a.jpg"], "yolo", "such as .*a.txt; add .*; the folder .*labels/train is not there"),
        (["JPEGImages/a.jpg", "Annotations/"], "voc", "Annotations: holds no .xml file; add one for each photograph"),
        (
            ["images/a.jpg"],
            "captions",
            "captions.json: there is no such file; give the folder .*: none",
        ),
        (["cat/", "dog/"], "class_folders", "holds no folder with pictures; give each class a folder"),
    ],
)
def test_empty_folders_are_named(tmp_path, made, opened, message):
    for name in made:
        (tmp_path / name).mkdir(parents=True) if name.endswith("/") else picture(tmp_path / name)
    for name, text in (("classes.txt", "a\n"), ("data.yaml", "names: [a]\n"), ("ImageSets/Main/train.txt", "a\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    readers = {
        "folders": LabelledFolders, "yolo": YOLODetection, "voc": VOCDetection, "captions": ListedCaptions,
        "class_folders": ClassFolders,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        readers[opened](tmp_path, "train")


def labelled(root, count):
    for i in range(count):
        picture(root / f"images/{i}.jpg")
        picture(root / f"labels/{i}.png")
        Image.fromarray(np.arange(H * W, dtype=np.uint8).reshape(H, W) % 2).save(root / f"labels/{i}.png")
    (root / "classes.txt").write_text("sky\nroad\n")
    return root


def test_few_pictures_without_lists(tmp_path):
    """One of two is for validation; of one none is."""
    for count in (2, 4, 5):
        root = labelled(tmp_path / str(count), count)
        assert [len(LabelledFolders(root, split)) for split in ("train", "val")] == [count - 1, 1]
    with pytest.raises(ValueError, match="1: too few photographs: none is left for val; add some"):
        LabelledFolders(labelled(tmp_path / "1", 1), "val")


def test_a_comma_too_many_in_json(tmp_path):
    (tmp_path / "instances_train.json").write_text('{"images": [{"id": 1},], "annotations": []}')
    with pytest.raises(ValueError, match="not readable as JSON .*is there a comma too many before it"):
        open_coco(tmp_path)


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        ("1 .5 .5 .2 .2", "no object has the class 0, cat; do the lines count the classes from 1?"),
        ("0 .5 .5 .9 .9\n1 .6 .6 .95 .95\n0 .8 .8 1 1", "all would fit as x1 y1 x2 y2, but YOLO has cx cy w h"),
    ],
)
def test_implausible_lines_of_yolo_are_noted(tmp_path, lines, note):
    picture(tmp_path / "images/train/a.jpg")
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text(lines)
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
    assert note in " ".join(YOLODetection(tmp_path, "train").problems)
    (tmp_path / "labels/train/a.txt").write_text("0 .5 .5 .2 .2\n1 .7 .7 .2 .2\n")
    assert YOLODetection(tmp_path, "train").problems == []


@pytest.mark.parametrize(
    ("yaml", "labels", "message"),
    [
        ("names: [cat, '']", "a.txt", "data.yaml: names: the class 1 has an empty name"),
        (None, "classes.txt", "has no data.yaml and no classes.txt; copy .*labels/train/classes.txt there"),
        ("names: [cat, dog]", "a.txt", "has no class 2, only 0 cat, 1 dog; indices count from 0"),
    ],
)
def test_names_of_yolo(tmp_path, yaml, labels, message):
    picture(tmp_path / "images/train/a.jpg")
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train" / labels).write_text("2 .5 .5 .2 .2\n")
    if yaml:
        (tmp_path / "data.yaml").write_text(yaml)
    with pytest.raises(ValueError, match=message):
        YOLODetection(tmp_path, "train")


def test_an_object_of_voc_without_a_box(tmp_path):
    picture(tmp_path / "JPEGImages/a.jpg")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\n")
    text = '\n<?xml version="1.0"?><annotation><object><name>cat</name>{}</object></annotation>'
    (tmp_path / "Annotations/a.xml").write_text(text.format("<polygon><x1>1</x1></polygon>"))
    with pytest.raises(ValueError, match=r"a.xml: object 1, cat, has no <bndbox>; it has <polygon>: draw a box around"):
        VOCDetection(tmp_path, "train", ["cat"])
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    (tmp_path / "Annotations/a.xml").write_text(text.format(f"<bndbox>{box}</bndbox>"))  # a line before <?xml
    assert VOCDetection(tmp_path, "train", ["cat"])[0]["boxes"].tolist() == [[0, 0, 9, 9]]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS: run git lfs pull"),
        (b"\0\0\0\x18ftypheic", "HEIC or AVIF"),
        (b"%PDF-1.4", "a PDF"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, content, kind):
    picture(tmp_path / "cat/a.jpg")
    (tmp_path / "cat/b.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=rf"b.jpg: not an image, or of a kind unknown to Pillow \({kind}\); save it"):
        ClassFolders(tmp_path, "train")


def test_pictures_of_kinds_that_are_not_read_are_counted(tmp_path):
    picture(tmp_path / "train/cat/a.jpg")
    (tmp_path / "train/cat/b.heic").touch()
    (note,) = [line for line in ClassFolders(tmp_path, "trainval").problems if "not read" in line]
    assert note.endswith("1 files are of kinds that are not read (first: cat/b.heic); save them as JPEG or PNG")


def test_label_pictures_with_longer_names(tmp_path):
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "labels/a_mask.png")
    (tmp_path / "classes.txt").write_text("a\n")
    with pytest.raises(ValueError, match="give both one name, or write pairs into train.txt and val.txt: a.jpg a_"):
        LabelledFolders(tmp_path, "train")
