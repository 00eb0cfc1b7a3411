"""--accumulate through the door: the training of the whole batch, computed in parts."""

import json

import numpy as np
import pytest

from nn.io.checkpoint import read_checkpoint
from scripts.train import main

SCENES = ("--shapes-train", 8, "--shapes-val", 3, "--shapes-size", 32, 40, "--pictures", 0, "--epochs", 2)
PIXELS = ("--model", "multiscale_small", "--set", "width=2", *SCENES, "--batch-size", 4)


def trained(folder, *arguments):
    assert main([*arguments, "--run-dir", folder]) == 0
    losses = [json.loads(line).get("losses") for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return read_checkpoint(folder / "last.npz")[0], [each for each in losses if each]


def test_the_run_is_that_of_whole_batches(tmp_path):
    whole, losses = trained(tmp_path / "whole", *PIXELS)
    in_parts, losses_in_parts = trained(tmp_path / "parts", *PIXELS, "--accumulate", 3)
    assert len(losses) == len(losses_in_parts) == 4
    for a, b in zip(losses, losses_in_parts):
        assert a == pytest.approx(b, rel=1e-5)
    for name, value in whole.items():
        np.testing.assert_allclose(in_parts[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_samples_that_belong_together_are_not_parted(tmp_path, error_of):
    (tmp_path / "text.txt").write_text("ab" * 300)
    text = ("--model", "char_lstm", "--data", "text", "--root", tmp_path / "text.txt", "--set", "chunk=10")
    message = error_of(main, *text, "--accumulate", 2, "--run-dir", tmp_path / "run")
    assert "--accumulate 2: the samples of a batch of char_lstm belong together" in message


def test_parts_that_are_too_small_are_named(tmp_path, error_of):
    arguments = ("--model", "deeplabv3_small", *SCENES, "--batch-size", 4, "--accumulate", 4)
    message = error_of(main, *arguments, "--run-dir", tmp_path / "run")
    assert "deeplabv3_small needs batches of at least 2" in message and "has 4 in 4 parts" in message
