import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.predict import find_inputs, main, result_names


def records(folder):
    return json.loads((folder / "predictions.json").read_text())


def test_pictures_and_json_of_a_folder_and_a_file(trained, voc, tmp_path, capsys):
    assert (
        main([trained, voc / "JPEGImages", voc / "JPEGImages/3.jpg", "--out", tmp_path / "out", "--threshold", 0]) == 0
    )
    assert f"7 pictures and predictions.json are in {tmp_path / 'out'}" in capsys.readouterr().out
    found = records(tmp_path / "out")
    assert [r["picture"] for r in found] == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "3_2.png"]
    for record in found:
        with Image.open(tmp_path / "out" / record["picture"]) as picture:
            assert picture.width % 48 == 0
            assert picture.height % 40 == 0
        assert (record["width"], record["height"]) == (48, 40)
        (thing,) = record["found"]  # the stand-in finds one object in each image
        assert thing["class"] == ("circle", "square", "triangle")[thing["label"] - 1]
        x1, y1, x2, y2 = thing["box"]
        assert 0 <= x1 <= x2 <= 48
        assert 0 <= y1 <= y2 <= 40


def test_hidden_files_are_left_out(voc):
    for name in ("._0.jpg", ".DS_Store", "Thumbs.db"):
        (voc / "JPEGImages" / name).write_bytes(b"of another system")
    assert [path.name for path in find_inputs([voc / "JPEGImages"], "image")] == [f"{k}.jpg" for k in range(6)]


def spoil(path, how):
    """Damage a picture: cut off, in its midst (header and end whole), or too thin for the stand-in."""
    whole = path.read_bytes()
    if how == "thin":
        Image.new("RGB", (2000, 9)).save(path)
    elif how == "middle":
        path.write_bytes(whole[:400] + b"\xff\xd9\xff\x00" * 100 + whole[-2:])
    else:
        path.write_bytes({"cut": whole[:300], "empty": b"", "text": b"hello"}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "text", "thin"])
def test_a_bad_picture_does_not_cost_the_others(trained, voc, tmp_path, capsys, how):
    spoil(voc / "JPEGImages/3.jpg", how)
    assert main([trained, voc / "JPEGImages", "--out", tmp_path / "out"]) == 1
    out, err = capsys.readouterr()
    assert "5 pictures and predictions.json are in " in out
    lines = err.splitlines()
    assert lines[0] == "could not be predicted: 1 of 6"
    assert len(lines) == 2 and lines[1].startswith(f"  {voc / 'JPEGImages/3.jpg'}: ")
    assert [Path(r["file"]).name for r in records(tmp_path / "out")] == [f"{k}.jpg" for k in (0, 1, 2, 4, 5)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0.png", "1.png", "2.png", "4.png", "5.png", "predictions.json",
    ]  # fmt: skip


def test_where_all_pictures_are_bad_nothing_is_written(trained, voc, tmp_path, error_of):
    for path in (voc / "JPEGImages").iterdir():
        spoil(path, "text")
    error = error_of(main, trained, voc / "JPEGImages", "--out", tmp_path / "a/out")
    assert error.startswith(f"error: none of 6 can be predicted: {voc / 'JPEGImages/0.jpg'}: not an image")
    assert error_of(main, trained, voc / "JPEGImages/0.jpg", "--out", tmp_path / "a/out").startswith(
        f"error: {voc / 'JPEGImages/0.jpg'}: not an image"
    )
    assert not (tmp_path / "a/out").exists()


def test_debug_shows_the_traceback_of_a_bad_picture(trained, voc, tmp_path):
    spoil(voc / "JPEGImages/3.jpg", "cut")
    with pytest.raises(ValueError, match=r"3\.jpg"):
        main([trained, voc / "JPEGImages", "--out", tmp_path / "out", "--debug"])


def test_what_cannot_be_written_ends_it(trained, voc, tmp_path, error_of, monkeypatch):
    """A full disk is not the picture's fault."""

    def full(*_):
        raise OSError(28, "No space left on device", "0.png")

    monkeypatch.setattr("scripts.predict.save_drawn", full)
    assert error_of(main, trained, voc / "JPEGImages", "--out", tmp_path / "out") == (
        "error: 0.png: No space left on device"
    )


def test_threshold(trained, voc, tmp_path):
    main([trained, voc / "JPEGImages/0.jpg", "--out", tmp_path, "--threshold", 1])
    assert records(tmp_path)[0]["found"] == []


def test_grey_cmyk_palette_transparent_and_16_bit_images_work(trained, tmp_path):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8))
    (tmp_path / "in").mkdir()
    for mode, suffix in {"L": "jpg", "CMYK": "jpg", "P": "png", "RGBA": "png", "1": "png", "LA": "png"}.items():
        picture.convert(mode).save(tmp_path / f"in/{mode}.{suffix}")
    Image.fromarray(rng.integers(0, 65535, (40, 48)).astype(np.uint16)).save(tmp_path / "in/sixteen.png")
    assert main([trained, tmp_path / "in", "--out", tmp_path / "out"]) == 0
    assert len(records(tmp_path / "out")) == 7


def test_which_files_of_a_folder(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden"):
        (tmp_path / name).touch()
    assert [path.name for path in find_inputs([tmp_path], "image")] == ["a.png", "b.JPG"]
    assert find_inputs([tmp_path], "text") == [tmp_path / "notes.txt"]
    assert find_inputs([tmp_path / "notes.txt"], "image") == [tmp_path / "notes.txt"]  # given by name


def test_all_results_have_different_names():
    paths = [Path(name) for name in ("x/a.jpg", "x/a.png", "y/a.jpg", "a_2.jpg")]
    assert result_names(paths) == ["a", "a_2", "a_3", "a_2_2"]


def test_help(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert leaving.value.code == 0
    out = capsys.readouterr().out
    assert "holiday.jpg" in out
    assert "(default: 0.5)" in out
