"""What goes wrong in the middle of a run: what is said, what is saved, and that it goes on to the same bits."""

import errno
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nn import io
from nn.io.checkpoint import read_checkpoint, write_npz
from scripts.command_line import typed_command
from scripts.train import main
from vision.training.log import Log


def same_bits(folder, other):
    (a, meta_a), (b, meta_b) = (read_checkpoint(each / "last.npz") for each in (folder, other))
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)
    assert meta_a["generators"] == meta_b["generators"]


@pytest.fixture
def on_pngs(on_voc, voc):
    """Arguments of 4 steps an epoch on `voc`, its pictures being PNG, which do not decode when their midst is gone."""
    for path in list((voc / "JPEGImages").iterdir()):
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    return (*on_voc, "--batch-size", 1, "--workers", 0, "--epochs", 2, "--pictures", 0)


def test_an_error_of_the_data_in_mid_epoch_saves_first(on_pngs, voc, tmp_path, error_of, monkeypatch):
    assert main([*on_pngs, "--run-dir", tmp_path / "whole"]) == 0
    order = np.arange(4)
    np.random.default_rng([0, 1]).shuffle(order)  # of the second epoch, as the loader has it
    picture = voc / f"JPEGImages/{order[2]}.png"
    whole = picture.read_bytes()
    spoil_after_an_epoch(monkeypatch, lambda: picture.write_bytes(whole[:99] + bytes(len(whole) - 99)))
    error = error_of(main, *on_pngs)
    assert error.startswith(f"error: {picture}: ")
    resume = typed_command("scripts.train", "--run-dir", tmp_path / "run", "--resume")
    assert error.endswith(f"; the run is saved up to step 6; correct that, then continue with: {resume}")
    assert read_checkpoint(tmp_path / "run/last.npz")[1]["progress"]["step"] == 6
    picture.write_bytes(whole)
    assert main(["--resume", "--run-dir", tmp_path / "run"]) == 0
    same_bits(tmp_path / "run", tmp_path / "whole")


def spoil_after_an_epoch(monkeypatch, act):
    monkeypatch.setattr(
        "scripts.train.report", lambda trainer, metrics, **_: act() if not trainer.progress.epoch else 0
    )


def test_an_error_of_a_loss_names_the_samples(on_pngs, tmp_path, error_of, monkeypatch, entries):
    def refuse(self, batch, rng, sampled=None):
        if self.steps >= 5:
            raise ValueError("no such target")
        return loss(self, batch, rng, sampled)

    loss, order = entries["stand_in"].make.loss, np.arange(4)
    np.random.default_rng([0, 1]).shuffle(order)
    monkeypatch.setattr(entries["stand_in"].make, "loss", refuse)
    error = error_of(main, *on_pngs, "--val-batches", 0)  # its losses would be the first to be refused
    name = Path(on_pngs[5], f"JPEGImages/{order[1]}.png")
    assert error.startswith(f"error: {name}: no such target; the run is saved up to step 5; correct that, then ")


def full(path):
    raise OSError(errno.ENOSPC, "No space left on device", path)


def test_a_disk_that_is_full_at_a_checkpoint(small, trained, tmp_path, error_of, monkeypatch):
    """Of 12 steps, step 8 is the third checkpoint; nothing of it fits."""
    written = []

    def write(file, arrays):
        written.append(file.name)
        if sum(".last.npz" in name for name in written) == 4:
            file.write(b"PK\x03\x04")
            raise OSError(errno.ENOSPC, "No space left on device")
        write_npz(file, arrays)

    folder = tmp_path / "my run"
    with monkeypatch.context() as patch:
        patch.setattr(io.checkpoint, "write_npz", write)
        error = error_of(main, *small, "--run-dir", folder, "--checkpoint-every", 4)
    assert error == (
        f"error: {folder / 'last.npz'}: No space left on device; the run is saved up to step 6; free some space, then "
        f"continue with: python -m scripts.train --run-dir '{folder}' --resume"
    )
    assert not list(folder.glob(".*.tmp"))
    assert main(["--resume", "--run-dir", folder]) == 0
    same_bits(folder, trained)


def test_a_disk_that_is_full_at_a_line_of_the_log(small, trained, tmp_path, error_of, monkeypatch):
    def write(self, record):
        if record["step"] == 9:
            full(str(self.path))
        before(self, record)

    before, folder = Log.write, tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Log, "write", write)
        error = error_of(main, *small, "--run-dir", folder)
    assert f"{folder / 'metrics.jsonl'}: No space left on device; the run is saved up to step 6; free some" in error
    assert main(["--resume", "--run-dir", folder]) == 0
    same_bits(folder, trained)


@pytest.mark.parametrize("resumed", [False, True])
def test_half_written_files_of_killed_processes_go_at_the_next_start(on_voc, tmp_path, resumed):
    folder, stale = tmp_path / "run", (".last.npz.99.tmp", ".config.json.7.tmp", "pictures/.epoch_0001.png.12.tmp")
    if resumed:
        assert main(on_voc) == 0
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for name in (*stale, ".mine.tmp"):
        (folder / name).write_bytes(b"half")
    assert main([*on_voc, *(["--resume"] if resumed else [])]) == 0
    assert [path.name for path in folder.rglob(".*")] == [".mine.tmp"]


def test_a_second_process_in_the_folder_of_a_run(small, start, tmp_path, error_of):
    folder = tmp_path / "run"
    child = start("train", *small, "--run-dir", folder, "--set", "pause=1")
    try:
        deadline = time.monotonic() + 60
        while not (folder / "last.npz").exists():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        before = {path.name: path.read_bytes() for path in folder.glob("*.[!j]*")}
        error = error_of(main, "--resume", "--run-dir", folder)
        assert error.startswith(f"error: {folder}: another process ({child.pid} on ")
        assert error.endswith(" trains in this folder; wait until it ends, or give another folder")
        assert f"{folder}: holds a run already (config.json, last.npz" in error_of(main, *small, "--run-dir", folder)
        assert {path.name: path.read_bytes() for path in folder.glob("*.[!j]*")} == before
    finally:
        child.kill()
        child.communicate()
