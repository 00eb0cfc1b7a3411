"""Weights, checkpoints and runs, for tests.fuzz. See tests/whole_data.py."""

import contextlib
import io
from types import SimpleNamespace
from unittest import mock

import numpy as np

import vision
from nn.io.checkpoint import read_checkpoint, write_checkpoint
from nn.io.state import read_metadata, read_state, save_state
from scripts import evaluate, train
from scripts.run_folder import read_log
from scripts.weights import load_start
from tests.nn.pth_bytes import legacy_file, ordered, storage, tensor, zip_file
from tests.whole_data import READERS, Reader, reader, text
from vision.training import events

ARRAYS = {"x": np.arange(6, dtype=np.float32), "layer.y": np.ones((2, 3), np.int16)}


def check_arrays(arrays):
    assert all(isinstance(array, np.ndarray) and array.dtype.kind in "biufc" for array in arrays.values())


def write_npz(folder):
    save_state(ARRAYS, folder / "a.npz", {"note": "all"})


@reader(write_npz)
def weights_npz(folder):
    check_arrays(read_state(folder / "a.npz"))
    read_metadata(folder / "a.npz")


def write_safetensors(folder):
    save_state(ARRAYS, folder / "a.safetensors", {"note": "all"})


@reader(write_safetensors)
def weights_safetensors(folder):
    check_arrays(read_state(folder / "a.safetensors"))


def state_dict():
    return ordered({"x": tensor(storage("0"), (2, 3), (3, 1)), "layer.y": tensor(storage("0"), (2,), (2,), 1)})


def write_pth(folder):
    (folder / "a.pth").write_bytes(zip_file({"epoch": 3, "state_dict": state_dict()}, {"0": ARRAYS["x"].tobytes()}))


@reader(write_pth)
def weights_pth(folder):
    check_arrays(read_state(folder / "a.pth", ("state_dict", "model")))


def write_legacy(folder):
    (folder / "a.pth").write_bytes(legacy_file(state_dict(), {"0": (6, ARRAYS["x"].tobytes())}))


READERS["weights_pth_legacy"] = Reader(write_legacy, weights_pth)


def tiny():
    return vision.build("mnist_fc", ["a", "b"], np.random.default_rng(0), hidden=2)


def write_model(folder):
    model = tiny()
    meta = {"model": model.config, "progress": {"step": 3}}
    write_checkpoint(folder / "best.npz", {f"model/{name}": a for name, a in model.state_dict().items()}, meta)


@reader(write_model)
def checkpoints(folder):
    read_checkpoint(folder / "best.npz")
    vision.load(folder)


@reader(write_model)
def pretrained(folder):
    """--pretrained and --weights."""
    for name in ("pretrained", "weights"):
        args = SimpleNamespace(pretrained=None, weights=None)
        setattr(args, name, str(folder / "best.npz"))
        with quiet():
            load_start(args, tiny())


RUN: dict[str, bytes] = {}  # the files of a run that is done; their text names the folder


@contextlib.contextmanager
def quiet():
    """Nothing is printed, and TensorBoard, which has threads and may be installed or not, gets no events."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        mock.patch.dict(events.PACKAGES, clear=True),
    ):
        yield


def write_run(folder):
    if not RUN:
        text(folder / "letters.txt", "a small text of a few words. " * 20)
        with quiet():
            words = f"--model char_rnn --data text --root {folder}/letters.txt --run-dir {folder}/run --set hidden=3"
            train.main.__wrapped__([*words.split(), "--epochs", "1", "--batch-size", "2", "--pictures", "0"])
        RUN.update({"": str(folder).encode()})
        for path in (folder / "letters.txt", *(folder / "run").iterdir()):
            RUN[path.relative_to(folder).as_posix()] = path.read_bytes()
    (folder / "run").mkdir(exist_ok=True)
    for name in RUN.keys() - {""}:
        (folder / name).write_bytes(RUN[name].replace(RUN[""], str(folder).encode()))
    (folder / "run" / "curve.png").unlink()


@reader(write_run)
def run_folders(folder):
    """Resuming, loading, evaluating."""
    with quiet():
        run = str(folder / "run")
        read_log(folder / "run")
        vision.load(run)
        evaluate.main.__wrapped__([run])
        train.main.__wrapped__(["--resume", "--run-dir", run])
