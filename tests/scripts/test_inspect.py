"""scripts.inspect: the data of the page for models of every kind, and the file that is written."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

import scripts.train
import vision
from datasets import Shapes
from scripts import inspect
from scripts.gradcheck import tiny_data
from scripts.inspection.build import report
from scripts.inspection.page import page

# One of each task, and those that need something of their own; all others are of the same kinds.
SOME = (
    "char_lstm", "dr_lim", "deep_pose_small", "faster_rcnn_small", "fcn8s_small", "hog_svm", "localizer_small",
    "mask_rcnn_small", "mnist_conv", "nav_a3c", "ram_mnist", "resnet20_cifar", "seq2seq_attention",
    "show_attend_tell_soft", "spp_net_small", "ssd_small", "transfer", "yolo_small",
)  # fmt: skip


def tiny_report(name):
    entry = vision.MODELS[name]
    data = tiny_data(name, entry.tiny)
    model = vision.build(name, data.classes, np.random.default_rng(3), **entry.tiny.options)
    before = {key: array.copy() for key, array in model.state_dict().items()}
    trainable = [p.trainable for p in model.parameters().values()]
    samples = [data[i] for i in range(entry.tiny.scenes)]
    made = report(model, samples, "the truth", {"name": name, "command": "a command"})
    assert [p.trainable for p in model.parameters().values()] == trainable
    return made, model, before


@pytest.mark.parametrize("name", vision.MODELS if os.environ.get("NN_TEST_ALL_MODELS") else SOME)  # .ci/run: all
def test_the_page_of_every_kind_of_model(name):
    made, model, before = tiny_report(name)
    after = model.state_dict()
    for key, parameter in model.parameters().items():
        np.testing.assert_array_equal(parameter.value, before[key])
        assert parameter.value is after[key]
    assert not any("forward" in vars(layer) for _, layer in model.layers())
    passes, leaves = made["passes"], made["leaves"]
    assert [p["order"] for p in passes] == [*range(len(passes))]
    assert all(p["parent"] is None or passes[p["parent"]]["depth"] == p["depth"] - 1 for p in passes)
    assert any(passes[order]["dy"] for order in leaves) and made["outputs"]
    for p in passes:
        assert p["kind"] in made["kinds"] and made["kinds"][p["kind"]]["formula"]
        for key in ("y_picture", "dy_picture"):
            assert p[key] is None or made["pictures"][p[key]]["kind"] in ("maps", "matrix", "bars")
    text = page(name, {"reports": [made]})
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|url\(\s*[\"']?http", text)
    shown = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(shown.replace("<\\/", "</"))["reports"][0]["model"] == name


def test_the_gradient_of_an_output_is_that_of_a_finite_difference():
    from nn.record import arrays_in
    from scripts.inspection.outputs import chosen
    from scripts.inspection.passes import DATA, gradients_of, looked_into

    data = tiny_data("faster_rcnn_small", vision.MODELS["faster_rcnn_small"].tiny)
    options = vision.MODELS["faster_rcnn_small"].tiny.options
    model = vision.build("faster_rcnn_small", data.classes, np.random.default_rng(3), **options).astype(np.float64)
    images, targets = vision.TASKS["detection"].collate(model, [data[0]])
    images = images.astype(np.float64)
    with looked_into(model, (images, targets)) as seen:
        output = chosen(seen)[0]
        (gradients,) = gradients_of(seen, output.at, [output.index])
        sampled = seen.cache.sampled
        assert seen.passes[0].dx is not None  # the loss's gradients are back

    def value(step):
        with_step = images + step
        features, _ = model.backbone.forward(with_step)
        pooled, _ = model.roi_pool.forward(features, sampled.rois, sampled.image_index)
        return model.head.forward(pooled)[0][0][output.index]

    direction = np.random.default_rng(5).standard_normal(images.shape)
    wanted = (value(1e-6 * direction) - value(-1e-6 * direction)) / 2e-6
    assert (gradients[DATA] * direction).sum() == pytest.approx(wanted, rel=1e-5)
    assert next(arrays_in(gradients[output.at]))[output.index] == pytest.approx(1)


def test_as_in_testing_the_scores_are_those_of_a_prediction():
    data = tiny_data("vgg_small", vision.MODELS["vgg_small"].tiny)
    model = vision.build("vgg_small", data.classes, np.random.default_rng(3), **vision.MODELS["vgg_small"].tiny.options)
    model(model.preprocess.batch([data[0]["image"]]))
    about, settings = {"name": "a", "command": "b"}, [repr(layer) for _, layer in model.layers()]
    made = report(model, [data[0]], "the truth", about, testing=True)
    assert [repr(layer) for _, layer in model.layers()] == settings and "frozen" not in made["passes"][2]["arguments"]
    logits = sorted(model(model.preprocess.batch([data[0]["image"]]))[0], reverse=True)
    assert [output["value"] for output in made["outputs"]] == pytest.approx(logits, rel=1e-3)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(Shapes(1, (48, 64), 5)[0]["image"]).save(path)
    return path


def test_boxes_gates_and_attention():
    (boxes,) = tiny_report("faster_rcnn_small")[0]["extras"]
    kinds = {layer["name"]: layer for layer in boxes["layers"]}
    before, after = (kinds[f"proposals {word} suppression"] for word in ("before", "after"))
    assert after["count"] <= before["count"] and len(before["scores"]) == len(before["boxes"])
    assert before["scores"] == sorted(before["scores"], reverse=True)
    assert kinds["anchors of one cell"]["count"] == 6 and kinds["the truth of the loss"]["shown"]
    labels = [output["label"] for output in tiny_report("faster_rcnn_small")[0]["outputs"]]
    assert labels[-1] == "its box: width, " + labels[0].split(", ")[1]
    attention, gates = tiny_report("show_attend_tell_soft")[0]["extras"]
    assert "<end>" in attention["labels"] and len(attention["tiles"]) == len(attention["labels"])
    assert [*gates["drawn"]] == [
        "input gate i", "forget gate f", "output gate o", "candidate g", "cell c", "state h"
    ] and len(gates["norms"]) == len(gates["labels"])  # fmt: skip
    assert gates["drawn"]["forget gate f"]["low"] == 0 and gates["drawn"]["cell c"]["low"] < 0


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_gates_of_a_stack_are_those_of_its_cells(kind):
    import nn
    from scripts.inspection.recurrent import step_of, steps_of

    stack, cell = getattr(nn, kind)(3, 4), getattr(nn, f"{kind}Cell")(3, 4)
    cell.load_state_dict({name.removesuffix("_l0"): array for name, array in stack.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    with nn.record(stack) as passes:
        (y, *_), _ = stack.forward(x)
    with nn.record(cell) as calls:
        states = ()
        for x_t in x:
            new, _ = cell.forward(x_t, *states)
            states = new if isinstance(new, tuple) else (new,)
    for t, (one, other) in enumerate(zip(steps_of(passes[0]), map(step_of, calls), strict=True)):
        assert one.keys() == other.keys()
        for name, values in one.items():
            np.testing.assert_allclose(values, other[name], atol=1e-6)
        np.testing.assert_allclose(one["state h"], y[t, 0], atol=1e-6)


SMALL = ["--set", "width=2", "short_side=48"]


def read(path):
    shown = re.search(r'<script id="data" type="application/json">(.*?)</script>', path.read_text(), re.DOTALL)[1]
    return json.loads(shown.replace("<\\/", "</"))["reports"]


def test_a_photograph_takes_the_models_own_answer_as_truth(photo, tmp_path, capsys):
    out = tmp_path / "deep" / "page.html"
    assert inspect.main(["--model", "vgg_small", photo, "--out", out, *SMALL]) == 0
    (made,) = read(out)
    assert made["words"].startswith("the model's own answer") and "open it in a browser" in capsys.readouterr().out
    assert (made["input"]["height"], made["input"]["width"]) == (48, 64) and made["whole"]["pixels"]
    assert inspect.main(["--model", "vgg_small", photo, "--out", out, "--target", "circle", *SMALL]) == 0
    assert read(out)[0]["words"] == "the class circle, as --target says"


@pytest.mark.parametrize("name", ["faster_rcnn_small", "fcn8s_small", "show_attend_tell_soft", "localizer_small"])
def test_answers_of_other_tasks(name, photo, tmp_path):
    options = {"faster_rcnn_small": ["width=2", "stride=8"], "show_attend_tell_soft": ["short_side=32"]}
    chosen = ["--set", "short_side=48", *options.get(name, ["width=2"])]
    assert inspect.main(["--model", name, photo, "--out", tmp_path / "page.html", *chosen]) == 0
    assert "own" in read(tmp_path / "page.html")[0]["words"]


def test_two_checkpoints_side_by_side_and_what_is_no_pair(tmp_path, capsys):
    from vision.training.saving import LAST

    for name in ("a", "b"):
        run = tmp_path / name
        train = ["--model", "vgg_small", "--shapes-train", 2, "--shapes-val", 2, "--shapes-size", 32, 40, "--epochs", 1]
        more = ["--batch-size", 2, "--pictures", 0, "--val-batches", 0, "--workers", 0, "--seed", len(name)]
        assert scripts.train.main([*train, *more, "--set", "width=2", "--run-dir", run]) == 0
        assert (run / "report.html").read_text().startswith("<!doctype html>")
    out = tmp_path / "both.html"
    compared = ["--compare", tmp_path / "a", tmp_path / "b" / LAST, "--out", out, "--size", 32, 40]
    assert inspect.main(compared) == 0
    first, second = read(out)
    assert (first["name"], second["name"]) == ("a", "b/last")
    assert [p["name"] for p in first["passes"]] == [p["name"] for p in second["passes"]]
    assert inspect.main([tmp_path / "a", "--model", "resnet18", "--out", out]) == 2
    assert "holds vgg_small, not resnet18; leave out --model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give one of: a RUN, --model NAME, --published NAME, --compare A B"),
        (["--model", "vgg_smal"], "did you mean vgg_small"),
        (["--model", "vgg_small", "missing.png"], "missing.png: no such file"),
        (
            ["--model", "vgg_small", "--stage", "second"],
            "--stage second: the stages of vgg_small by gradients are train",
        ),
        (["--model", "vgg_small", "PHOTO", "--target", "dog"], "--target dog: the classes are"),
        (["--model", "nav_a3c", "PHOTO"], "nav_a3c looks at no photographs"),
        (["--model", "vgg_small", "PHOTO", "PHOTO"], "one picture is looked at"),
    ],
)
def test_bad_input_is_named(arguments, message, photo, tmp_path, capsys):
    arguments = [photo if each == "PHOTO" else each for each in arguments]
    assert inspect.main([*arguments, "--out", tmp_path / "page.html"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
