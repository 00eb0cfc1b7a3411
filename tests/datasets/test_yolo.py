"""YOLO's text files, in every layout, and data.yaml in the forms that tools write."""

import numpy as np
import pytest
from PIL import Image

from datasets import YOLODetection
from datasets.yolo_config import read_config

H, W = 40, 50
ROWS = "0 0.5 0.5 0.4 0.5\n1 0.1 0.2 0.2 0.4\n"  # (15, 10, 35, 30), (0, 0, 10, 16)


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (H, W, 3), dtype=np.uint8)).save(path)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def simple(root, rows=ROWS, yaml="names: [cat, dog]\ntrain: images/train\nval: images/val\n", name="a"):
    picture(root / f"images/train/{name}.png")
    if rows is not None:
        text(root / f"labels/train/{name}.txt", rows)
    text(root / "data.yaml", yaml)
    return root


def test_boxes(tmp_path):
    data = YOLODetection(simple(tmp_path))
    assert data.classes == ("cat", "dog") and data.counts == {"cat": 1, "dog": 1} and data.problems == []
    sample = data[0]
    np.testing.assert_array_equal(sample["boxes"], [[15, 10, 35, 30], [0, 0, 10, 16]])
    np.testing.assert_array_equal(sample["labels"], [1, 2])
    assert sample["id"] == "images/train/a" and sample["image"].shape == (H, W, 3)
    assert "masks" not in sample and not sample["difficult"].any()
    np.testing.assert_array_equal(YOLODetection(tmp_path / "data.yaml")[0]["boxes"], sample["boxes"])


@pytest.mark.parametrize("size", [(640, 480), (1921, 1083), (333, 7)])
def test_whole_pixels_come_back_from_six_decimals(tmp_path, size):
    w, h = size[0], max(size[1], 8)
    rng, boxes, rows = np.random.default_rng(w), [], ""
    for _ in range(200):
        x1, x2 = np.sort(rng.choice(w + 1, 2, replace=False)).tolist()
        y1, y2 = np.sort(rng.choice(h + 1, 2, replace=False)).tolist()
        boxes.append((x1, y1, x2, y2))
        rows += f"0 {(x1 + x2) / 2 / w:.6f} {(y1 + y2) / 2 / h:.6f} {(x2 - x1) / w:.6f} {(y2 - y1) / h:.6f}\n"
    simple(tmp_path, rows)
    Image.new("RGB", (w, h)).save(tmp_path / "images/train/a.png")
    read = YOLODetection(tmp_path)[0]["boxes"]
    np.testing.assert_array_equal(read, np.array(list(dict.fromkeys(boxes)), np.float32))


def test_polygons_have_masks(tmp_path):
    sample = YOLODetection(simple(tmp_path, "1 0.2 0.1 0.6 0.1 0.6 0.5 0.2 0.5\n"))[0]
    np.testing.assert_array_equal(sample["boxes"], [[10, 4, 30, 20]])
    wanted = np.zeros((1, H, W), bool)
    wanted[0, 4:20, 10:30] = True
    np.testing.assert_array_equal(sample["masks"], wanted)
    data = YOLODetection(simple(tmp_path, "1 0.2 0.1 0.6 0.1 0.6 0.5 0.2 0.5\n0 0.5 0.5 0.4 0.5\n"))
    assert "masks" not in data[0]
    assert data.problems == [f"{tmp_path}: 1 of 2 objects are polygons, the others boxes: no masks are made"]


def test_key_points(tmp_path):
    yaml = "kpt_shape: [2, 3]\nflip_idx: [1, 0]\nnames: [cat, dog]\ntrain: images/train\n"
    data = YOLODetection(simple(tmp_path, "0 0.5 0.5 0.4 0.5 0.5 0.25 2 0.1 0.1 0\n", yaml))
    np.testing.assert_array_equal(data[0]["keypoints"], [[[25, 10, 2], [0, 0, 0]]])
    assert data.horizontal_order == (1, 0)
    data = YOLODetection(simple(tmp_path, "0 0.5 0.5 0.4 0.5 0.5 0.25 0 0\n", yaml.replace("2, 3", "2, 2")))
    np.testing.assert_array_equal(data[0]["keypoints"], [[[25, 10, 2], [0, 0, 0]]])


def test_classes_pick_and_order(tmp_path):
    data = YOLODetection(simple(tmp_path), classes=["dog"])
    np.testing.assert_array_equal(data[0]["labels"], [1])
    np.testing.assert_array_equal(YOLODetection(tmp_path, classes=["dog", "cat"])[0]["labels"], [2, 1])
    with pytest.raises(ValueError, match=r"data\.yaml: has no class 'cow'; there are cat, dog"):
        YOLODetection(tmp_path, classes=["cow"])


@pytest.mark.parametrize(
    "pictures, labels",
    [
        ("images/train", "labels/train"),
        ("train/images", "train/labels"),
        ("train", "train"),
        ("train", "labels/train"),
        ("Images/train", "Labels/train"),
    ],
)
def test_layouts_without_yaml(tmp_path, pictures, labels):
    picture(tmp_path / pictures / "my cat.1.JPG")
    text(tmp_path / labels / "my cat.1.txt", ROWS)
    text(tmp_path / "classes.txt", "cat\ndog\n\n")
    if pictures == "Images/train":
        text(tmp_path / "train.txt", "Images\\train\\my cat.1.JPG")
    data = YOLODetection(tmp_path)
    assert data.classes == ("cat", "dog") and len(data[0]["boxes"]) == 2


def test_lists(tmp_path):
    for name in ("a", "b c", "d"):
        picture(tmp_path / f"images/{name}.jpg")
        text(tmp_path / f"labels/{name}.txt", ROWS)
    text(tmp_path / "classes.txt", "cat\ndog")
    text(tmp_path / "train.txt", f"./images/b c.jpg\n{tmp_path}/images/a.jpg\n/home/me/set/images/d.jpg\n")
    assert [data["id"] for data in YOLODetection(tmp_path)] == ["images/b c", "images/a", "images/d"]
    text(tmp_path / "train.txt", "../images/a.jpg\n")
    with pytest.raises(ValueError, match=r"train\.txt, line 1: '\.\./images/a\.jpg' leads out of"):
        YOLODetection(tmp_path)
    with pytest.raises(ValueError, match=r"has no split 'val' \(in data\.yaml, images/val, .*\), but train"):
        YOLODetection(tmp_path, "val")


def test_one_folder_for_all(tmp_path):
    for k in range(11):
        picture(tmp_path / f"{k:02}.jpg")
        text(tmp_path / f"{k:02}.txt", ROWS)
    text(tmp_path / "classes.txt", "cat\ndog")
    train, val = YOLODetection(tmp_path), YOLODetection(tmp_path, "val")
    assert len(train) == 9 and [sample["id"] for sample in val] == ["04", "09"]
    assert val.problems == [
        f"{tmp_path}: has no data.yaml, lists or folders of splits; 2 pictures, chosen by name, are val"
    ]


@pytest.mark.parametrize(
    "path",
    ["images/train", "./images/train/", "../images/train", "../mine/images/train", "/content/mine/images/train",
     "C:\\mine\\images\\train", "[images/train]", "\n  - images/train", "train.txt"],
)  # fmt: skip
def test_paths_of_data_yaml(tmp_path, path):
    simple(tmp_path, yaml=f"path: ../datasets/mine\ntrain: {path}\nval: {path}\nnames:\n  0: cat\n  1: dog\n")
    text(tmp_path / "train.txt", "images/train/a.png")
    assert len(YOLODetection(tmp_path)) == len(YOLODetection(tmp_path, "val")) == 1


def test_path_of_data_yaml_goes_before(tmp_path):
    simple(tmp_path, yaml="path: mine\ntrain: images/train\nnames: [cat, dog]\n")
    picture(tmp_path / "mine/images/train/b.png")
    text(tmp_path / "mine/labels/train/b.txt", ROWS)
    assert YOLODetection(tmp_path)[0]["id"] == "mine/images/train/b"


def test_a_folder_outside_is_refused(tmp_path):
    simple(tmp_path / "in", yaml="train: ../out\nnames: [cat, dog]\n")
    picture(tmp_path / "out/b.png")
    with pytest.raises(ValueError, match=r"data\.yaml: '\.\./out' is not in .*in; paths are relative"):
        YOLODetection(tmp_path / "in")


@pytest.mark.parametrize(
    "yaml, names",
    [
        ("names: [cat, 'a dog', \"it's, so\"]", ["cat", "a dog", "it's, so"]),
        ("names:\n  - cat # not dog\n  - 'a # dog'\n", ["cat", "a # dog"]),
        ("names:\n- cat\n- 2\n", ["cat", "2"]),
        ("names: [cat,\n        dog, # here\n  Rubik's cube,\n]\nnc: 3", ["cat", "dog", "Rubik's cube"]),
        ("# comment\n---\nnames: {0: cat, 1: dog}", ["cat", "dog"]),
        ("names:\n  0: cat\n  1: 'no'\n\n\ndownload: |\n  from x import y\n\n  if a: b\nnc: 2", ["cat", "no"]),
        ("\ufeffnames: ['\xe9t\xe9']\r\n", ["\xe9t\xe9"]),
        ("names: ['e\u0301']", ["\xe9"]),
    ],
)
def test_names_in_yaml(tmp_path, yaml, names):
    (tmp_path / "data.yaml").write_bytes(yaml.encode())
    assert list(read_config(tmp_path / "data.yaml").names.values()) == names


def test_names_may_have_gaps(tmp_path):
    data = YOLODetection(simple(tmp_path, "7 0.5 0.5 0.4 0.5\n", "train: images/train\nnames:\n  2: cat\n  7: dog\n"))
    assert data.classes == ("cat", "dog") and data[0]["labels"].tolist() == [2]


@pytest.mark.parametrize(
    "yaml, message",
    [
        ("train: images", r"data\.yaml: must have the class names, as in names: \[cat, dog\]"),
        ("names: cat", "must have the class names"),
        ("names: []", "must have the class names"),
        ("names: [cat, dog", r"line 1: the list of 'names' has no end"),
        ("names: {a: cat}", "names must be a list, or indices with names, got a"),
        ("names:\n  cat dog\n", r"line 2: must be indices and names, as in 0: cat"),
        ("just words\n", r"line 1: must be a key and a value"),
        ("names: [a, b]\nnc: 3", r"nc is 3, but there are 2 names \(a, b\)"),
        ("names: [a, b]\nkpt_shape: [x, 3]", "kpt_shape must be a list of whole numbers"),
        ("names: [a, a]\ntrain: images/train", "data.yaml: the class 'a' comes twice"),
        ("names: [a, b]\ntrain: {a: b}", "train must be a folder, a list of pictures, or several"),
    ],
)
def test_bad_yaml(tmp_path, yaml, message):
    with pytest.raises(ValueError, match=message):
        YOLODetection(simple(tmp_path, yaml=yaml))


@pytest.mark.parametrize(
    "rows, message",
    [
        ("0 0.5 0.5 0.4\n", r"a\.txt, line 1: must be class cx cy w h, or class and three or more corners x y, got 4"),
        ("\n0 0.5 0.5 0.4 0.5 0.9\n", r"a\.txt, line 2: must be class cx cy w h"),
        ("0 0.5 0.5 0.4 0.5 0.9 0.1 0.3\n", "got 8 values"),
        ("0 0.5 0.5 0.4 nan\n", "must be class cx cy w h"),
        ("cat 0.5 0.5 0.4 0.5\n", r"a\.txt, line 1: must hold numbers with spaces between them, .*got 'cat 0\.5"),
        ("0,0.5,0.5,0.4,0.5\n", "must hold numbers"),
        ("2 0.5 0.5 0.4 0.5\n", r"data\.yaml has no class 2, only 0 cat, 1 dog"),
        ("0.5 0.5 0.5 0.4 0.5\n", r"has no class 0\.5"),
        ("-1 0.5 0.5 0.4 0.5\n", "has no class -1"),
        ("0 25 20 10 10\n", r"all 1 boxes are dropped, .* looks like pixels, where fractions of the image are wanted"),
        ("0 0.5 0.5 0 0.5\n", r"all 1 boxes are dropped, .*cat \(0\.5 0\.5 0 0\.5\) has no area"),
        (b"0 0.5\xff", r"a\.txt, line 1: not a text file"),
    ],
)
def test_bad_lines(tmp_path, rows, message):
    simple(tmp_path, "")
    (tmp_path / "labels/train/a.txt").write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    with pytest.raises(ValueError, match=message) as error:
        YOLODetection(tmp_path)
    assert "\n" not in str(error.value)


def test_notes(tmp_path):
    simple(tmp_path, ROWS + ROWS + "0 0.9 0.5 0.4 0.5\n1 20 20 5 5\n")
    picture(tmp_path / "images/train/b.png", 1)
    text(tmp_path / "labels/train/other.txt", ROWS)
    data = YOLODetection(tmp_path)
    assert len(data) == 2 and len(data[1]["boxes"]) == 0
    assert data.problems == [
        f"{tmp_path}: 1 text files have no picture (first: labels/train/other.txt)",
        f"{tmp_path}: 1 of 2 pictures have no text file, and so no objects",
        f"{tmp_path}: 2 lines repeat another of the same file and are left out",
        f"{tmp_path}/labels/train/a.txt: cat (0.9 0.5 0.4 0.5) sticks out of the 50x40 image: clipped",
        f"{tmp_path}/labels/train/a.txt: dog (20 20 5 5) looks like pixels, where fractions of the image are wanted: "
        "dropped",
    ]


def test_no_labels_at_all(tmp_path):
    simple(tmp_path, None)
    with pytest.raises(
        ValueError, match=r"none of 1 pictures has a text file such as .*labels/train/a\.txt; add the te"
    ):
        YOLODetection(tmp_path)
    text(tmp_path / "annotations/a.txt", ROWS)
    with pytest.raises(ValueError, match=r"did you mean .*annotations/a\.txt \(in another folder\)\?"):
        YOLODetection(tmp_path)


def test_missing_things(tmp_path):
    with pytest.raises(ValueError, match="nowhere: there is no such folder; give the one that holds images and labels"):
        YOLODetection(tmp_path / "nowhere")
    picture(tmp_path / "images/a.png")
    with pytest.raises(ValueError, match=r"has no data\.yaml and no classes\.txt; .* \(files there: none\)"):
        YOLODetection(tmp_path)
    text(tmp_path / "classes.txt", "cat\n\ndog")
    with pytest.raises(ValueError, match=r"classes\.txt: must hold a class name in every line"):
        YOLODetection(tmp_path)
