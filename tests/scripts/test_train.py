import contextlib
import json
import os
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import vision
from nn.io.checkpoint import read_checkpoint
from scripts import evaluate
from scripts.train import main
from scripts.train_arguments import model_option
from vision.training.recipe import with_defaults
from vision.training.saving import load_model


def test_values_of_options():
    """JSON, words for none, true and false in any case, and text."""
    texts = ["a=3", "a=1.5", "a=[1,2]", "a=None", "a=none", "a=NULL", "a=True", "a=false", "a=no", "a=b=c", "a="]
    wanted = [3, 1.5, [1, 2], None, None, None, True, False, "no", "b=c", ""]
    assert [model_option(text) for text in texts] == [["a", value] for value in wanted]


def test_content_of_the_run_folder(trained):
    names = {path.name for path in trained.iterdir() if not path.name.startswith("events.out")}  # of TensorBoard
    kept = {"config.json", "metrics.jsonl", "metrics.csv", "curve.png", "pictures", "last.npz", "best.npz"}
    assert names == kept | {"report.html"}
    assert {path.name for path in (trained / "pictures").iterdir()} == {"epoch_0001.png", "epoch_0002.png"}
    for picture in (trained / "curve.png", trained / "pictures/epoch_0001.png"):
        with Image.open(picture) as image:
            assert np.asarray(image.convert("L")).std() > 5  # not blank
    config = json.loads((trained / "config.json").read_text())
    assert config["arguments"]["lr"] == 0.02  # of the recipe
    assert config["arguments"]["momentum"] == 0.9  # of vision.training.recipe.DEFAULTS
    assert config["model"].items() >= {"model": "stand_in", "classes": ["circle", "square", "triangle"]}.items()
    assert config["model"]["hidden"] == 8  # all options, so that a checkpoint keeps its meaning when a default changes
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "losses" in r] == list(range(1, 13))  # 22 scenes, 4 per step, twice
    assert [r["epoch"] for r in records if "metrics" in r] == [1, 2]
    epochs = [r for r in records if "validation" in r]
    assert [(r["step"], set(r["validation"])) for r in epochs] == [(6, {"box", "label"}), (12, {"box", "label"})]
    assert all(r["speed"] > 0 and r["memory"] > 2**20 for r in epochs)
    assert set(records[-1]["metrics"]) == {"AP50", "AP50_11point", "classes", "coco", "images", "images_per_second"}


def test_output_of_a_run(small, tmp_path, capsys):
    assert main([*small, "--run-dir", tmp_path / "run"]) == 0
    out = capsys.readouterr().out
    assert "classes circle, square, triangle" in out
    assert "22 images to train on (train), 3 to evaluate on (val)" in out
    line = (
        r"epoch 2/2: box [\d.]+, label [\d.]+; validation box [\d.]+, label [\d.]+; [\d.]+ minutes, [\d.e+]+ images/s, "
    )
    assert re.search(line + r"[\d.]+% of the epoch waiting for data, \d+ MiB\n", out)
    assert "AP50 (11-point)" in out
    assert f"python -m scripts.evaluate {tmp_path / 'run'}" in out


def test_help_shows_groups_defaults_of_the_recipe_and_an_example(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--model", "stand_in", "--help"])
    assert leaving.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for text in (
        "model:", "data:", "optimisation:", "augmentation (of training images):", "run:",
        "learning rate (default: 0.02)", "range of random zoom; 1 1: none (default: 0.8 1.2)",
        "python -m scripts.train --model faster_rcnn_small", "--resume",
    ):  # fmt: skip
        assert text in out


def test_every_registered_model_has_a_task_and_shows_its_recipe(capsys):
    for name in vision.MODELS:
        with pytest.raises(SystemExit):
            main(["--model", name, "--help"])
        assert f"(default: {with_defaults(vision.MODELS[name].recipe)['lr']})" in capsys.readouterr().out


def test_arguments_reach_model_loader_and_optimiser(small, tmp_path):
    main([*small, "--run-dir", tmp_path, "--epochs", 1, "--batch-size", 11, "--set", "hidden=5", "--optimiser", "adam"])
    arrays, meta = read_checkpoint(tmp_path / "last.npz")
    assert meta["progress"]["step"] == 2
    assert arrays["model/box.weight"].shape == (4, 5)
    assert load_model(tmp_path / "last.npz")[0].config["hidden"] == 5
    assert any(name.startswith("optimiser/") for name in arrays)


def test_results_depend_on_the_seed_and_not_on_workers(small, tmp_path):
    for name, options in {"a": (), "b": ("--workers", 1, "--worker-processes"), "c": ("--seed", 1)}.items():
        main([*small, "--run-dir", tmp_path / name, "--epochs", 1, "--pictures", 0, *options])
    a, b, c = (read_checkpoint(tmp_path / name / "last.npz")[0] for name in "abc")
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)
    assert not np.array_equal(a["model/box.weight"], c["model/box.weight"])


def test_validation_losses_change_nothing_else_and_can_be_left_out(small, trained, tmp_path):
    assert main([*small, "--val-batches", 0, "--run-dir", tmp_path]) == 0
    assert "validation" not in (tmp_path / "metrics.jsonl").read_text()
    a, b = (read_checkpoint(folder / "last.npz")[0] for folder in (tmp_path, trained))
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_weights_of_another_run_are_the_start(small, trained, tmp_path):
    main([*small, "--run-dir", tmp_path, "--weights", trained / "last.npz", "--lr", 1e-30, "--epochs", 1])
    before, after = read_checkpoint(trained / "last.npz")[0], read_checkpoint(tmp_path / "last.npz")[0]
    np.testing.assert_array_equal(before["model/box.weight"], after["model/box.weight"])
    assert evaluate.main([tmp_path]) == 0


def test_own_pictures_with_the_classes_that_occur(on_voc, tmp_path, capsys):
    assert main(on_voc) == 0
    assert "classes cat, dog" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/config.json").read_text())["model"]["classes"] == ["cat", "dog"]


def test_classes_in_the_order_given(on_voc, tmp_path):
    assert main([*on_voc, "--classes", "dog", "cat", "cow"]) == 0
    assert load_model(tmp_path / "run/last.npz")[0].config["classes"] == ["dog", "cat", "cow"]


def test_dropped_boxes_are_reported(on_voc, voc, capsys):
    path = voc / "Annotations/0.xml"
    path.write_text(path.read_text().replace("<xmax>25</xmax>", "<xmax>5</xmax>"))
    assert main(on_voc) == 0
    notes = capsys.readouterr().err
    assert "0.xml" in notes
    assert notes.startswith("note: ")


def test_objects_that_a_detector_does_not_learn_are_counted(tmp_path, capsys):
    tiny = ["--set", "width=2", "short_side=64", "grid=2", "--shapes-train", 3, "--shapes-val", 1, "--epochs", 1]
    assert main(["--model", "yolo_small", *tiny, "--pictures", 0, "--run-dir", tmp_path / "run"]) == 0
    note = r"note: of \d+ objects in 3 training images \d+ have their centre in a cell of 2x2 that another one takes"
    assert re.search(note, capsys.readouterr().out)


def test_time_limit_saves_and_says_how_to_continue(small, tmp_path, capsys):
    assert main([*small, "--run-dir", tmp_path, "--time-limit", 1e-9]) == 0
    captured = capsys.readouterr()
    assert "time limit reached at step 1 of 12, saved up to step 1" in captured.err
    assert f"python -m scripts.train --run-dir {tmp_path} --resume" in captured.err
    assert main(["--run-dir", tmp_path, "--resume"]) == 0
    assert "resuming at step 1 of 12" in capsys.readouterr().out


def test_the_progress_bar_shows_losses_speed_and_time_left_on_a_terminal(small, tmp_path, stand_in):
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))  # rows, columns
    command = [sys.executable, stand_in, "train", *map(str, small), "--run-dir", tmp_path]
    with subprocess.Popen(command, cwd=stand_in.parents[2], stdout=inside, stderr=inside) as child:
        os.close(inside)
        text = b""
        with contextlib.suppress(OSError):  # Linux raises this when the other end is closed
            while part := os.read(terminal, 1 << 16):
                text += part
    os.close(terminal)
    assert child.returncode == 0
    bars = [line for line in text.decode().split("\r") if line.startswith("epoch 2/2: ") and "%|" in line]
    assert re.search(r"/48 \[\d\d:\d\d<\d\d:\d\d, .* images/s, box \d\.\d{3}, label \d\.\d{3}\]", "".join(bars))
