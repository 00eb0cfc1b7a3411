import json

import numpy as np
import pytest
from PIL import Image

from datasets import Shapes
from nn.io.checkpoint import read_checkpoint, write_checkpoint
from scripts.evaluate import main
from scripts.train import main as train
from vision import TASKS, Preprocess
from vision.detection import Detector
from vision.detection.task import (
    describe_detections,
    detect,
    detection_table,
    evaluate_detector,
    select_detections,
)

PREPROCESS = Preprocess(short_side=60, max_side=1000, mean=0, std=1)


class Perfect(Detector):
    """Predicts the objects of each image, in the pixels of the network's input; gets the samples in their order."""

    def __init__(self, data):
        super().__init__(data.classes, None, PREPROCESS)
        self.samples = iter([data[i] for i in range(len(data))])

    def predict(self, images, image_sizes):
        sample = next(self.samples)
        (h, w), (network_h, network_w) = sample["image"].shape[:2], images.shape[2:]
        assert min(network_h, network_w) == 60
        scale = np.array([network_w / w, network_h / h] * 2, np.float32)
        return [
            {"boxes": sample["boxes"] * scale, "labels": sample["labels"], "scores": np.ones(len(sample["labels"]))}
        ]


def test_boxes_are_in_the_pixels_of_the_original_image():
    data = Shapes(4, (41, 97))
    model = Perfect(data)
    for i in range(4):
        found = detect(model, data[i])
        np.testing.assert_allclose(found["boxes"], data[i]["boxes"], atol=1e-3)
        assert found["boxes"].dtype == np.float32


def test_boxes_that_stick_out_are_clipped_to_the_image():
    class Wild(Detector):
        def predict(self, images, image_sizes):
            return [{"boxes": np.array([[-10, -20, 1e4, 1e4]]), "labels": np.array([1]), "scores": np.array([1.0])}]

    sample = Shapes(1, (40, 80))[0]
    np.testing.assert_allclose(detect(Wild("abc", None, PREPROCESS), sample)["boxes"], [[0, 0, 80, 40]])


def test_a_perfect_detector_has_ap_1_and_a_blind_one_0():
    data = Shapes(6, (48, 64))
    metrics = evaluate_detector(Perfect(data), data)
    assert metrics["AP50"] == metrics["AP50_11point"] == metrics["coco"]["AP"] == metrics["coco"]["AR_100"] == 1
    assert metrics["images"] == 6
    assert metrics["images_per_second"] > 0
    labels = np.concatenate([data[i]["labels"][~data[i]["difficult"]] for i in range(6)])
    assert [row["objects"] for row in metrics["classes"].values()] == [(labels == k).sum() for k in (1, 2, 3)]

    class Blind(Detector):
        def predict(self, images, image_sizes):
            return [{"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, int), "scores": np.zeros(0)}]

    assert evaluate_detector(Blind(data.classes, None, PREPROCESS), data)["AP50"] == 0


def test_a_class_without_objects_is_null_in_json_and_a_dash_in_the_table():
    class Circles(list):
        classes = ("circle", "unicorn")

    data = Circles(Shapes(2, (48, 64), classes=("circle",))[i] for i in range(2))
    metrics = evaluate_detector(Perfect(data), data)
    assert metrics["classes"]["unicorn"] == {"objects": 0, "AP50": None, "AP50_11point": None, "AP": None}
    assert metrics["AP50"] == 1
    json.dumps(metrics, allow_nan=False)
    line = next(line for line in detection_table(metrics).splitlines() if line.startswith("unicorn"))
    assert line.split() == ["unicorn", "0", "-", "-", "-"]


def test_table():
    row = {"objects": 12, "AP50": 0.5, "AP50_11point": 0.5454, "AP": 0.25}
    metrics = {"AP50": 0.5, "AP50_11point": 0.5454, "classes": {"cat": row}, "images": 3, "images_per_second": 2.25}
    metrics["coco"] = {"AP": 0.25, "AP50": 0.5, "AP_small": None, "AR_1": 0.125, "AR_small": None}
    assert detection_table(metrics).splitlines() == [
        "class  objects  AP50 (area)  AP50 (11-point)  AP (COCO)",
        "cat         12        0.500            0.545      0.250",
        "mean        12        0.500            0.545      0.250",
        "COCO: AP 0.250, AP50 0.500, AP_small -",
        "COCO: AR_1 0.125, AR_small -",
        "3 images, 2.2 images/s",
    ]


def test_select_and_describe():
    found = {
        "boxes": np.array([[0, 0, 1, 1], [1, 2, 3.123456, 4], [5, 5, 6, 6]], np.float32),
        "labels": np.array([1, 2, 1]),
        "scores": np.array([0.5, 0.91234567, 0.49]),
    }
    assert describe_detections(select_detections(found, 0.5), ["cat", "dog"]) == [
        {"class": "dog", "label": 2, "score": 0.9123, "box": [1.0, 2.0, 3.12, 4.0]},
        {"class": "cat", "label": 1, "score": 0.5, "box": [0.0, 0.0, 1.0, 1.0]},
    ]


def test_a_run_on_its_validation_data(trained, tmp_path, capsys):
    """The script gives the same metrics as the log of the run."""
    assert main([trained / "last.npz", "--json", tmp_path / "new" / "a.json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{trained / 'last.npz'}, step 12, on shapes, split val\nclass ")
    assert "3 images, " in out
    metrics = json.loads((tmp_path / "new" / "a.json").read_text())
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    logged = records[-1]["metrics"]
    del metrics["images_per_second"], logged["images_per_second"]
    assert metrics == logged


def test_a_checkpoint_that_holds_only_a_model(trained, tmp_path, capsys):
    arrays, meta = read_checkpoint(trained / "best.npz")
    write_checkpoint(tmp_path / "model.npz", arrays, {"model": meta["model"]})
    assert main([tmp_path / "model.npz", "--shapes-val", 2]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'model.npz'}, on shapes, split val\n")


def test_a_run_folder_means_its_best(trained, capsys):
    assert main([trained]) == 0
    assert str(trained / "best.npz") in capsys.readouterr().out


def test_pictures_of_curves_and_kinds_of_errors(trained, tmp_path, capsys, monkeypatch):
    """Nothing is predicted a second time for them."""
    seen, own = [], Detector.detect
    monkeypatch.setattr(Detector, "detect", lambda *inputs: seen.append(inputs) or own(*inputs))
    assert main([trained, "--out", tmp_path / "pictures"]) == 0
    assert len(seen) == 3
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"precision_recall.png", "errors.png", "kinds_of_errors.txt"}
    assert "kinds_of_errors.txt are in" in capsys.readouterr().out


def test_a_task_without_pictures_of_its_own_shows_predictions(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "detection", TASKS["detection"]._replace(pictures=None))
    assert main([trained, "--out", tmp_path / "pictures"]) == 0
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["predictions.png"]


def test_pictures_that_fail_do_not_lose_the_metrics(trained, tmp_path, monkeypatch, capsys):
    def pictures(model, data, failed, found):
        raise ValueError("no disk")

    monkeypatch.setitem(TASKS, "detection", TASKS["detection"]._replace(pictures=pictures))
    assert main([trained, "--out", tmp_path / "pictures", "--json", tmp_path / "found.json"]) == 2
    assert "no disk" in capsys.readouterr().err
    assert json.loads((tmp_path / "found.json").read_text())["images"] == 3


def test_other_splits_and_sizes(trained, capsys):
    assert main([trained, "--split", "test", "--shapes-val", 2]) == 0
    out = capsys.readouterr().out
    assert "split test" in out
    assert "2 images, " in out


def test_labels_are_in_the_order_of_the_model_s_classes(on_voc, voc, tmp_path, capsys):
    """Trained with classes dog, cat; the data alone would have cat, dog."""
    assert train([*on_voc, "--classes", "dog", "cat"]) == 0
    capsys.readouterr()
    assert main([tmp_path / "run/last.npz"]) == 0
    first = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:4]]
    assert first == ["dog", "cat"]
    assert main([tmp_path / "run/last.npz", "--classes", "cat", "dog"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:4]] == ["dog", "cat"]


def test_a_split_without_objects(on_voc, voc, tmp_path):
    for k in (4, 5):
        (voc / f"Annotations/{k}.xml").write_text("<annotation></annotation>")
    assert train(list(on_voc)) == 0
    assert main([tmp_path / "run", "--json", tmp_path / "found.json"]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["AP50"] is None


def damage(path, how):
    """Cut a picture off, or damage it in its midst, where no header tells."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] if how == "cut" else whole[:middle] + bytes(200) + whole[middle + 200 :])


@pytest.fixture
def pngs(voc):
    """`voc` with lossless pictures, in which every damage is found."""
    for path in (voc / "JPEGImages").iterdir():
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    return voc


@pytest.mark.parametrize("how", ["cut", "middle"])
def test_a_bad_picture_does_not_cost_the_others(on_voc, pngs, tmp_path, capsys, how):
    assert train(list(on_voc)) == 0
    damage(pngs / "JPEGImages/4.png", how)
    capsys.readouterr()
    assert main([tmp_path / "run", "--json", tmp_path / "found.json"]) == 1
    out, err = capsys.readouterr()
    assert "1 image, " in out
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert lines[0] == "could not be evaluated: 1 of 2"
    assert len(lines) == 2 and lines[1].startswith(f"  {pngs / 'JPEGImages/4.png'}: the image cannot be decoded")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["images"] == 1
    assert len(found["left_out"]) == 1 and "4.png" in found["left_out"][0]


@pytest.mark.parametrize("how", ["cut", "middle"])
def test_where_all_pictures_are_bad(on_voc, pngs, tmp_path, error_of, how):
    assert train(list(on_voc)) == 0
    for k in (4, 5):
        damage(pngs / f"JPEGImages/{k}.png", how)
    error = error_of(main, tmp_path / "run")
    assert "none of 2 " in error and "4.png: the image cannot be decoded" in error


def test_a_picture_that_the_network_cannot_take(on_voc, voc, tmp_path, capsys):
    """Header and pixels are in order; the network has nothing left of it."""
    assert train(list(on_voc)) == 0
    Image.new("RGB", (2000, 9)).save(voc / "JPEGImages/4.jpg")
    (voc / "Annotations/4.xml").write_text("<annotation></annotation>")
    capsys.readouterr()
    assert main([tmp_path / "run"]) == 1
    err = capsys.readouterr().err
    assert "could not be evaluated: 1 of 2\n  4: " in err


def test_help(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert leaving.value.code == 0
    assert "python -m scripts.evaluate runs/first" in capsys.readouterr().out
