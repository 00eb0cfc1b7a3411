import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vision

STAND_IN = Path(__file__).with_name("stand_in.py")


def _entries():
    spec = importlib.util.spec_from_file_location("stand_in", STAND_IN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ENTRIES


@pytest.fixture(autouse=True, scope="session")
def entries():
    return _entries()


@pytest.fixture(autouse=True)
def registered(entries, monkeypatch):
    """The stand-in models, known to `vision` during these tests only."""
    for name, entry in entries.items():
        monkeypatch.setitem(vision.MODELS, name, entry)


def _start(script, *arguments):
    command = [sys.executable, STAND_IN, script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=STAND_IN.parents[2], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="session")
def start():
    """start(script, *arguments): a script in its own process, with the stand-in models."""
    return _start


@pytest.fixture(scope="session")
def stand_in():
    """The file that runs the scripts with the stand-in models."""
    return STAND_IN


@pytest.fixture(scope="session")
def small():
    """Arguments that train the stand-in on 22 tiny scenes."""
    return ("--model", "stand_in", "--shapes-train", 22, "--shapes-val", 3, "--shapes-size", 40, 48, "--pictures", 2)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, start, small):
    """The folder of a finished run of the stand-in on Shapes: read only."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    child = start("train", *small, "--run-dir", folder)
    _out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return folder


@pytest.fixture
def error_of(capsys):
    """Runs a main that must fail with status 2 and one line on stderr; returns this line."""

    def run(main, *arguments):
        try:
            status = main(arguments)
        except SystemExit as leaving:  # argparse
            status = leaving.code
        err = capsys.readouterr().err
        assert status == 2, err
        lines = [line for line in err.splitlines() if not line.startswith("note: ")]
        assert len(lines) == 1, err
        assert "Traceback" not in err, err
        return lines[0]

    return run


XML = """<annotation><size><width>48</width><height>40</height><depth>3</depth></size>{}</annotation>"""
OBJECT = """<object><name>{}</name><difficult>0</difficult>
<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


@pytest.fixture
def voc(tmp_path):
    """A folder in Pascal VOC's layout: 6 pictures of 48 x 40 with one object, four in train, two in val."""
    root = tmp_path / "voc"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)).save(root / f"JPEGImages/{i}.jpg")
        text = XML.format(OBJECT.format(("cat", "dog")[i % 2], 5 + i, 6, 25 + i, 30))
        (root / f"Annotations/{i}.xml").write_text(text)
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n2\n3\n")
    (root / "ImageSets/Main/val.txt").write_text("4\n5\n")
    return root


@pytest.fixture
def on_voc(voc, tmp_path):
    """Arguments that train the stand-in on `voc`."""
    splits = ("--train-split", "train", "--val-split", "val")
    return (
        "--model",
        "stand_in",
        "--data",
        "voc",
        "--root",
        voc,
        *splits,
        "--run-dir",
        tmp_path / "run",
        "--epochs",
        1,
    )
