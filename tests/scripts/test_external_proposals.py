"""A detector that classifies proposals, through the doors: train, evaluate and predict."""

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

import vision
from scripts import evaluate, predict, train
from tests.scripts.stand_in import RECIPE, Options, StandIn
from vision.registry import Entry, Tiny


@dataclass(frozen=True)
class ProposedOptions(Options):
    proposals: str = "sliding_windows count=9"  # method


class Proposed(StandIn):
    """Finds the best proposal, whatever it is."""

    def __init__(self, classes, options, rng):
        super().__init__(classes, options, rng)
        self.proposals = options.proposals

    def loss(self, batch, rng, sampled=None):
        assert all(target["proposals"].shape == (9, 4) for target in batch[1])
        return super().loss(batch, rng, sampled)

    def predict(self, images, image_sizes, proposals):
        found = super().predict(images, image_sizes)
        return [each | {"boxes": boxes[:1]} for each, boxes in zip(found, proposals)]


@pytest.fixture
def proposed(monkeypatch):
    entry = Entry("proposed", "detection", Proposed, ProposedOptions, RECIPE | {"zoom": [1, 1]}, Tiny(), "", "", "")
    monkeypatch.setitem(vision.MODELS, "proposed", entry)


def test_train_resume_evaluate_predict(proposed, small, tmp_path, capsys):
    run, kept = tmp_path / "run", tmp_path / "kept"
    arguments = [*small, "--model", "proposed", "--run-dir", run, "--proposals", kept]
    assert train.main([*arguments, "--time-limit", 1e-6]) == 0
    assert "proposals: sliding_windows count=9, 9 on average for 22 images" in capsys.readouterr().out
    assert len(list(kept.glob("sliding_windows-*/*.npz"))) == 25
    assert train.main(["--run-dir", run, "--resume"]) == 0  # without --proposals: in the folder of the run
    assert len(list(run.glob("proposals/sliding_windows-*/*.npz"))) == 25
    assert evaluate.main([run, "--proposals", kept]) == 0
    picture = tmp_path / "picture.png"
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(picture)
    assert predict.main([run, picture, "--out", tmp_path / "out", "--threshold", 0]) == 0


def test_missing_proposals_come_before_training(proposed, small, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    option = f"proposals=files folder={tmp_path / 'empty'}"
    assert train.main([*small, "--model", "proposed", "--run-dir", tmp_path / "run", "--set", option]) == 2
    assert "there are no proposals for this image" in capsys.readouterr().err
    assert not (tmp_path / "run" / "last.npz").exists()
