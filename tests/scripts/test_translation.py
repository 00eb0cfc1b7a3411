"""Training, evaluation and prediction of sequence-to-sequence models with the scripts: the task "translation"."""

import json
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

import vision
from scripts import evaluate, predict, train
from scripts.readers.translation import Sentences, open_captions, open_dates, open_reversal
from vision.sequence.translation_task import evaluate_translation, translation_batch
from vision.sequence.vocabulary import Vocabulary

NUMBERS = {"one": "un", "two": "deux", "three": "trois", "four": "quatre"}


@pytest.fixture(scope="module")
def tsv(tmp_path_factory):
    """A file of 40 pairs; targets are translations word by word."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("pairs") / "numbers.tsv"
    lines = []
    for _ in range(40):
        words = rng.choice(list(NUMBERS), rng.integers(1, 4))
        lines.append(f"{' '.join(words)}\t{' '.join(NUMBERS[word] for word in words)}\n")
    path.write_text("".join(lines))
    return path


def arguments(tsv, model="seq2seq_attention"):
    tiny = ("--epochs", 12, "--batch-size", 6, "--lr", 0.03, "--warm-up", 0, "--set", "hidden=12", "embedding=6")
    return ("--model", model, "--data", "tsv", "--root", tsv, *tiny, "--evaluate-every", 0, "--pictures", 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tsv):
    """The folder of a finished run with attention."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train.main([*arguments(tsv), "--run-dir", folder]) == 0
    return folder


def settings(**options):
    return Namespace(**{"root": None, "shapes_train": 5, "shapes_val": 4, "shapes_size": (48, 64)} | options)


def test_generated_data():
    for opener, level in ((open_dates, "char"), (open_reversal, "word")):
        train_data = opener(settings(), "train")
        val_data = opener(settings(), "val", train_data.classes)
        assert (len(train_data), len(val_data)) == (5, 4)
        assert val_data.classes == train_data.classes
        assert train_data[0] != val_data[0]
        assert all((len(word) == 1) == (level == "char") for word in train_data.classes[4:])
    captions = open_captions(settings(), "train")
    assert "one" in captions.classes
    assert " circle" in captions[0]["text"] + captions[1]["text"] + captions[2]["text"]


def test_a_batch():
    data = Sentences([{"text": "b a", "target": "c"}, {"text": "a", "target": "c a c"}], "word")
    model = vision.build("seq2seq", data.classes, level="word")
    source, source_lengths, target, lengths = translation_batch(model, [data[0], data[1]])
    ids = model.vocabulary.ids
    assert source.tolist() == [[ids["b"], ids["a"]], [ids["a"], 0]]
    assert target[:, 0].tolist() == [1, ids["c"], 2, 0, 0]
    assert target[:, 1].tolist() == [1, ids["c"], ids["a"], ids["c"], 2]
    assert (source_lengths.tolist(), lengths.tolist()) == ([2, 1], [3, 5])


def test_counts_of_an_evaluation():
    class Model:
        vocabulary = Vocabulary.build(["a b c"])

        def predict(self, source, lengths, max_steps):
            """Always gives the source."""
            said = np.zeros((max_steps, source.shape[1]), int)
            said[: len(source)] = source
            for n, length in enumerate(lengths):
                said[length, n] = 2
            return said

    pairs = [("a b", "a b"), ("a b c", "a c c"), ("c", "c"), ("zebra", "zebra")]
    data = Sentences([{"text": text, "target": target} for text, target in pairs], "word", Model.vocabulary.words)
    metrics = evaluate_translation(Model(), data)
    assert metrics["exact"] == 2 / 4  # a word that the model does not know is wrong
    assert metrics["words"] == (3 + 3 + 2 + 1) / (3 + 4 + 2 + 2)  # each sentence's end is counted, too
    assert metrics["sentences"] == 4


def test_a_run_leaves_metrics_and_pictures_of_attention(run):
    metrics = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["metrics"]
    assert metrics.keys() == {"exact", "words", "sentences", "sentences_per_second"}
    assert metrics["words"] > 0.8
    with Image.open(run / "pictures/epoch_0012.png") as sheet:
        assert np.asarray(sheet).std() > 10


def test_evaluate(run, tsv, capsys):
    assert evaluate.main([run]) == 0
    assert "4 sentences" in capsys.readouterr().out
    assert evaluate.main([run, "--data", "reversal", "--shapes-val", "3"]) == 0  # words that it does not know
    assert "right: 0.000 of the sentences" in capsys.readouterr().out
    assert evaluate.main([run, "--data", "dates"]) == 2  # letters
    assert "words of level 'char' must be single characters, got" in capsys.readouterr().err


def test_predict_translates_every_line(run, tmp_path):
    (tmp_path / "text.txt").write_text("One two,\n\nthree\nzebra two\n")
    assert predict.main([run, tmp_path / "text.txt", "--out", tmp_path / "out", "--set", "beam=50"]) == 0
    (record,) = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [line["source"] for line in record["found"]] == ["One two,", "three", "zebra two"]
    assert set(record["found"][0]["text"].split()) <= set(NUMBERS.values())
    assert record["found"][0]["log_probability"] <= 0
    assert (tmp_path / "out" / record["picture"]).suffix == ".png"
    (tmp_path / "empty.txt").write_text("\n")
    assert predict.main([run, tmp_path / "empty.txt", "--out", tmp_path / "out"]) == 0
    assert json.loads((tmp_path / "out/predictions.json").read_text())[0]["found"] == []


def test_without_attention_translations_are_shown_as_text(tsv, tmp_path):
    folder = tmp_path / "run"
    assert train.main([*arguments(tsv, "seq2seq"), "--epochs", 1, "--run-dir", folder]) == 0
    assert "  is: " in (folder / "pictures/epoch_0001.txt").read_text()


def test_bad_input(tsv, run, tmp_path, error_of):
    def error(*more):
        return error_of(train.main, *arguments(tsv), "--run-dir", tmp_path / "run", *more)

    (tmp_path / "bad.tsv").write_text("one\tun\ntwo\n")
    (tmp_path / "one.tsv").write_text("one\tun\n")
    (tmp_path / "marks.txt").write_text("...\n")
    assert "bad.tsv, line 2: wanted a source, a tab and a target, got 'two'" in error("--root", tmp_path / "bad.tsv")
    assert "one.tsv: 1 pairs are too few for a split 'train'" in error("--root", tmp_path / "one.tsv")
    assert "--data tsv has the splits train, val, all; there is no 'x'" in error("--val-split", "x")
    assert "--root does not go with --data dates, which is generated" in error("--data", "dates")
    assert "--data tsv needs --root FILE" in error_of(train.main, *arguments(tsv)[:4], "--run-dir", tmp_path / "run")
    marks = (run, tmp_path / "marks.txt", "--out", tmp_path / "out")
    assert "Seq2Seq: text must have at least one word, got '...'" in error_of(predict.main, *marks)
    text = (run, tsv, "--out", tmp_path / "out")
    assert "beam_search: beam must be a number >= 1, got 0" in error_of(predict.main, *text, "--set", "beam=0")
