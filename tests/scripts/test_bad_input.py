"""Errors in a user's arguments and files: one line that names the error and what to do, status 2, no traceback."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from nn.io.checkpoint import read_checkpoint, write_checkpoint
from scripts import evaluate, predict, train

# Training ------------------------------------------------------------------------------------------------------------


def no_folder(voc):
    return {"root": voc / "nowhere"}, "nowhere: there is no such folder; give the one"


def no_list(voc):
    return {
        "train-split": "trainval"
    }, "trainval.txt: there is no such list; text files in this folder: train.txt, val.txt"


def truncated_jpeg(voc):
    os.truncate(voc / "JPEGImages/2.jpg", 900)
    return {}, "2.jpg: .*(truncated|cannot be decoded|cut)"


def damaged_xml(voc):
    (voc / "Annotations/1.xml").write_text("hello <b>")
    return {}, "1.xml: not readable as XML"


def unknown_class(voc):
    return {"classes": ["cat"]}, "1.xml: class 'dog' is not among the 1 given"


def list_names_a_missing_file(voc):
    (voc / "ImageSets/Main/train.txt").write_text("0\n17\n")
    return {}, "JPEGImages: holds no picture 17, named by .*train.txt, line 2; add the picture, or remove the line"


def empty_list(voc):
    (voc / "ImageSets/Main/train.txt").write_text("\n")
    return {}, "train.txt: the list is empty; write a name a line"


def no_objects(voc):
    for path in (voc / "Annotations").iterdir():
        path.write_text("<annotation></annotation>")
    return {}, "hold no object at all"


def no_objects_of_given_classes(voc):
    no_objects(voc)
    return {"classes": ["cat"]}, "the training split holds no object that counts"


def all_boxes_dropped(voc):
    for path in (voc / "Annotations").iterdir():
        path.write_text(path.read_text().replace("<xmax>", "<xmax>-"))
    return {}, "train.txt: all 4 boxes are dropped, the first because: .*0.xml: cat .* has no area"


def all_objects_difficult(voc):
    for path in (voc / "Annotations").iterdir():
        path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))
    return {}, "the training split holds no object that counts"


def empty_image(voc):
    (voc / "JPEGImages/0.jpg").write_bytes(b"")
    return {}, "0.jpg: .*empty"


def image_of_one_pixel(voc):
    Image.new("RGB", (1, 1)).save(voc / "JPEGImages/0.jpg")
    return {}, "0.jpg: .*1"


def text_for_an_image(voc):
    (voc / "JPEGImages/0.jpg").write_text("no picture at all")
    return {}, "0.jpg: "


@pytest.mark.parametrize(
    "case",
    [no_folder, no_list, truncated_jpeg, damaged_xml, unknown_class, list_names_a_missing_file, empty_list,
     no_objects, no_objects_of_given_classes, all_boxes_dropped, all_objects_difficult, empty_image,
     image_of_one_pixel, text_for_an_image],
)  # fmt: skip
def test_bad_training_data_is_named_before_anything_is_written(case, voc, tmp_path, error_of):
    changed, message = case(voc)
    options = {"model": "stand_in", "data": "voc", "root": voc, "train-split": "train", "val-split": "val"}
    arguments = []
    for name, value in (options | changed).items():
        arguments += [f"--{name}", *(value if isinstance(value, list) else [value])]
    error = error_of(train.main, *arguments, "--run-dir", tmp_path / "run")
    assert error.startswith("error: ")
    assert re.search(message, error), error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --run-dir"),
        (["--resume"], "--resume needs --run-dir DIR, the folder of the run to continue"),
        (["--run-dir", "x"], "--model is needed, such as --model faster_rcnn_small; --models lists all"),
        (["--run-dir", "x", "--model", "nope"], "argument --model: there is no model 'nope': choose from "),
        (["--lr", "0"], "argument --lr: must be a number above 0, got 0"),
        (["--lr", "nan"], "argument --lr: must be a number above 0, got nan"),
        (["--epochs", "0"], "argument --epochs: must be a whole number from 1, got 0"),
        (["--epochs", "1.5"], "argument --epochs: must be a whole number from 1, got '1.5'"),
        (["--flip-vertical", "2"], "argument --flip-vertical: must be a number from 0 to 1, got 2"),
        (["--milestone", "0.5"], "unrecognized arguments: --milestone"),  # no abbreviations
        (["--set", "hidden"], "argument --set: must look like NAME=VALUE, got 'hidden'"),
        (["--data", "cifar10"], "yolo, shards, pets for this model, got 'cifar10': that is data for classification"),
        (["--data", "yollo"], "yolo, shards, pets for this model, got 'yollo': did you mean yolo?"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3; did you mean --epochs?"),
        (["--epoch=3"], "unrecognized arguments: --epoch=3; did you mean --epochs?"),
        (["--optimizer", "adam"], "unrecognized arguments: --optimizer adam; did you mean --optimiser?"),
        (["--learning_rate", "0.1"], "unrecognized arguments: --learning_rate 0.1; did you mean --lr?"),
        (["my", "pictures"], "unrecognized arguments: my pictures; a name with spaces needs quotes around it"),
        (["--zzz"], "unrecognized arguments: --zzz (--help"),
        (["--data", "voc"], "--data voc needs --root DIR"),
        (["--root", "pictures"], "--root pictures does not go with --data shapes"),
        (["--train-split", "trainval"], "--data shapes has the splits train, val, test; there is no 'trainval'"),
        (["--classes", "zebra"], "classes must be some of circle, square, triangle"),
        (["--zoom", "2", "0.5"], "--zoom LOW HIGH: LOW must not be above HIGH, got 2 0.5"),
        (["--weights", "none.npz"], "none.npz: no such checkpoint file"),
    ],
)
def test_bad_arguments_are_named(arguments, message, tmp_path, error_of):
    whole = arguments in ([], ["--resume"]) or "--run-dir" in arguments
    start = [] if whole else ["--model", "stand_in", "--run-dir", tmp_path / "run"]
    assert message in error_of(train.main, *start, *arguments)
    assert not (tmp_path / "run").exists()


def test_an_option_that_the_model_does_not_have(tmp_path, error_of):
    error = error_of(train.main, "--model", "faster_rcnn_small", "--run-dir", tmp_path / "run", "--set", "widht=8")
    assert "there is no option 'widht'" in error


def test_frozen_stages_that_would_stay_random(tmp_path, error_of):
    options = ("--set", "frozen=pool2", "hidden=8", "rpn_channels=8")
    data = ("--shapes-train", "2", "--shapes-val", "1", "--run-dir", str(tmp_path / "run"))
    message = error_of(train.main, "--model", "faster_rcnn_vgg16", *options, *data)
    assert message == "error: faster_rcnn_vgg16: what is frozen of it would stay random; give --pretrained FILE"


def test_a_folder_that_holds_a_run_is_not_written_to(trained, error_of):
    before = (trained / "last.npz").read_bytes()
    error = error_of(train.main, "--model", "stand_in", "--run-dir", trained)
    assert "holds a run already (config.json, last.npz, metrics.jsonl); continue it with --resume, or give" in error
    assert (trained / "last.npz").read_bytes() == before


def test_a_file_for_a_run_folder(tmp_path, error_of):
    (tmp_path / "file").write_text("")
    assert "file: is a file; give --run-dir a folder" in error_of(
        train.main, "--model", "stand_in", "--run-dir", tmp_path / "file"
    )


def test_a_loss_that_becomes_nan_in_its_own_process(small, start, tmp_path):
    child = start("train", *small, "--run-dir", tmp_path, "--set", "nan_at=9", "--checkpoint-every", 4)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 2
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert re.match(
        r"error: step 9: not finite: box [\d.]+, label nan; the checkpoint of step 8 stays in .*last\.npz;", err
    )
    arrays, meta = read_checkpoint(tmp_path / "last.npz")
    assert meta["progress"]["step"] == 8
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_a_picture_damaged_during_training_is_named(on_voc, voc, tmp_path, error_of, monkeypatch):
    """Its header and its end are right, so nothing is found at the start."""
    whole = (voc / "JPEGImages/3.jpg").read_bytes()
    monkeypatch.setattr("scripts.train.introduction", lambda *_: (voc / "JPEGImages/3.jpg").write_bytes(whole[:700]))
    assert re.search(r"3\.jpg: ", error_of(train.main, *on_voc))


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(ValueError, match="needs --root"):
        train.main(["--model", "stand_in", "--run-dir", tmp_path / "run", "--data", "voc", "--debug"])


def test_bugs_are_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.train.build_model", lambda *_: {}["bug"])
    with pytest.raises(KeyError):
        train.main(["--model", "stand_in", "--run-dir", tmp_path / "run"])


def test_an_error_of_the_operating_system_is_one_line_too(tmp_path, error_of, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "run"))

    monkeypatch.setattr("scripts.train.write_config", full)
    error = error_of(train.main, "--model", "stand_in", "--run-dir", tmp_path / "run")
    assert error == f"error: {tmp_path / 'run'}: No space left on device"


# Checkpoints ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["evaluate", "predict"])
def use(request, voc, tmp_path, error_of):
    """use(checkpoint): evaluates it, or predicts with it, and returns the error."""
    if request.param == "evaluate":
        return lambda path: error_of(evaluate.main, path)
    return lambda path: error_of(predict.main, path, voc / "JPEGImages", "--out", tmp_path / "out")


def test_no_checkpoint(use, tmp_path):
    assert "nothing: no such file or folder; give a checkpoint (.npz) or the folder of a run" in use(
        tmp_path / "nothing"
    )
    (tmp_path / "empty").mkdir()
    assert "empty: holds no checkpoint (best.npz or last.npz)" in use(tmp_path / "empty")


def test_truncated_checkpoint(use, trained, tmp_path):
    (tmp_path / "cut.npz").write_bytes((trained / "best.npz").read_bytes()[:3000])
    assert "cut.npz: truncated, damaged or not a checkpoint" in use(tmp_path / "cut.npz")


def test_other_files_for_a_checkpoint(use, trained, tmp_path):
    assert "config.json: truncated, damaged or not a checkpoint" in use(trained / "config.json")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    assert "other.npz: an .npz, but not a checkpoint of this library" in use(tmp_path / "other.npz")
    write_checkpoint(tmp_path / "data.npz", {}, {})
    assert "data.npz: holds no model; give a checkpoint that scripts.train wrote" in use(tmp_path / "data.npz")


def test_checkpoint_of_a_model_that_is_not_registered(use, trained, tmp_path):
    arrays, meta = read_checkpoint(trained / "best.npz")
    write_checkpoint(tmp_path / "a.npz", arrays, meta | {"model": meta["model"] | {"model": "my_own"}})
    assert (
        "a.npz: checkpoint of the model 'my_own', which is not registered; a model of your own needs --import FILE"
        in use(tmp_path / "a.npz")
    )


@pytest.mark.parametrize(
    "config", [[1], {"arguments": 7}, {"arguments": {"data": 3}}, {"arguments": {"shapes_size": "x"}}]
)
def test_evaluating_a_checkpoint_that_does_not_say_how_it_was_trained(trained, tmp_path, error_of, config):
    arrays, meta = read_checkpoint(trained / "best.npz")
    write_checkpoint(tmp_path / "a.npz", arrays, meta | {"config": config})
    assert "a.npz: damaged, " in error_of(evaluate.main, tmp_path / "a.npz")


def test_checkpoint_of_another_version_of_the_model(use, trained, tmp_path):
    arrays, meta = read_checkpoint(trained / "best.npz")
    write_checkpoint(tmp_path / "a.npz", {k: v for k, v in arrays.items() if k != "model/box.bias"}, meta)
    error = use(tmp_path / "a.npz")
    assert "a.npz: " in error
    assert "missing box.bias" in error
    assert "another version of the model" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "other_stand_in"], "model 'stand_in', not 'other_stand_in'"),
        (["--set", "hidden=5"], "hidden 8, not 5"),
        (["--classes", "star"], r"classes \['circle', 'square', 'triangle'\], not \['star'\]"),
    ],
)
def test_training_from_the_weights_of_another_model(small, trained, tmp_path, error_of, arguments, message):
    weights = trained / "last.npz"
    error = error_of(train.main, *small, "--run-dir", tmp_path / "run", "--weights", weights, *arguments)
    assert re.search(rf"last\.npz: checkpoint of another model: {message}", error)


def test_evaluating_on_other_classes(trained, voc, error_of):
    arguments = ("--data", "voc", "--root", voc, "--split", "val")
    error = error_of(evaluate.main, trained, *arguments)
    assert "best.npz: was trained on the classes circle square triangle; the data has cat dog too" in error


def test_evaluating_on_missing_data(trained, voc, error_of):
    assert "--data voc needs --root" in error_of(evaluate.main, trained, "--data", "voc")
    assert "there is no 'x'" in error_of(evaluate.main, trained, "--split", "x")
    assert "--data must be one of shapes, voc" in error_of(evaluate.main, trained, "--data", "x")


def test_predicting_on_files_that_are_no_pictures(trained, tmp_path, error_of):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("hello")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    cases = {
        "nothing.jpg": "nothing.jpg: no such file or folder; give pictures",
        "empty": "empty: this folder holds no pictures (.bmp, ",
        "text.jpg": "text.jpg: ",
        "dot.png": "dot.png: ",
    }
    for name, message in cases.items():
        assert message in error_of(predict.main, trained, tmp_path / name, "--out", tmp_path / "out")


def test_predicting_with_wrong_arguments(trained, voc, tmp_path, error_of):
    assert "required: --out" in error_of(predict.main, trained, voc / "JPEGImages")
    arguments = (trained, voc / "JPEGImages", "--out", tmp_path / "out")
    assert "--threshold: must be a number from 0 to 1, got 1.5" in error_of(
        predict.main, *arguments, "--threshold", 1.5
    )
    (tmp_path / "file").write_text("")
    error = error_of(predict.main, trained, voc / "JPEGImages", "--out", tmp_path / "file")
    assert error == f"error: {tmp_path / 'file'}: File exists"


def test_config_of_a_run_without_arguments(tmp_path, error_of):
    (tmp_path / "config.json").write_text(json.dumps({"arguments": {}}))
    assert "config.json: damaged" in error_of(train.main, "--resume", "--run-dir", tmp_path)
