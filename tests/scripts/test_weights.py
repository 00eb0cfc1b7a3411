"""What --weights and --pretrained say of the files that they are given."""

import numpy as np
import pytest

import vision
from nn.io.checkpoint import read_checkpoint, write_checkpoint
from nn.io.state import save_state
from scripts.train import main
from scripts.weights import load_parts


@pytest.fixture
def published(trained, tmp_path):
    """A file of weights that is no checkpoint, as published ones are."""
    save_state(vision.load(trained).state_dict(), tmp_path / "published.npz")
    return tmp_path / "published.npz"


def test_published_weights_given_as_a_checkpoint(small, published, tmp_path, error_of):
    error = error_of(main, *small, "--run-dir", tmp_path / "run", "--weights", published)
    assert error == (
        f"error: {published}: holds weights, but is no checkpoint of scripts.train: give it with --pretrained, "
        "not --weights"
    )


def test_no_array_of_the_wanted_shape(small, published, tmp_path, error_of):
    options = ("--set", "hidden=3", "--classes", "star")
    save_state({"box.weight": np.zeros((4, 8)), "label.bias": np.zeros(3)}, published)
    error = error_of(main, *small, *options, "--run-dir", tmp_path / "run", "--pretrained", published)
    assert error == (
        f"error: {published}: none of its arrays fits the model's: box.weight has shape (4, 8), wanted (4, 3); "
        "label.bias has shape (3,), wanted (1,)"
    )


def test_no_array_of_a_wanted_name(small, published, tmp_path, error_of):
    save_state({"a": np.zeros(3)}, published)
    error = error_of(main, *small, "--run-dir", tmp_path / "run", "--pretrained", published)
    assert f"{published}: none of its arrays (a, ...) fits the model's (body.0.weight, body.0.bias, " in error


def loaded(run, classes, capsys):
    """(the model after loading the parts of a run, what was printed)."""
    model = vision.build("stand_in", classes, np.random.default_rng(5))
    load_parts(run / "best.npz", model)
    return model, capsys.readouterr().out


def test_the_head_is_kept_for_the_same_classes(trained, capsys):
    model, out = loaded(trained, ["circle", "square", "triangle"], capsys)
    assert f"{trained / 'best.npz'}: 8 of 8 arrays; random are none\n" == out
    np.testing.assert_array_equal(model.label.weight.value, vision.load(trained).label.weight.value)


@pytest.mark.parametrize("classes", [["square", "circle", "triangle"], ["circle", "square", "ring"]])
def test_the_head_of_other_classes_stays_random_though_its_shape_fits(trained, capsys, classes):
    model, out = loaded(trained, classes, capsys)
    path = trained / "best.npz"
    assert out.splitlines() == [
        f"{path}: 6 of 8 arrays; random are label.weight, label.bias",
        f"note: {path}: label.bias is of other classes: left out",
        f"note: {path}: label.weight is of other classes: left out",
    ]
    fresh = vision.build("stand_in", classes, np.random.default_rng(5))
    np.testing.assert_array_equal(model.label.weight.value, fresh.label.weight.value)
    np.testing.assert_array_equal(model.box.weight.value, vision.load(trained).box.weight.value)


def test_more_classes_leave_the_head_random_and_say_the_shapes(trained, capsys):
    _, out = loaded(trained, ["circle", "square", "triangle", "ring"], capsys)
    assert "6 of 8 arrays; random are label.weight, label.bias" in out
    assert "label.weight has shape (3, 8), wanted (4, 8): left out" in out


def test_a_checkpoint_that_lies_about_its_classes(trained, tmp_path, capsys):
    arrays, meta = read_checkpoint(trained / "best.npz")
    write_checkpoint(tmp_path / "best.npz", arrays, meta | {"model": meta["model"] | {"classes": 3}})
    _, out = loaded(tmp_path, ["circle", "square", "triangle"], capsys)
    assert "6 of 8 arrays; random are label.weight, label.bias" in out
