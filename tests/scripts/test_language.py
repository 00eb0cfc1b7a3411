"""Training, evaluation and prediction of language models with the scripts: the task "language"."""

import json
import math
from argparse import Namespace
from itertools import pairwise

import numpy as np
import pytest

import vision
from nn.io.checkpoint import read_checkpoint
from scripts import evaluate, gradcheck, predict, profile, train
from scripts.data import training_loader
from scripts.readers.language import Text, open_captions, open_text
from vision import TASKS
from vision.sequence.language_task import Streams
from vision.training.saving import load_model
from vision.training.trainer import Trainer

LINE = "the quick brown fox jumps over the lazy dog.\n"


@pytest.fixture(scope="module")
def prose(tmp_path_factory):
    """A file of 40 lines; one character occurs only in its last tenth."""
    path = tmp_path_factory.mktemp("text") / "prose.txt"
    path.write_text(40 * LINE + "\u00e9nd.\n")
    return path


@pytest.fixture(scope="module")
def arguments(prose):
    tiny = ("--epochs", 2, "--batch-size", 4, "--set", "hidden=8", "layers=1", "chunk=20", "dropout=0.1")
    return ("--model", "char_gru", "--data", "text", "--root", prose, *tiny, "--pictures", 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory, arguments):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train.main([*arguments, "--run-dir", folder]) == 0
    return folder


def settings(root=None, **options):
    return Namespace(root=root, shapes_train=2, shapes_val=2, shapes_size=(48, 64), **options)


def test_a_text_and_its_splits(prose):
    text = prose.read_text()
    whole, first, last = (open_text(settings(prose), split) for split in ("all", "train", "val"))
    assert whole.text == text
    assert first.text + last.text == text
    assert len(first) == int(0.9 * len(text))
    known = open_text(settings(prose), "val", first.classes)
    assert known.classes == first.classes
    assert known.unknown == 1
    assert known.problems == ["1 characters are unknown to the model"]
    sample = whole[5]
    assert sample["text"] == text[5:105]
    assert sample["ids"].shape == (101,)
    assert whole[len(whole) - 1]["text"] == "\n"


def test_captions_of_scenes_are_a_text():
    text = open_captions(settings(), "train")
    assert text.text.count("\n") == 6
    assert set(text.text) <= set("abcdefghijklmnopqrstuvwxyz ,\n")


def test_chunks_follow_one_another_in_each_part():
    text = Text("abcdefghijklmnopqrstuvwxyz"[:24], None)  # 23 targets: 3 parts of 7
    streams = Streams(vision.build("char_lstm", text.classes, chunk=3), text, 3)
    assert len(streams) == 3 * 3
    letter = np.array(text.classes)
    pieces = ["".join(letter[streams[i]["ids"]]) for i in range(9)]
    assert pieces == ["abcd", "hijk", "opqr", "defg", "klmn", "rstu", "gh", "no", "uv"]
    assert [streams[i]["first"] for i in range(9)] == [True] * 3 + [False] * 6


def test_the_loader_keeps_the_order_in_every_epoch(prose):
    args = settings(prose, batch_size=4, seed=0, workers=0)
    text = open_text(args, "train")
    loader = training_loader(vision.build("char_lstm", text.classes, chunk=100), TASKS["language"], text, args)
    first, second = ([x.tolist() for x, _, _ in loader.epoch(number)] for number in (0, 1))
    assert first == second
    batches = list(loader.epoch(0))
    assert [first for _, _, first in batches] == [True] + [False] * (len(batches) - 1)
    for (_, targets, _), (x, _, _) in pairwise(batches):
        np.testing.assert_array_equal(targets[-1], x[0])  # the last target is the next input


def test_a_run_leaves_metrics_and_samples(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    metrics = records[-1]["metrics"]
    assert metrics["bits"] == pytest.approx(metrics["nats"] / math.log(2))
    assert metrics["probability"] == pytest.approx(math.exp(-metrics["nats"]))
    assert metrics["unknown"] == 1
    assert records[0]["losses"].keys() == {"nats"}
    sheet = (run / "pictures/epoch_0002.txt").read_text()
    assert sheet.count("-" * 40) == 1
    assert (run / "curve.png").exists()


def test_a_run_interrupted_within_an_epoch_continues_with_the_same_state(run, arguments, tmp_path, monkeypatch):
    step, again = Trainer.step, tmp_path / "again"

    def stop_after(trainer, batch):
        losses = step(trainer, batch)
        if trainer.progress.step == 25:  # of 22 in an epoch: the state after three chunks
            trainer.deadline = -math.inf
        return losses

    monkeypatch.setattr(Trainer, "step", stop_after)
    assert train.main([*arguments, "--run-dir", again]) == 0
    monkeypatch.undo()
    assert read_checkpoint(again / "last.npz")[1]["progress"]["batch"] > 0
    assert train.main(["--resume", "--run-dir", again]) == 0
    (arrays, _), (wanted, _) = (read_checkpoint(folder / "last.npz") for folder in (again, run))
    assert arrays["model/carried"].shape == (1, 1, 4, 8)
    assert arrays.keys() == wanted.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)


def test_evaluate_on_the_same_and_on_another_text(run, tmp_path, capsys):
    assert evaluate.main([run, "--json", tmp_path / "m.json"]) == 0
    out = capsys.readouterr().out
    assert "per character: nats " in out
    assert "1 of them unknown" in out
    logged = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["metrics"]
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["nats"] == logged["nats"]
    (tmp_path / "other.txt").write_text("QUITE ANOTHER TEXT")
    assert evaluate.main([run, "--data", "text", "--root", tmp_path / "other.txt", "--split", "all"]) == 0
    assert "18 characters, 16 of them unknown" in capsys.readouterr().out


def test_predict_continues_a_text(run, tmp_path, capsys):
    (tmp_path / "prompt.txt").write_text("the quick")
    options = ("--set", "length=40", "temperature=0.5", "seed=3")
    assert predict.main([run, tmp_path / "prompt.txt", "--out", tmp_path / "out", *options]) == 0
    assert "1 text and predictions.json are in" in capsys.readouterr().out
    (record,) = json.loads((tmp_path / "out/predictions.json").read_text())
    text = (tmp_path / "out/prompt.txt").read_text()
    assert text == "the quick" + record["found"][0]["continuation"] + "\n"
    assert len(record["found"][0]["continuation"]) == 40
    assert (record["text"], record["characters"]) == ("prompt.txt", 9)
    model, _ = load_model(run / "best.npz")
    wanted = model.predict("the quick", 40, 0.5, np.random.default_rng(3))
    assert record["found"][0]["continuation"] == wanted


def test_predict_does_not_overwrite_its_input(run, tmp_path, error_of):
    (tmp_path / "prompt.txt").write_text("the quick")
    error = error_of(predict.main, run, tmp_path / "prompt.txt", "--out", tmp_path)
    assert f"--out {tmp_path}: the results would overwrite {tmp_path / 'prompt.txt'}" in error
    assert (tmp_path / "prompt.txt").read_text() == "the quick"


def test_predicting_with_wrong_options(run, trained, voc, tmp_path, error_of):
    (tmp_path / "prompt.txt").write_text("the quick")
    arguments = (run, tmp_path / "prompt.txt", "--out", tmp_path / "out")
    error = error_of(predict.main, *arguments, "--set", "size=3")
    assert "predicting has no option 'size'; choose from length, temperature, seed" in error
    assert "temperature must be a number >= 0" in error_of(predict.main, *arguments, "--set", "temperature=-1")
    images = (trained, voc / "JPEGImages/0.jpg", "--out", tmp_path / "out")
    assert "no option 'size'; choose from short_side" in error_of(predict.main, *images, "--set", "size=3")


def test_gradcheck_and_profile_know_language_models(capsys):
    assert gradcheck.main(["char_rnn", "char_lstm", "char_gru"]) == 0
    small = ("--set", "hidden=4", "--size", 32, 40, "--batch-size", 3, "--repeat", 1)
    assert profile.main(["--model", "char_lstm", *small]) == 0
    assert "LSTM" in capsys.readouterr().out


def test_bad_input(arguments, tmp_path, error_of):
    def error(*more):
        return error_of(train.main, *arguments, "--run-dir", tmp_path / "run", *more)

    def file(name, content):
        (tmp_path / name).write_bytes(content)
        return "--root", tmp_path / name

    assert "--data text needs --root" in error_of(train.main, *arguments[:4], "--run-dir", tmp_path / "run")
    assert "none.txt: there is no such file or folder" in error("--root", tmp_path / "none.txt")
    assert "empty.txt: holds no text" in error(*file("empty.txt", b"\n"))
    assert "latin.txt, line 1: not a text file in UTF-8 (byte 0xe9 at 3)" in error(*file("latin.txt", b"caf\xe9"))
    assert "a.txt, split train: a text must have at least 2 characters" in error(*file("a.txt", b"a"))
    few = error(*file("few.txt", b"20 characters, a few"), "--batch-size", 50)
    assert few.startswith("error: --batch-size 50: the text has 18 characters, too few to read 50 parts of it")
    assert "the splits train, val, all; there is no 'test'" in error("--val-split", "test")
    assert "words must begin with <pad>" in error("--classes", "a", "b")


def test_text_of_one_symbol(arguments, tmp_path):
    (tmp_path / "a.txt").write_text("a" * 300)
    more = ("--epochs", 4, "--lr", 0.05, "--warm-up", 0)
    assert train.main([*arguments, "--root", tmp_path / "a.txt", *more, "--run-dir", tmp_path / "run"]) == 0
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert records[-1]["metrics"]["nats"] < 0.5
