import numpy as np
from PIL import Image

from scripts.gradient_flow import main


def test_the_picture_and_the_table(tmp_path, capsys):
    small = ("--steps", 20, "--hidden", 12, "--radius", 0.5, 2, "--input", 0)
    assert main(["--out", tmp_path / "a" / "flow.png", *small, "--clip", 3]) == 0
    rows = {line[:22].strip(): line[22:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["RNN, radius 0.5"][:2] == ["0.5000", f"{0.5**20:.3g}"]
    assert rows["RNN, radius 2"][:2] == ["2.0000", f"{2.0**20:.3g}"]
    assert rows["RNN, radius 2"][3] == "3"
    assert {"LSTM", "LSTM, forget bias 4", "GRU", "GRU, update bias 4"} <= rows.keys()
    with Image.open(tmp_path / "a" / "flow.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_bad_input(tmp_path, error_of):
    assert "--steps: must be a whole number from 1, got 0" in error_of(main, "--steps", 0)
    assert "--clip: must be a number above 0, got 0" in error_of(main, "--clip", 0)
    (tmp_path / "file").write_text("")
    assert "file" in error_of(main, "--steps", 2, "--out", tmp_path / "file" / "flow.png")
