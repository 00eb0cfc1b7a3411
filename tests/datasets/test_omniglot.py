"""Omniglot on small archives made here, on the published ones where they are, and bad input with its path."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import Omniglot, OmniglotRuns, OneShotTrials

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[3] / "shared" / "data")) / "omniglot_small"
ALPHABETS = {"Aleph": 3, "Beth": 2, "Gimel": 3, "Daleth": 2, "He": 4}


def png(value, side=105):
    file = io.BytesIO()
    Image.fromarray(np.arange(side * side).reshape(side, side) % 7 < value).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def root(tmp_path):
    with zipfile.ZipFile(tmp_path / "images_background_small1.zip", "w") as archive:
        archive.writestr("__MACOSX/._a.png", b"no picture")
        for name, count in ALPHABETS.items():
            for c in range(count):
                for drawer in (1, 2, 3):
                    archive.writestr(f"small/{name}/character{c + 1:02d}/0{c}_{drawer:02d}.png", png(c + 1))
    with zipfile.ZipFile(tmp_path / "all_runs.zip", "w") as archive:
        for run in ("run01", "run02"):
            for k in (1, 2):
                archive.writestr(f"{run}/training/class{k:02d}.png", png(k))
                archive.writestr(f"{run}/test/item{k:02d}.png", png(k + 2))
            lines = [f"{run}/test/item{k:02d}.png {run}/training/class{3 - k:02d}.png" for k in (1, 2)]
            archive.writestr(f"{run}/class_labels.txt", "\n".join(lines))
    return tmp_path


def test_alphabets_are_split(root):
    train, val, whole = (Omniglot(root, split) for split in ("train", "val", "trainval"))
    assert set(train.alphabets) == {"Aleph", "Beth", "Daleth", "Gimel"} and set(val.alphabets) == {"He"}
    assert len(train) == 30 and len(val) == 12 and len(whole) == 42 and len(whole.classes) == 14
    sample = whole[0]
    assert sample["id"] == "Aleph/character01/00_01" and sample["label"] == 0
    assert sample["image"].shape == (105, 105, 3) and set(np.unique(sample["image"])) == {0, 255}
    assert [listed.size for listed in whole.listing()] == [(105, 105)] * 42


def test_turned_characters_are_classes_of_their_own(root):
    turned, plain = Omniglot(root, "train", rotations=True), Omniglot(root, "train")
    assert len(turned) == 4 * len(plain) and len(turned.classes) == 4 * len(plain.classes)
    sample = turned[len(plain) + 1]
    np.testing.assert_array_equal(sample["image"], np.rot90(plain[1]["image"]))
    assert sample["label"] == plain[1]["label"] + len(plain.classes)
    assert turned.classes[sample["label"]] == "Aleph/character01, turned 90"
    assert [s["label"] for s in turned] == turned.labels.tolist()
    assert [s["id"] for s in turned] == [listed.id for listed in turned.listing()]


def test_published_runs(root):
    runs = OmniglotRuns(root)
    assert len(runs) == 8 and runs.classes[:2] == ("run01/training/class01", "run01/training/class02")
    first = [(s["run"], s["support"], s["label"]) for s in runs]
    assert first[:4] == [(0, True, 0), (0, True, 1), (0, False, 1), (0, False, 0)]
    assert first[4:] == [(1, support, label + 2) for _, support, label in first[:4]]


def test_trials_take_one_alphabet_and_two_drawers(root):
    whole = Omniglot(root, "trainval")
    trials = OneShotTrials(whole, runs=6, ways=3, seed=1)
    assert len(trials) == 6 * 6 and [s["id"] for s in trials] == [s["id"] for s in OneShotTrials(whole, 6, 3, 1)]
    for run in range(6):
        samples = [s for s in trials if s["run"] == run]
        supports, queries = ([s for s in samples if s["support"] == side] for side in (True, False))
        assert len({s["id"].split("/")[1] for s in samples}) == 1
        assert [s["label"] for s in supports] == [s["label"] for s in queries] == [3 * run, 3 * run + 1, 3 * run + 2]
        drawers = [{s["id"][-2:] for s in side} for side in (supports, queries)]
        assert len(drawers[0]) == len(drawers[1]) == 1 and drawers[0] != drawers[1]
    with pytest.raises(ValueError, match="OneShotTrials: no alphabet of the split has 5 characters"):
        OneShotTrials(whole, ways=5)


def test_bad_input(root):
    with pytest.raises(ValueError, match="split must be one of train, val, trainval, test, got 'x'"):
        Omniglot(root, "x")
    with pytest.raises(ValueError, match=r"holds no images_evaluation\.zip"):
        Omniglot(root, "test")
    with pytest.raises(ValueError, match="there is no such folder"):
        Omniglot(root / "none")
    with pytest.raises(ValueError, match=r"all_runs\.zip: there is no such file"):
        OmniglotRuns(root / "none")
    with zipfile.ZipFile(root / "all_runs.zip", "a") as archive:
        archive.writestr("run03/class_labels.txt", "run03/test/item01.png run03/training/class01.png")
    with pytest.raises(ValueError, match="class_labels.txt of run03 must hold lines of two images of the archive"):
        OmniglotRuns(root)
    with zipfile.ZipFile(root / "all_runs.zip", "a") as archive:
        archive.writestr("run04/test/item01.png", png(3, side=50))
    with pytest.raises(ValueError, match=r"all_runs\.zip: .*item01\.png must have 105x105 pixels, has 50x50"):
        OmniglotRuns(root)
    (root / "all_runs.zip").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"all_runs\.zip: cannot be read .*copy it again"):
        OmniglotRuns(root)


@pytest.mark.skipif(not DATA.exists(), reason="Omniglot is not there")
def test_the_published_archives():
    whole, runs = Omniglot(DATA, "trainval"), OmniglotRuns(DATA)
    assert len(whole) == 2720 and len(whole.classes) == 136 and len(set(whole.alphabets)) == 5
    assert (np.bincount(whole.labels) == 20).all() and len(runs) == 800 and len(runs.classes) == 400
    assert set(Omniglot(DATA, "val").alphabets) == {"Latin"}
    assert len(OneShotTrials(Omniglot(DATA, "val"))) == 40 * 40
