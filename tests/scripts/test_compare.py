"""scripts.compare: refusals before training, and its table where runs differ."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from scripts import compare, train
from scripts.compare_systems import parse_system
from scripts.run_folder import write_config

SCENES = ("--shapes-train", 8, "--shapes-val", 3, "--shapes-size", 32, 40)
SMALLEST = "unet_small:width=2,depth=1,short_side=16,max_side=20"
PASSED = ("--", *SCENES, "--epochs", 1, "--pictures", 0, "--evaluate-every", 0)


def test_a_net_starts_from_the_coarser_one(tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(train, "main", lambda arguments: given.append(arguments) or 1)
    system = parse_system("fcn16s_small:width=2", "segmentation")
    args = SimpleNamespace(run_dir=tmp_path, proposals=None, systems=["fcn32s_small:width=2"], task="segmentation")
    compare.run(system, 3, args, [])
    assert "--pretrained" not in given[0] and "fcn32s_small has not been trained" in capsys.readouterr().err
    for width, recipe in ((3, ""), (2, ""), (2, "_--epochs=9")):  # the last one is first by name, but not compared here
        text = f"fcn32s_small_width={width}{recipe}_seed3"
        write_config(tmp_path / text, {"arguments": {"model": "fcn32s_small", "set": [["width", width]]}})
        (tmp_path / text / "result.json").touch()
    compare.run(system, 3, args, [])
    assert given[1][given[1].index("--pretrained") + 1] == tmp_path / "fcn32s_small_width=2_seed3"


def test_a_time_limit_is_for_all_trainings_together(tmp_path, monkeypatch, capsys):
    given, clock = [], [0.0]

    def training(arguments):
        given.append(float(arguments[arguments.index("--time-limit") + 1]))
        clock[0] += 100
        return 1

    monkeypatch.setattr(train, "main", training)
    monkeypatch.setattr(compare.time, "monotonic", lambda: clock[0])
    options = ("--seeds", 0, 1, 2, "--time-limit", 3)
    assert compare.main([SMALLEST, "--run-dir", tmp_path, *options, *PASSED]) == 1
    assert given == pytest.approx([3, 3 - 100 / 60])
    assert f"reached before {SMALLEST}, seed 2; the same command continues" in capsys.readouterr().out


def test_a_system_has_a_recipe_of_its_own(tmp_path, monkeypatch):
    """It wins over what all have, also when the run goes on."""
    given = []
    monkeypatch.setattr(train, "main", lambda arguments: given.append(arguments) or 1)
    system = parse_system("unet_small:width=2,--lr-scale=decoder=2 head=3,--epochs=5,depth=1", "segmentation")
    assert system.options == ["width=2", "depth=1"]
    args = SimpleNamespace(run_dir=tmp_path, proposals=None, systems=[], task="segmentation")
    compare.run(system, 0, args, ["--epochs", "2"])
    write_config(system.folder(tmp_path, 0), {"arguments": {}})
    compare.run(system, 0, args, ["--epochs", "2"])
    for each in given:
        assert each[each.index("2") :][:6] == ["2", "--lr-scale", "decoder=2", "head=3", "--epochs", "5"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([SMALLEST + ",--data=voc"], "--data is nothing that one system has alone: --epochs, --batch-size"),
        ([SMALLEST, "multiscale_small:crf=no"], "multiscale_small: crf must be true or false, got 'no'"),
        ([SMALLEST, "segnet_basic_small:depth=9.5"], "segnet_basic_small: depth must be a whole number, got 9.5"),
        ([SMALLEST, "unet_small:model=3"], "model is no option of a model, got 'model=3'"),
        ([SMALLEST, "--split", "tset"], "--data shapes has the splits train, val, test; there is no 'tset'"),
        ([SMALLEST, "--", "--data", "folders"], "--data folders needs --root DIR"),
    ],
)
def test_errors_are_named_before_any_training(tmp_path, error_of, monkeypatch, arguments, message):
    monkeypatch.setattr(train, "main", None)
    assert message in error_of(compare.main, "--run-dir", tmp_path / "runs", *arguments)
    assert not (tmp_path / "runs").exists()


def results(run_dir, *each):
    for seed, result in enumerate(each):
        path = run_dir / f"unet_small_seed{seed}" / "result.json"
        path.parent.mkdir()
        path.write_text(json.dumps(result | {"split": "test", "arguments": []}))
    return SimpleNamespace(run_dir=run_dir, seeds=range(len(each)))


def test_a_metric_that_one_seed_does_not_have(tmp_path):
    """It is the mean over the others; columns are those of all rows."""
    args = results(tmp_path, {"mIoU": 0.5}, {"mIoU": 0.7, "boundary_f1": 0.4})
    row = compare.read_row(parse_system("unet_small", "segmentation"), args)
    assert row == {"system": "unet_small", "mIoU": [0.5, 0.7], "boundary_f1": [0.4]}
    assert compare.table([row, {"system": "b", "object_f1": [0.1]}], "mIoU").splitlines() == [
        "| system     | mIoU          | boundary f1 | object f1 |",
        "| ---------- | ------------- | ----------- | --------- |",
        "| unet_small | 0.600 ± 0.141 | 0.400       | -         |",
        "| b          | -             | -           | 0.100     |",
    ]


@pytest.mark.parametrize("text", ['{"mIoU": 0.', "[]", '{"mIoU": 1.0}', '{"mIoU": "x", "split": "", "arguments": []}'])
def test_a_damaged_result_is_named(tmp_path, error_of, text):
    results(tmp_path, {"mIoU": 0.5})
    (tmp_path / "unet_small_seed0/result.json").write_text(text)
    error = error_of(compare.main, "unet_small", "--run-dir", tmp_path, *PASSED)
    assert "unet_small_seed0/result.json: damaged (" in error and "remove it, and the run is measured again" in error


def test_classifiers_have_both_errors_and_curves(tmp_path, capsys):
    """Depth with and without shortcuts: training accuracy beside that of the test split, and one picture of all."""
    systems = ("plain20_cifar:n=1,width=2", "resnet20_cifar:n=1,width=2")
    steps = ("--epochs", 1, "--batch-size", 8, "--pictures", 0, "--shift", 1)
    assert compare.main([*systems, "--task", "classification", "--run-dir", tmp_path, "--", *SCENES, *steps]) == 0
    header, _, *rows = (tmp_path / "table.md").read_text().splitlines()
    columns = [name.strip() for name in header.strip("|").split("|")]
    assert columns == ["system", "parameters", "multiply adds", "minutes", "accuracy", "training accuracy"]
    assert [row.split("|")[1].strip() for row in rows] == [*systems]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > picture.height


def test_detectors_have_coco_ap_the_ap_of_each_class_and_times(tmp_path, capsys):
    tiny = ["yolo_small:width=2,short_side=64,grid=2", "--task", "detection", "--run-dir", tmp_path / "runs"]
    data = ["--shapes-train", 2, "--shapes-val", 2, "--shapes-size", 64, 64, "--epochs", 1, "--pictures", 0]
    assert compare.main([*tiny, "--", *data]) == 0
    head = capsys.readouterr().out.split("| system")[1].splitlines()[0]
    for column in (
        "AP50",
        "COCO AP",
        "AP50 circle",
        "AP50 triangle",
        "minutes",
        "seconds an image",
        "without proposals",
    ):
        assert f" {column} " in head
