"""Pictures too thin for the network are found before training."""

import numpy as np
import pytest
from PIL import Image

import vision
from datasets.listing import Listed
from nn.io.checkpoint import read_checkpoint
from scripts import smallest
from scripts.train import main


def thin(voc, number, size):
    Image.new("RGB", size).save(voc / f"JPEGImages/{number}.jpg")
    (voc / f"Annotations/{number}.xml").write_text("<annotation></annotation>")


@pytest.mark.parametrize(
    ("number", "size", "seen"), [(2, (2000, 9), "64x1"), (2, (8, 8000), "1x64"), (5, (2000, 9), "64x1")]
)
def test_a_thin_picture_is_named_before_training(on_voc, voc, tmp_path, error_of, number, size, seen):
    """2 is a picture of the training split, 5 one of the validation split."""
    thin(voc, number, size)
    error = error_of(main, *on_voc)
    w, h = size
    assert error.startswith(f"error: {voc / f'JPEGImages/{number}.jpg'}: this picture of {w}x{h} is {seen} to the")
    assert "StandIn: the input is too small, got (1, 3, " in error
    assert error.endswith("; leave it out, or choose other sizes with --set")
    assert not (tmp_path / "run").exists()


def test_trying_changes_nothing_of_the_run(on_voc, tmp_path, monkeypatch):
    """The stand-in has a buffer and a generator that each loss changes."""
    tried = []
    loss = smallest._loss
    monkeypatch.setattr(smallest, "_loss", lambda *args: tried.append(args) or loss(*args))
    assert main(on_voc) == 0 and tried
    monkeypatch.setattr("scripts.train.try_smallest", lambda *_: None)
    assert main([*on_voc, "--run-dir", tmp_path / "untried"]) == 0
    (a, meta_a), (b, meta_b) = (read_checkpoint(tmp_path / name / "last.npz") for name in ("run", "untried"))
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)
    assert meta_a["generators"] == meta_b["generators"]


def test_which_pictures_are_tried():
    """The lowest, the narrowest and the smallest as the network sees them; none where all are large enough."""
    model = vision.build("stand_in", ["a"], np.random.default_rng(0))
    sizes = [(40, 48), (9, 2000), (2000, 9), (20, 20), (9, 2000)]
    pictures = [Listed(str(i), size) for i, size in enumerate(sizes)]
    assert [index for index, _ in smallest.smallest(model, pictures)] == [1, 2]
    assert [index for index, _ in smallest.smallest(model, pictures[3:4])] == [0]
    large = vision.build("stand_in", ["a"], np.random.default_rng(0), short_side=200, max_side=4000)
    assert smallest.smallest(large, [Listed("a", (300, 400))]) == []
