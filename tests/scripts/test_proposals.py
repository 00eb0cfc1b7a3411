"""scripts.proposals: figures, curves, cache, options by method, and bad input."""

import json

import numpy as np
import pytest
from PIL import Image

from scripts.proposals import main


def test_figures_and_curves_of_two_methods(tmp_path, capsys):
    arguments = ["--methods", "uniform", "gaussian", "--shapes-val", 3, "--every", 2, "--out", tmp_path / "out"]
    arguments += ["--set", "count=300", "gaussian.seed=4", "--cache", tmp_path / "kept"]
    assert main(arguments) == 0
    found = json.loads((tmp_path / "out" / "proposals.json").read_text())
    assert list(found) == ["uniform", "gaussian"]
    assert all(each["images"] == 2 and each["boxes_per_image"] <= 300 for each in found.values())
    assert all((np.diff(each["MABO"]) >= 0).all() for each in found.values())
    with Image.open(tmp_path / "out" / "curves.png") as picture:
        assert picture.width > 1000
    assert "2 images" in capsys.readouterr().out
    kept = {json.loads(path.read_text())["options"]["seed"] for path in (tmp_path / "kept").glob("*/method.json")}
    assert kept == {0, 4} and len(list((tmp_path / "kept").glob("*/*.npz"))) == 4
    assert main(arguments) == 0  # from the files


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--methods", "edgeboxes"], "no proposal method 'edgeboxes': did you mean edge_boxes"),
        (["--set", "rpm.run=a"], "there is no method 'rpm'"),
        (["--methods", "uniform", "--set", "uniform.cont=3"], "uniform: there is no option 'cont'"),
        (["--methods", "rpn"], "rpn: give run"),
        (["--data", "coco"], "--data coco needs --root"),
    ],
)
def test_bad_input(arguments, message, tmp_path, capsys):
    assert main([*arguments, "--out", tmp_path]) == 2
    assert message in capsys.readouterr().err
