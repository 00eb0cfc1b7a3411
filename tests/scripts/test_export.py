"""scripts.export: ONNX files and weights of a checkpoint, and what is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import nn
import vision
from scripts import export, train
from vision.training.saving import find_checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    model = "--model resnet20_cifar --set n=1 width=2 short_side=32 max_side=64"
    arguments = f"{model} --shapes-train 2 --shapes-val 1 --shapes-size 32 32 --epochs 1 --batch-size 2"
    assert train.main([*arguments.split(), "--pictures", 0, "--run-dir", folder]) == 0
    return folder


def test_onnx_and_weights(run, tmp_path, capsys):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    path, weights = tmp_path / "new/m.onnx", tmp_path / "m.safetensors"
    assert export.main([run, "--onnx", path, "--weights", weights, "--size", 60, 60, "--batch-size", 2]) == 0
    out = capsys.readouterr().out
    assert f"{path}: images (2, 3, 60, 60) to logits (2, 3)" in out and "computes the same" in out
    model = vision.load(run)
    images = np.random.default_rng(1).standard_normal((2, 3, 60, 60)).astype(np.float32)
    (got,) = runtime.InferenceSession(str(path)).run(["logits"], {"images": images})
    np.testing.assert_allclose(got, model(images), atol=1e-4)
    metadata = {each.key: json.loads(each.value) for each in onnx.load(path).metadata_props if each.key != "model"}
    assert metadata["classes"] == list(model.classes)
    assert metadata["preprocess"]["mean"] == list(model.preprocess.mean)
    state = nn.read_state(weights)
    assert state.keys() == model.state_dict().keys()
    assert all((state[name] == array).all() for name, array in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet_small", {"percentiles": [1, 90], "dark_background": True, "mean": 3, "std": 64, "width": 1, "depth": 2}),
        ("unet_small", {"per_image": True, "width": 1, "depth": 2}),
        ("efficientnet_lite0", dict(vision.MODELS["efficientnet_lite0"].tiny.options)),  # the middle, bicubic
    ],
)
def test_the_metadata_prepares_a_photograph_as_the_model_does(name, options, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = vision.build(name, ("a", "b", "c"), **options)
    export.write(model, tmp_path / "m.onnx", (32, 40), 1, {})
    metadata = {each.key: json.loads(each.value) for each in onnx.load(tmp_path / "m.onnx").metadata_props}
    theirs, ours = vision.Preprocess(**metadata["preprocess"]), model.preprocess
    photograph = np.random.default_rng(2).integers(100, 240, (33, 50, 3)).astype(np.uint8)
    prepared = theirs.batch([theirs.scaled(photograph)])
    np.testing.assert_array_equal(prepared, ours.batch([ours.scaled(photograph)]))
    as_plain = vision.Preprocess(short_side=ours.short_side, max_side=ours.max_side, multiple=ours.multiple)
    other = as_plain.batch([as_plain.scaled(photograph)])
    assert other.shape != prepared.shape or abs(other - prepared).max() > 0.01


def test_the_default_size_is_that_of_a_photograph(run, tmp_path, capsys):
    assert export.main([find_checkpoint(run), "--onnx", tmp_path / "m.onnx"]) == 0
    height, width = vision.load(run).preprocess.size(480, 640)
    assert f"images (1, 3, {height}, {width})" in capsys.readouterr().out


def test_mistakes(run, tmp_path, error_of):
    assert "give --onnx FILE, or --weights FILE" in error_of(export.main, run)
    assert "no such file or folder" in error_of(export.main, tmp_path / "x", "--onnx", tmp_path / "m.onnx")
    assert ".safetensors" in error_of(export.main, run, "--weights", tmp_path / "m.bin")
    with pytest.raises(ValueError, match="char_rnn takes no images"):
        export.write(SimpleNamespace(preprocess=None, name="char_rnn"), tmp_path / "m.onnx", None, 1, {})


def test_a_difference_is_an_error(run, tmp_path):
    pytest.importorskip("onnxruntime")
    model, path, images = vision.load(run), tmp_path / "m.onnx", np.ones((1, 3, 60, 60), np.float32)
    export.write(model, path, (60, 60), 1, {})
    with pytest.raises(ValueError, match="onnxruntime computes something else"):
        export.compared(path, images, {"logits": model(images) * 1.01})
