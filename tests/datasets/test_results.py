"""Results files: what is written is read back, here and by pycocotools where it is installed."""

import json
from contextlib import redirect_stdout

import numpy as np
import pytest
from PIL import Image

from datasets import COCODetection, VOCDetection, mask_boxes, read_annotation
from datasets.results import coco_areas, coco_data_set, coco_results, read_coco_results, voc_annotation

H, W, IDS = 40, 56, [7, 90]
IMAGES = [{"id": i, "file_name": f"{i}.png", "height": H, "width": W} for i in (3, 5)]


def found(seed, masks=False):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 20, (4, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(2, 20, (4, 2))], axis=1).astype(np.float32)
    things = {"boxes": boxes, "labels": np.array([1, 2, 2, 1]), "scores": rng.random(4).astype(np.float32)}
    if masks:
        things["masks"] = rng.random((4, H, W)) < 0.3
        things["boxes"] = mask_boxes(things["masks"])
    return things


def equal(read, written):
    assert read.keys() == written.keys()
    for key, value in written.items():
        np.testing.assert_array_equal(read[key], value)


@pytest.mark.parametrize("masks", [False, True])
def test_coco_results_are_read_back_bit_by_bit(tmp_path, masks):
    written = {3: found(0, masks), 5: found(1, masks)}
    rows = [row for id, things in written.items() for row in coco_results(id, IDS, things)]
    (tmp_path / "results.json").write_text(json.dumps(rows))
    read = read_coco_results(tmp_path / "results.json", IDS)
    assert list(read) == [3, 5]
    for id, things in written.items():
        equal(read[id], things)


@pytest.mark.parametrize("masks", [False, True])
def test_as_a_data_set(tmp_path, masks):
    for image in IMAGES:
        Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(tmp_path / image["file_name"])
    things = found(2, masks)
    content = coco_data_set(IMAGES, {7: "cat", 90: "dog"}, coco_results(5, IDS, things))
    (tmp_path / "instances.json").write_text(json.dumps(content))
    data = COCODetection(tmp_path / "instances.json", tmp_path)
    assert data.classes == ("cat", "dog") and len(data) == 2 and not len(data[0]["boxes"])
    for key in ("boxes", "labels", *(["masks"] if masks else [])):
        np.testing.assert_array_equal(data[1][key], things[key])


def test_areas_of_pixels():
    labels = np.random.default_rng(0).integers(-1, 3, (H, W))
    scores = np.random.default_rng(1).random((H, W))
    rows = coco_areas(3, [4, 5, 6], {"labels": labels, "scores": scores})
    data_set = coco_data_set(IMAGES, {4: "a", 5: "b", 6: "c"}, rows)
    assert [(row["category_id"], row["area"]) for row in data_set["annotations"]] == [
        (4 + c, int((labels == c).sum())) for c in range(3)
    ]
    assert rows[1]["score"] == pytest.approx(scores[labels == 1].mean())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools itself
@pytest.mark.parametrize("masks", [False, True])
def test_pycocotools_reads_them(masks):
    pycocotools = pytest.importorskip("pycocotools.coco")
    things = found(4, masks)
    rows = coco_results(3, IDS, things)
    truth = pycocotools.COCO()
    truth.dataset = coco_data_set(IMAGES, {7: "cat", 90: "dog"}, rows)
    with redirect_stdout(None):
        truth.createIndex()
        loaded = truth.loadRes(json.loads(json.dumps(rows)))
    own = loaded.loadAnns(loaded.getAnnIds(imgIds=[3]))
    for i, (x1, y1, x2, y2) in enumerate(things["boxes"].tolist()):
        np.testing.assert_allclose(own[i]["bbox"], [x1, y1, x2 - x1, y2 - y1])
        if masks:
            np.testing.assert_array_equal(loaded.annToMask(own[i]), things["masks"][i])


def test_voc_annotations_are_read_back(tmp_path):
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / part).mkdir(parents=True)
    things, names = found(3), ["cat", "<dog> & हिन्दी", "cat", "cat"]
    Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(tmp_path / "JPEGImages/a b.png")
    (tmp_path / "Annotations/a b.xml").write_bytes(voc_annotation("a b.png", (H, W), names, things["boxes"]))
    (tmp_path / "ImageSets/Main/predicted.txt").write_text("a b\n")
    size, objects = read_annotation(tmp_path / "Annotations/a b.xml")
    assert size == (H, W) and [each.name for each in objects] == names
    (sample,) = VOCDetection(tmp_path, "predicted", ["cat", names[1]])
    np.testing.assert_allclose(sample["boxes"], things["boxes"], atol=0.0051)
    whole = voc_annotation("a.png", (H, W), ["cat"], np.array([[0, 0, W, H]]))
    assert b"<xmin>1.00</xmin>" in whole and b"<xmax>56.00</xmax>" in whole


@pytest.mark.parametrize(
    "rows, message",
    [
        ({}, "results must be a list, got object"),
        ([{"image_id": 1, "category_id": 8, "bbox": [0, 0, 1, 1], "score": 1}], "there is no category 8 among"),
        ([{"image_id": 1, "category_id": 7, "bbox": [0, 0, 1], "score": 1}], r"must have a bbox \[x, y, width"),
        ([{"image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 1]}], "must have a score that is a number, got None"),
        (
            [{"image_id": 1, "category_id": 7, "segmentation": {"size": [2, 2], "counts": [3]}, "score": 1}],
            r"results\[0\]: segmentation: the counts of an RLE of 2x2 pixels must add up to 4, got 3",
        ),
    ],
)
def test_bad_results(tmp_path, rows, message):
    (tmp_path / "results.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=message):
        read_coco_results(tmp_path / "results.json", IDS)
