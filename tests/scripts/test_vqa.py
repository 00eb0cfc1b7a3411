"""Visual question answering by the scripts, on generated scenes."""

import json
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

import vision
from datasets import Shapes
from scripts import evaluate, predict, train
from scripts.readers.vqa import open_questions
from vision import TASKS, Preprocess
from vision.vqa import StackedAttentionVQA
from vision.vqa.task import (
    answer,
    describe_answers,
    draw_answers,
    evaluate_vqa,
    select_answers,
    vqa_batch,
    vqa_table,
)

SMALL = ("width=1", "embedding_size=4", "hidden_size=6", "attention_size=5", "short_side=32")
SCENES = ("--shapes-train", 10, "--shapes-val", 4, "--shapes-size", 32, 40, "--batch-size", 4, "--pictures", 2)


def questions(n=4, split="val", classes=None, root=None):
    return open_questions(Namespace(root=root, shapes_train=n, shapes_val=n, shapes_size=(32, 40)), split, classes)


def small():
    options = {name: int(value) for name, value in (text.split("=") for text in SMALL)}
    return vision.build("stacked_attention_vqa", questions().classes, np.random.default_rng(0), **options)


class Oracle(StackedAttentionVQA):
    """Gives the answers of a data set; to questions of one type it gives "nothing"."""

    def __init__(self, data, fails):
        self.preprocess = Preprocess(short_side=32, max_side=64, mean=0, std=1)
        self.answers = data.questions.answers
        self.samples, self.fails, self.next = [data[i] for i in range(len(data))], fails, 0

    def predict(self, images, questions):
        said = []
        for image, asked in zip(images, questions):
            sample = self.samples[self.next]
            self.next += 1
            np.testing.assert_array_equal(image, sample["image"].transpose(2, 0, 1))
            assert asked == sample["questions"]
            said += ["nothing" if name == self.fails else a for name, a in zip(sample["types"], sample["answers"])]
        return np.array([[a == said_one for a in self.answers] for said_one in said], float), None


def test_shapes_from_training_to_predictions(tmp_path, capsys):
    model = ("--model", "stacked_attention_vqa", "--set", *SMALL)
    assert train.main([*model, *SCENES, "--run-dir", tmp_path / "run", "--epochs", 1]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("how many", "is there", "what colour", "what shape", "relation"))
    assert [path.name for path in (tmp_path / "run/pictures").iterdir()] == ["epoch_0001.png"]
    assert evaluate.main([tmp_path / "run/last.npz", "--json", tmp_path / "a.json"]) == 0
    logged = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()][-1]["metrics"]
    assert logged | {"images_per_second": 0} == json.loads((tmp_path / "a.json").read_text()) | {"images_per_second": 0}

    Image.fromarray(Shapes(1, (48, 64))[0]["image"]).save(tmp_path / "scene.png")
    asked = (tmp_path / "run/last.npz", tmp_path / "scene.png", "--out", tmp_path / "out", "--threshold", 0)
    assert predict.main([*asked, "--set", "question=is there a red circle"]) == 0
    (record,) = json.loads((tmp_path / "out/predictions.json").read_text())
    (found,) = record["found"]
    assert found["question"] == "is there a red circle"
    assert found["answer"] in questions().questions.answers
    assert (tmp_path / "out/scene.png").exists()
    assert predict.main(asked) == 2
    assert "a question is needed: --set question=" in capsys.readouterr().err
    assert predict.main([*asked, "--set", "question=?"]) == 2
    assert "a question must have words, got '?'" in capsys.readouterr().err


def test_a_stopped_run_continues_bit_for_bit(tmp_path):
    model = ("--model", "stacked_attention_vqa", "--set", *SMALL)
    options = (*model, *SCENES, "--evaluate-every", 0, "--epochs", 2, "--checkpoint-every", 1)
    assert train.main([*options, "--run-dir", tmp_path / "whole"]) == 0
    assert train.main([*options, "--run-dir", tmp_path / "parts", "--time-limit", 1e-6]) == 0
    assert train.main(["--run-dir", tmp_path / "parts", "--resume"]) == 0
    whole, parts = (np.load(tmp_path / run / "last.npz") for run in ("whole", "parts"))
    for name in whole.files:
        if name.startswith(("model/", "optimiser/")):
            np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)


def test_splits_differ_and_classes_are_the_data_sets_own():
    data = questions()
    assert {"yes", "nothing", "<pad>", "left"} <= set(data.classes)
    assert questions(classes=list(data.classes)).classes == data.classes
    assert questions(split="train")[0]["id"] != data[0]["id"]
    with pytest.raises(ValueError, match="has its own answers and words as classes: 0 1 .* leave them out"):
        questions(classes=["red"])
    with pytest.raises(ValueError, match="has the splits train, val, test; there is no 'all'"):
        questions(split="all")
    with pytest.raises(ValueError, match="--root here does not go with --data shapes"):
        questions(root="here")


def test_accuracy_is_by_type():
    data = questions(60)
    assert evaluate_vqa(Oracle(data, None), data)["accuracy"] == 1
    metrics = evaluate_vqa(Oracle(data, "what colour"), data)
    types = metrics["types"]
    assert types["what colour"]["accuracy"] == 0
    assert [types[name]["accuracy"] for name in ("how many", "is there", "what shape", "relation")] == [1] * 4
    assert sum(row["questions"] for row in types.values()) == metrics["questions"]
    assert metrics["accuracy"] == pytest.approx(1 - types["what colour"]["questions"] / metrics["questions"])
    rows = vqa_table(metrics).splitlines()
    assert [row.split()[-1] for row in rows[1:6]] == ["1.000", "1.000", "0.000", "1.000", "1.000"]
    assert rows[6].startswith("all")
    assert rows[7].startswith("60 images")


def test_batches():
    data = questions()
    model = small()
    model.preprocess = Preprocess(mean=100, std=50)
    images, asked, answers = vqa_batch(model, [data[0], data[1]])
    assert images.shape == (2, 3, 32, 40)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images[1], (data[1]["image"].transpose(2, 0, 1) - 100.0) / 50, rtol=1e-6)
    assert asked == [data[0]["questions"], data[1]["questions"]]
    assert answers == [data[0]["answers"], data[1]["answers"]]


def test_answers_are_described_selected_and_drawn():
    data, model = questions(), small()
    prediction = answer(model, data[0])
    described = describe_answers(prediction, data.classes)
    assert [found["question"] for found in described] == data[0]["questions"]
    assert prediction["attention"].shape == (2, len(described), 4, 5)
    threshold = np.sort(prediction["scores"])[1]
    sure = select_answers(prediction, threshold)
    assert len(sure["answers"]) == sure["attention"].shape[1] == len(described) - 1
    assert describe_answers(sure, data.classes) == [f for f in described if f["score"] >= round(float(threshold), 4)]
    picture = draw_answers(data[0]["image"], prediction, data.classes, data[0])
    alone = draw_answers(data[0]["image"], answer(model, data[0], "is there a star"), data.classes)
    assert picture.shape[0] > 1.5 * alone.shape[0]
    assert picture.dtype == alone.dtype == np.uint8
    none = draw_answers(data[0]["image"], select_answers(prediction, 1), data.classes)
    assert none.shape[2] == 3


def test_the_task_is_complete():
    assert TASKS["vqa"].options == {"question": ""}
    assert TASKS["vqa"].metric in evaluate_vqa(Oracle(questions(), None), questions())
