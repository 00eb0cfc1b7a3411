"""COCO's JSON: on files made here, on real photographs, and against pycocotools where it is installed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import COCODetection, open_coco, read_coco
from datasets.rle import encode, runs

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[3] / "shared" / "data"))
H, W = 24, 32
SQUARE = [4.0, 2.0, 10.0, 2.0, 10.0, 12.0, 4.0, 12.0]
CATEGORIES = [{"id": 90, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 17, "name": "owl"}]


def box(id, image, category, bbox, **more):
    return {"id": id, "image_id": image, "category_id": category, "bbox": bbox, "area": bbox[2] * bbox[3]} | more


CROWD = np.zeros((H, W), bool)
CROWD[5:9, 20:30] = True
ANNOTATIONS = [
    box(1, 7, 90, [4, 2, 6, 10], segmentation=[SQUARE], iscrowd=0, area=55.5),
    box(2, 7, 3, [20, 5, 10, 4], segmentation={"size": [H, W], "counts": runs(CROWD)}, iscrowd=1),
    box(3, 5, 17, [1.25, 2.5, 8, 9], segmentation=[]),
]


def write(root, name="instances.json", pictures=(7, 5, 2), folder="images", **changes):
    (root / folder).mkdir(parents=True, exist_ok=True)
    for k in pictures:
        values = np.random.default_rng(k).integers(0, 256, (H, W, 3), dtype=np.uint8)
        Image.fromarray(values).save(root / folder / f"{k}.png")
    images = [{"id": k, "file_name": f"{k}.png", "width": W, "height": H} for k in pictures]
    content = {"images": images, "annotations": ANNOTATIONS, "categories": CATEGORIES} | changes
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content), encoding="utf-8-sig")
    return root


def read(root, classes=None, **options):
    return COCODetection(root / "instances.json", root / "images", classes, **options)


def test_samples(tmp_path):
    data = read(write(tmp_path))
    assert data.classes == ("dog", "owl", "cat") and data.category_ids == (3, 17, 90)  # by id
    assert data.image_ids == [7, 5, 2]
    assert data.counts == {"dog": 0, "owl": 1, "cat": 1}
    sample = data[0]
    assert sample["id"] == "7" and sample["image"].shape == (H, W, 3)
    np.testing.assert_array_equal(sample["boxes"], [[4, 2, 10, 12], [20, 5, 30, 9]])
    np.testing.assert_array_equal(sample["labels"], [3, 1])
    np.testing.assert_array_equal(sample["crowd"], [False, True])
    np.testing.assert_array_equal(sample["difficult"], [False, True])
    np.testing.assert_array_equal(sample["area"], [55.5, 40])
    square = np.zeros((H, W), bool)
    square[2:12, 4:10] = True
    np.testing.assert_array_equal(sample["masks"], [square, CROWD])
    assert [sample[key].dtype for key in ("boxes", "labels", "area")] == [np.float32, np.int64, np.float64]
    np.testing.assert_array_equal(data[1]["boxes"], [[1.25, 2.5, 9.25, 11.5]])
    assert data[1]["masks"][0].sum() == 8 * 9  # the pixels of the box
    assert data[2]["boxes"].shape == (0, 4) and data[2]["masks"].shape == (0, H, W)
    assert data.problems == [f"{data.source}: 1 of 3 objects have no segmentation; their boxes are their masks"]


def test_packed_rle(tmp_path):
    packed = [box(1, 7, 3, [20, 5, 10, 4], segmentation=encode(CROWD))]
    np.testing.assert_array_equal(read(write(tmp_path, annotations=packed))[0]["masks"], [CROWD])


def test_classes_pick_and_order(tmp_path):
    data = read(write(tmp_path), ["cat", "dog"])
    assert data.category_ids == (90, 3) and len(data) == 3
    np.testing.assert_array_equal(data[0]["labels"], [1, 2])
    assert len(data[1]["boxes"]) == 0  # the owl is left out, its image is not
    assert "masks" not in read(tmp_path, masks=False)[0]
    with pytest.raises(ValueError, match=r"has no category 'Cat'; did you mean 'cat'\? there are dog, owl, cat"):
        read(tmp_path, ["Cat"])


def test_key_points(tmp_path):
    names = ["nose", "left_eye", "right_eye"]
    categories = [{"id": 3, "name": "dog", "keypoints": names, "skeleton": [[1, 2], [1, 3]]}, {"id": 4, "name": "car"}]
    annotations = [
        box(1, 7, 3, [4, 2, 6, 10], keypoints=[5, 6, 2, 7.5, 8, 1, 9, 9, 0]),
        box(2, 7, 4, [4, 2, 6, 10]),
    ]
    data = read(write(tmp_path, categories=categories, annotations=annotations))
    assert data.keypoint_names == tuple(names)
    assert data.horizontal_order == (0, 2, 1)
    assert data.skeleton == ((0, 1), (0, 2))
    wanted = [[[5, 6, 2], [7.5, 8, 1], [0, 0, 0]], np.zeros((3, 3))]
    np.testing.assert_array_equal(data[0]["keypoints"], wanted)
    assert data[1]["keypoints"].shape == (0, 3, 3)
    assert read(tmp_path, ["car"]).joints == 0


@pytest.mark.parametrize(
    "file, images",
    [
        ("annotations/instances_train.json", "train"),
        ("annotations/instances_train.json", "images/train"),
        ("instances_train.json", "images"),
        ("train/_annotations.coco.json", "train"),
        ("train.json", "."),
    ],
)
def test_layouts(tmp_path, file, images):
    data = open_coco(write(tmp_path, file, folder=images), "train")
    assert len(data) == 3 and data[0]["image"].shape == (H, W, 3)


def test_other_names_of_val(tmp_path):
    assert len(open_coco(write(tmp_path, "valid/_annotations.coco.json", folder="valid"), "val")) == 3


def test_one_file_for_all(tmp_path):
    write(tmp_path, pictures=range(1, 12), annotations=[box(1, 1, 3, [1, 1, 9, 9]), box(2, 5, 3, [1, 1, 9, 9])])
    train, val = open_coco(tmp_path, "train"), open_coco(tmp_path, "val")
    assert len(train) == 9 and len(val) == 2
    assert sorted(train.image_ids + val.image_ids) == list(range(1, 12))
    assert "one file holds all images; 2 of them, chosen by name, are val" in val.problems[0]
    with pytest.raises(
        ValueError, match=r"has no annotations/instances_test\.json .*; JSON files there: instances\.json"
    ):
        open_coco(tmp_path, "test")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"annotations": [box(1, 8, 3, [1, 1, 2, 2])]}, r"annotations\[0\]: there is no image 8 under 'images'"),
        ({"annotations": [box(1, 7, 4, [1, 1, 2, 2])]}, r"annotations\[0\]: there is no category 4 under 'categories'"),
        ({"annotations": [box(1, 7, 3, [1, 1, 2, 2])] * 2}, r"annotations\[1\]: the id 1 comes twice"),
        (
            {"annotations": [box([1], 7, 3, [1, 1, 2, 2])]},
            r"annotations\[0\]: must have an id that is whole number or text",
        ),
        ({"annotations": [{"image_id": 7, "category_id": 3}]}, r"annotations\[0\] must have 'bbox', list, got nothing"),
        (
            {"annotations": [box(1, 7, 3, [1, 1, 2, 2]) | {"bbox": [1, 2, 3]}]},
            r"annotation 1 of image 7: bbox must be \[",
        ),
        ({"annotations": [box(1, 7, 3, [1, 1, 2, float("nan")])]}, "bbox must be .*, got .*nan"),
        (
            {"annotations": [box(1, 7, 3, [1, 1, 2, 2], segmentation=[[1, 2, 3, 4]])]},
            "segmentation must be a list of pol",
        ),
        ({"annotations": [box(1, 7, 3, [1, 1, 2, 2], segmentation=[1, 2, 3, 4, 5, 6])]}, "segmentation must be a list"),
        ({"annotations": [box(1, 7, 3, [1, 1, 2, 2], segmentation="a.png")]}, "segmentation must be .*, got 'a.png'"),
        (
            {"annotations": [box(1, 7, 3, [1, 1, 2, 2], segmentation={"size": [W, H], "counts": [W * H]})]},
            "annotation 1 of image 7: segmentation: the RLE is of 24x32 pixels, wanted 32x24",
        ),
        ({"categories": [CATEGORIES[0]] * 2}, "categories: an id or a name comes twice"),
        ({"categories": {}}, "categories must be a list, got object"),
        (
            {"categories": [{"id": 1.0, "name": "a"}]},
            r"categories\[0\] must have 'id', whole number or text, got number",
        ),
        ({"images": [{"id": 7, "file_name": "7.png"}] * 2}, "images: an id comes twice"),
        ({"images": [{"id": k, "file_name": "7.png"} for k in (7, 5)]}, r"images: 7\.png is listed twice"),
        ({"images": []}, "lists no picture"),
        (
            {"images": [{"id": 7, "file_name": "7.jpg"}, {"id": 5, "file_name": "none.png"}]},
            r"7\.jpg: there is no such image file; did you mean .*7\.png .*\? \(and 1 more of 2 images\)",
        ),
        ({"images": [{"id": k, "file_name": "../7.png"} for k in (7, 5)]}, "leads out of"),
        (
            {
                "images": [{"id": k, "file_name": f"{k}.png", "width": H, "height": W} for k in (7, 5)],
                "annotations": [],
            },
            r"instances\.json, image 7: says that 7\.png is 24x32, but it is 32x24",
        ),
        ({"annotations": [box(1, 7, 3, [0.1, 0.1, 0.5, 0.6])]}, "all 1 boxes are dropped, .* fractions of the image"),
        ({"annotations": [box(1, 7, 3, [9, 9, 0, 5])]}, r"all 1 boxes are dropped, .* dog \[9, 9, 0, 5\] has no area"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        read(write(tmp_path, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("points", [[1, 2], [1, 2, 3], [1, 2, 0.5], [1, 2, "2"]])
def test_wrong_key_points(tmp_path, points):
    categories = [{"id": 3, "name": "dog", "keypoints": ["nose"]}]
    with pytest.raises(ValueError, match=r"keypoints must be x, y, v of each of 1|v of a key point must be 0"):
        read(write(tmp_path, categories=categories, annotations=[box(1, 7, 3, [1, 1, 2, 2], keypoints=points)]))


def test_notes(tmp_path):
    annotations = [{k: v for k, v in box(i, 7, 3, [12, 12, 20, 22]).items() if k != "area"} for i in (1, 2)]
    write(
        tmp_path,
        annotations=[*annotations, box(3, 7, 90, [9, 9, 0.5, 9])],
        categories=[*CATEGORIES, {"id": 1, "name": "Dog"}],
    )
    notes = " ".join(read(tmp_path).problems)
    for words in (
        "2 of 3 objects have no area; that of their boxes is taken",
        "1 boxes are narrower or lower than a pixel",
        "the classes 'Dog' (0 times) and 'dog' (2 times) are written almost alike",
        "sticks out of the 32x24 image: clipped",
    ):
        assert words in notes
    write(tmp_path, annotations=annotations)
    assert "all would lie inside as x1 y1 x2 y2, COCO has x y w h" in " ".join(read(tmp_path).problems)


def test_file_names_with_folders_and_other_unicode_forms(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(tmp_path / "images" / "sub" / "e\u0301.png")
    images, annotations = [{"id": "a", "file_name": "sub\\\xe9.png"}], [box("x", "a", 3, [1, 1, 5, 5])]
    data = read(write(tmp_path, pictures=(), images=images, annotations=annotations))
    assert data[0]["id"] == "a" and data.image_ids == ["a"]


def test_content_is_an_object(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(
        ValueError, match="must hold an object with 'images', 'annotations' and 'categories', is a list"
    ):
        read_coco(tmp_path / "a.json")


def test_real_photographs():
    root = DATA / "coco_det_open"
    if not root.is_dir():
        pytest.skip(f"needs {root}")
    data = COCODetection(root / "instances.json", root / "images")
    assert len(data) == 125 and len(data.classes) == 80
    assert sum(len(item.things) for item in data.items) == 1143
    assert sum(item.arrays["crowd"].sum() for item in data.items) == 14
    assert data.counts["person"] + data.counts["car"] >= 320
    persons = open_coco(DATA / "coco_open", "persons_train", ["person"])
    assert len(persons) == 213 and persons[0]["keypoints"].shape == (1, 17, 3)
    assert persons.horizontal_order == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools itself
def test_real_masks_against_pycocotools():
    reference, root = pytest.importorskip("pycocotools.mask"), DATA / "coco_det_open"
    if not root.is_dir():
        pytest.skip(f"needs {root}")
    data = COCODetection(root / "instances.json", root / "images")
    for i in range(0, len(data), 5):
        sample, things, (h, w) = data[i], data.items[i].things, data.items[i].size
        for mask, thing in zip(sample["masks"], things):
            if thing.shape:
                wanted = reference.decode(reference.merge(reference.frPyObjects(thing.shape, h, w)))
                np.testing.assert_array_equal(mask, wanted.astype(bool))


@pytest.mark.parametrize("skeleton", [7, "nose", {"a": 1}, [[1, 2, 3], "x", None], [[1e400, 2]]])
def test_a_skeleton_that_is_none_is_left_out(tmp_path, skeleton):
    categories = [{"id": 3, "name": "dog", "keypoints": ["nose", "tail"], "skeleton": skeleton}]
    annotations = [box(1, 7, 3, [1, 1, 9, 9], keypoints=[1, 2, 2, 3, 4, 1])]
    data = read(write(tmp_path, categories=categories, annotations=annotations))
    assert data.skeleton == () and data.keypoint_names == ("nose", "tail")


def test_a_polygon_that_reaches_far_is_not_walked(tmp_path):
    """Its boundary would have 10^11 steps."""
    far = [[2.0, 2.0, 1e10, 2.0, 8.0, 9.0]]
    data = read(write(tmp_path, annotations=[box(1, 7, 3, [2, 2, 6, 7], segmentation=far)]))
    assert "the polygon of dog reaches far outside: its box is taken" in data.problems[-1]
    wanted = np.zeros((H, W), bool)
    wanted[2:9, 2:8] = True
    np.testing.assert_array_equal(data[0]["masks"], [wanted])


OUTSIDE = "the polygon of dog lies outside of the image"


@pytest.mark.parametrize(
    "shape, doubt",
    [
        ([[W, 2, W + 9.5, 2, W + 9, 9], [W + 3, 0, W + 5, 0, W + 4, 4]], OUTSIDE),
        ([[2, -9, 8, -9, 8, 0]], OUTSIDE),
        ({"size": [H, W], "counts": [H * W]}, "the RLE of dog has no pixel"),
        (encode(np.zeros((H, W), bool)), "the RLE of dog has no pixel"),
    ],
)
def test_masks_outside_the_image(tmp_path, shape, doubt):
    data = read(write(tmp_path, annotations=[box(1, 7, 3, [2, 2, 6, 7], segmentation=shape)]))
    assert data.problems[-1] == f"{data.source}, image 7: {doubt}: its box is taken"
    assert data[0]["masks"].sum() == 6 * 7
    inside = [[W, 2, W + 9, 2, W + 9, 9], [2, 2, 8, 2, 8, 9]]  # one of two parts
    data = read(write(tmp_path, annotations=[box(1, 7, 3, [2, 2, 6, 7], segmentation=inside)]))
    assert not data.problems and 0 < data[0]["masks"].sum() < 6 * 7


def test_an_rle_of_another_size_than_the_picture(tmp_path):
    """Where the file does not state the size, that of the picture counts."""
    images = [{"id": 7, "file_name": "7.png"}]
    annotations = [box(1, 7, 3, [2, 2, 6, 7], segmentation=encode(np.ones((H, W - 1), bool)))]
    with pytest.raises(ValueError, match=f"image 7: the segmentation of dog: the RLE is of {W - 1}x{H} pixels, wanted"):
        read(write(tmp_path, images=images, annotations=annotations))
