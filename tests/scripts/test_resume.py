"""Runs that are killed, interrupted and resumed, in their own processes."""

import json
import os
import re
import signal
import time

import numpy as np
import pytest

from nn.io.checkpoint import read_checkpoint
from scripts.train import main

STEPS = 20 * 6


@pytest.fixture(scope="module")
def run(small):
    """Arguments of a run of 120 steps."""
    return (*small, "--epochs", 20, "--evaluate-every", 10, "--checkpoint-every", 7, "--pictures", 0)


def logged(folder):
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until(child, folder, lines, seconds=60):
    """Wait until the log has this many lines, or the process has ended."""
    deadline = time.monotonic() + seconds
    while child.poll() is None and logged(folder) < lines:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, start, run):
    folder = tmp_path_factory.mktemp("whole") / "run"
    child = start("train", *run, "--run-dir", folder)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return folder


def check_equal(folder, uninterrupted):
    """Bit for bit: weights, buffers, the optimiser's state, generators, and the log of each step."""
    for name in ("last.npz", "best.npz"):
        (a, meta_a), (b, meta_b) = read_checkpoint(folder / name), read_checkpoint(uninterrupted / name)
        assert list(a) == list(b)
        assert all(a[key].tobytes() == b[key].tobytes() for key in a)
        assert meta_a.get("generators") == meta_b.get("generators")
    logs = []
    for path in (folder, uninterrupted):
        records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        for record in records:
            del record["seconds"]
            for name in ("waited", "speed", "memory"):
                record.pop(name, None)
            record.get("metrics", {}).pop("images_per_second", None)
        logs.append(records)
    assert logs[0] == logs[1]


def test_killed_at_random_moments_and_resumed_the_weights_are_the_same_bits(tmp_path, uninterrupted, start, run):
    moments = np.sort(
        np.random.default_rng(time.time_ns()).integers(1, STEPS, 2)
    )  # different ones in every run of the test
    print("killed when the log had", moments, "lines")
    arguments = run
    for lines in moments:
        child = start("train", *arguments, "--run-dir", tmp_path / "run")
        wait_until(child, tmp_path / "run", int(lines))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        arguments = ["--resume"]
    child = start("train", "--resume", "--run-dir", tmp_path / "run")
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    check_equal(tmp_path / "run", uninterrupted)


def test_ctrl_c_saves_says_how_to_continue_and_resumes_to_the_same_bits(tmp_path, uninterrupted, start, run):
    child = start("train", *run, "--run-dir", tmp_path / "run", "--checkpoint-every", 10**6)
    wait_until(child, tmp_path / "run", 20)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert f"python -m scripts.train --run-dir {tmp_path / 'run'} --resume" in err
    saved = read_checkpoint(tmp_path / "run" / "last.npz")[1]["progress"]["step"]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[:20]
    assert saved >= sum('"lr"' in line for line in lines) > 9  # the other lines are of epochs
    assert f"saved up to step {saved}" in err
    assert main(["--resume", "--run-dir", tmp_path / "run"]) == 0
    check_equal(tmp_path / "run", uninterrupted)


def test_a_run_killed_before_the_first_checkpoint_starts_again(trained, tmp_path):
    (tmp_path / "config.json").write_bytes((trained / "config.json").read_bytes())
    assert main(["--resume", "--run-dir", tmp_path]) == 0
    check_equal(tmp_path, trained)


def test_resuming_a_finished_run_changes_nothing(trained, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in trained.iterdir()}
    assert main(["--resume", "--run-dir", trained]) == 0
    assert "done in" in capsys.readouterr().out
    after = {path.name: path.stat().st_mtime_ns for path in trained.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} <= {"metrics.jsonl"}  # opened for writing


def test_arguments_that_agree_or_do_not_change_results_may_be_repeated(trained):
    assert main(["--resume", "--run-dir", trained, "--model", "stand_in", "--lr", 0.02, "--workers", 0]) == 0


def test_arguments_that_contradict_the_run_are_named(trained, error_of):
    error = error_of(
        main, "--resume", "--run-dir", trained, "--clip-norm", 5, "--shapes-size", 40, 50, "--data", "shapes"
    )
    assert "config.json: cannot resume with" in error
    assert "--clip-norm 5.0, but the run has 10.0" in error
    assert "--shapes-size 40 50, but the run has 40 48" in error
    assert "--data" not in error
    assert "leave that out to resume" in error
    error = error_of(main, "--resume", "--run-dir", trained, "--model", "other_stand_in", "--set", "hidden=3")
    assert "--model other_stand_in, but the run has stand_in" in error
    assert "--set hidden=3, but the run has none" in error


def test_no_run_to_resume(tmp_path, error_of):
    assert "holds no run to resume (no config.json); leave out --resume" in error_of(
        main, "--resume", "--run-dir", tmp_path
    )
    (tmp_path / "config.json").write_text("{")
    assert "config.json: damaged" in error_of(main, "--resume", "--run-dir", tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lr": "fast"}, "damaged, as --lr 'fast' cannot be; restore it, or start a new run elsewhere"),
        ({"epochs": 2.5}, "damaged, as --epochs 2.5 cannot be"),
        ({"epochs": None}, "damaged, as --epochs None cannot be"),
        ({"optimiser": ["sgd"]}, r"damaged, as --optimiser \['sgd'\] cannot be"),
        ({"optimiser": "newton"}, "damaged, as --optimiser 'newton' cannot be"),
        ({"zoom": [1.0]}, r"damaged, as --zoom \[1.0\] cannot be"),
        ({"zoom": 1.0}, "damaged, as --zoom 1.0 cannot be"),
        ({"train_split": 1.5}, "damaged, as --train-split 1.5 cannot be"),
        ({"set": [["hidden"]]}, "damaged, as --set"),
        ({"set": [5]}, "damaged, as --set"),
        ({"typed": [["a"]]}, "damaged, not the config of a run"),
        ({"typed": 7}, "damaged, not the config of a run"),
        ({"set": [["hidden", [[1]]]]}, "stand_in: hidden must be a whole number, got"),
        ({"model": "stand_up"}, "the model 'stand_up' is not registered; a model of your own needs --import FILE"),
    ],
)
def test_a_config_that_nobody_could_have_typed_is_named(trained, tmp_path, error_of, change, message):
    config = json.loads((trained / "config.json").read_text())
    config["arguments"] |= change
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert re.search(rf"config\.json: {message}", error_of(main, "--resume", "--run-dir", tmp_path))


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '{"arguments": []}', '{"arguments": {}}', "\0"])
def test_a_config_of_another_kind_is_named(tmp_path, error_of, text):
    (tmp_path / "config.json").write_text(text)
    assert "config.json: damaged, not the config of a run" in error_of(main, "--resume", "--run-dir", tmp_path)


def test_damaged_checkpoint_of_a_run(trained, tmp_path, error_of):
    for name in ("config.json", "last.npz"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    os.truncate(tmp_path / "last.npz", 1000)
    assert "last.npz: truncated, damaged" in error_of(main, "--resume", "--run-dir", tmp_path)


def test_data_that_changed_since(on_voc, voc, tmp_path, error_of):
    assert main([*on_voc, "--batch-size", 1]) == 0
    (voc / "ImageSets/Main/train.txt").write_text("0\n1\n")
    error = error_of(main, "--resume", "--run-dir", tmp_path / "run")
    assert "the run had 4 batches in an epoch, now there are 2" in error
