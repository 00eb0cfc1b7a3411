"""scripts.predict --write: files of COCO's and VOC's form for what is found."""

import json
import shutil

import numpy as np
import pytest

from datasets import COCODetection, VOCDetection, decode_rle
from datasets.results import read_coco_results
from scripts.predict import main
from scripts.result_files import ResultFiles
from vision.segmentation.task import select_pixels

CLASSES = ("circle", "square", "triangle")


def test_boxes_in_both_forms_are_those_of_predictions_json(trained, voc, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = (trained, voc / "JPEGImages", "--out", out, "--threshold", 0, "--write", "coco", "voc")
    assert main([*arguments]) == 0
    assert "6 pictures, coco_results.json, coco_instances.json, Annotations and predictions.json are in" in (
        capsys.readouterr().out
    )
    records = json.loads((out / "predictions.json").read_text())
    results = read_coco_results(out / "coco_results.json", [1, 2, 3])
    coco = COCODetection(out / "coco_instances.json", voc / "JPEGImages")
    shutil.copytree(voc / "JPEGImages", out / "JPEGImages")
    data = VOCDetection(out, "predicted", CLASSES)
    assert coco.classes == CLASSES and len(coco) == len(data) == len(results) == 6
    for i, record in enumerate(records, 1):
        (thing,) = record["found"]
        assert results[i]["labels"].tolist() == [thing["label"]]
        np.testing.assert_allclose(results[i]["boxes"], [thing["box"]], atol=0.0051)
        np.testing.assert_array_equal(coco[i - 1]["boxes"], results[i]["boxes"])
        wide = [min(x2 - x1, y2 - y1) > 1 for x1, y1, x2, y2 in results[i]["boxes"]]  # VOC has no box of one pixel
        np.testing.assert_allclose(data[i - 1]["boxes"], results[i]["boxes"][wide], atol=0.0051)


def test_ids_of_an_annotation_file(trained, voc, tmp_path, error_of, capsys):
    images = [{"id": 10 * k, "file_name": f"val/{k}.jpg"} for k in range(5)]
    categories = [{"id": 5 * k + 9, "name": name} for k, name in enumerate(CLASSES)]
    ids = tmp_path / "instances.json"
    ids.write_text(json.dumps({"images": images, "categories": categories, "annotations": []}))
    arguments = (trained, voc / "JPEGImages", "--out", tmp_path / "out", "--threshold", 0, "--write", "coco")
    assert main([*arguments, "--coco-ids", ids]) == 1  # 5.jpg is not listed
    assert f"5.jpg: {ids} lists no image of this name" in capsys.readouterr().err
    rows = json.loads((tmp_path / "out/coco_results.json").read_text())
    assert [row["image_id"] for row in rows] == [0, 10, 20, 30, 40]
    assert {row["category_id"] for row in rows} <= {9, 14, 19}
    ids.write_text(json.dumps({"images": images, "categories": categories[:2], "annotations": []}))
    assert "has no category 'triangle', a class of the model" in error_of(main, *arguments, "--coco-ids", ids)
    assert "--coco-ids goes with --write coco" in error_of(main, *arguments[:-1], "voc", "--coco-ids", ids)


def test_labels_of_pixels(tmp_path):
    labels = np.random.default_rng(0).integers(-1, 2, (20, 30))
    files = ResultFiles(["coco"], "segmentation", ("sky", "road"))
    files.add(tmp_path / "a.jpg", "a", (20, 30), {"labels": labels, "scores": np.ones((20, 30))}, tmp_path)
    assert files.finish(tmp_path) == ["coco_results.json", "coco_instances.json"]
    rows = json.loads((tmp_path / "coco_results.json").read_text())
    for c, row in enumerate(rows):
        assert (row["category_id"], row["score"]) == (c + 1, 1)
        np.testing.assert_array_equal(decode_rle(row["segmentation"]), labels == c)


def test_objects_of_pixels(tmp_path):
    """Two squares that touch, the second half below the threshold, and a third wholly: two masks, none of the rest."""
    instances = np.zeros((6, 20), int)
    instances[1:5, 2:6], instances[1:5, 6:10], instances[1:5, 12:16] = 1, 2, 3
    scores = np.where(instances == 2, 0.5, 0.75)
    scores[1:3, 6:10] = scores[instances == 3] = 0.25
    ids = tmp_path / "ids.json"
    categories, images = [{"id": 7, "name": "nucleus"}], [{"id": 9, "file_name": "a.jpg"}]
    ids.write_text(json.dumps({"images": images, "categories": categories, "annotations": []}))
    files = ResultFiles(["coco"], "segmentation", ("background", "nucleus"), ids)
    found = select_pixels({"labels": np.minimum(instances, 1), "scores": scores, "instances": instances}, 0.4)
    files.add(tmp_path / "a.jpg", "a", (6, 20), found, tmp_path)
    files.finish(tmp_path)
    rows = json.loads((tmp_path / "coco_results.json").read_text())
    assert [(row["image_id"], row["category_id"], row["score"]) for row in rows] == [(9, 7, 0.75), (9, 7, 0.5)]
    for k, row in enumerate(rows, 1):
        np.testing.assert_array_equal(decode_rle(row["segmentation"]), (instances == k) & (scores > 0.4))
    data_set = json.loads((tmp_path / "coco_instances.json").read_text())
    assert data_set["categories"] == categories
    assert [row["bbox"] for row in data_set["annotations"]] == [[2, 1, 4, 4], [6, 3, 4, 2]]


def test_a_form_that_a_task_does_not_have():
    with pytest.raises(ValueError, match="--write voc is for detection and instances; this model is for segmentation"):
        ResultFiles(["voc"], "segmentation", ("sky",))
    with pytest.raises(ValueError, match="--write coco is for detection and instances and segmentation; this model"):
        ResultFiles(["coco"], "captioning", ("a",))
