"""scripts.train in several processes, by mpiexec. Needs mpi4py and mpiexec: the extra `mpi`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nn.io.checkpoint import read_checkpoint
from scripts import train

BESIDE = Path(sys.executable).with_name("mpiexec")
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
SCENES = ("--shapes-train", 18, "--shapes-val", 3, "--shapes-size", 32, 40, "--pictures", 0, "--workers", 0)
MODEL = ("--model", "multiscale_small", "--set", "width=2", *SCENES, "--batch-size", 8, "--val-batches", 0)


@pytest.fixture(autouse=True, scope="module")
def mpi():
    pytest.importorskip("mpi4py")
    if MPIEXEC is None or subprocess.run([MPIEXEC, "-n", "2", sys.executable, "-c", ""]).returncode:
        pytest.skip("there is no mpiexec that starts processes here")


def start(*arguments):
    command = [sys.executable, "-m", "scripts.train", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"NN_THREADS": "1"},
    )  # fmt: skip


def finished(child):
    out, err = child.communicate(timeout=100)
    return child.returncode, out, err


def losses(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [record["losses"]["pixels"] for record in records if "losses" in record]


def wait_for_steps(child, folder):
    log, end = folder / "metrics.jsonl", time.monotonic() + 60
    while not (log.exists() and log.read_bytes().count(b"\n") > 3):
        assert time.monotonic() < end and child.poll() is None
        time.sleep(0.01)


def ranks_of(child):
    """Processes that run scripts.train for this child: its descendants that have no children of their own."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])

    def descends(pid):
        return pid == child.pid or (pid in parents and descends(parents[pid]))

    found = [pid for pid in parents if descends(pid)]
    return [pid for pid in found if pid not in parents.values()]


@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_compute_what_one_does(tmp_path, count):
    run = ("--processes", count, "--run-dir", tmp_path / "several")
    status, out, err = finished(start(*MODEL, "--epochs", 2, *run))
    assert status == 0, err
    assert out.count("done in") == 1  # one of them prints
    assert train.main([*MODEL, "--epochs", 2, "--run-dir", tmp_path / "one"]) == 0
    assert losses(tmp_path / "several") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    several, one = (read_checkpoint(tmp_path / name / "last.npz")[0] for name in ("several", "one"))
    for name, value in one.items():
        np.testing.assert_allclose(several[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_killed_process_ends_all_and_the_run_resumes_to_the_same_bits(tmp_path):
    whole = start(*MODEL, "--epochs", 8, "--processes", 2, "--run-dir", tmp_path / "whole")
    child = start(*MODEL, "--epochs", 8, "--processes", 2, "--checkpoint-every", 1, "--run-dir", tmp_path / "parts")
    wait_for_steps(child, tmp_path / "parts")
    os.kill(max(ranks_of(child)), signal.SIGKILL)
    assert finished(child)[0] != 0  # and it ends
    status, _, err = finished(start("--resume", "--processes", 2, "--run-dir", tmp_path / "parts"))
    assert status == 0, err
    status, _, err = finished(whole)
    assert status == 0, err
    parts, whole = (read_checkpoint(tmp_path / name / "last.npz")[0] for name in ("parts", "whole"))
    assert all(parts[name].tobytes() == value.tobytes() for name, value in whole.items())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("which", [min, max])
def test_a_process_that_hangs_ends_all(tmp_path, which):
    run = ("--epochs", 1000, "--evaluate-every", 0, "--processes", 2, "--watchdog", 2, "--run-dir", tmp_path / "run")
    child = start(*MODEL, *run)
    wait_for_steps(child, tmp_path / "run")
    ranks = ranks_of(child)
    os.kill(which(ranks), signal.SIGSTOP)
    status, _, err = finished(child)
    assert status != 0 and err.count("waited 2 seconds for the other processes") == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks)


def test_another_number_of_processes_resumes_and_says_so(tmp_path):
    common = ("--model", "unet_small", "--set", "width=2", "depth=2", *MODEL[4:], "--evaluate-every", 0, "--epochs", 3)
    run = ("--sync-batch-norm", "--run-dir", tmp_path / "run")
    child = start(*common, "--time-limit", 0.0001, "--processes", 2, *run)
    assert finished(child)[0] == 0
    status, out, err = finished(start("--resume", "--time-limit", 1, "--run-dir", tmp_path / "run"))
    assert status == 0, err
    assert "processes 1 in place of 2" in out
    assert {"processes": [2, 1]} in [
        json.loads(line).get("changed") for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved(tmp_path, number):
    child = start(*MODEL, "--epochs", 1000, "--evaluate-every", 0, "--processes", 2, "--run-dir", tmp_path / "run")
    wait_for_steps(child, tmp_path / "run")
    if number == signal.SIGINT:
        os.killpg(child.pid, number)  # as a terminal does
    else:
        child.send_signal(number)
    status, _, err = finished(child)
    assert status == 130
    saved = read_checkpoint(tmp_path / "run" / "last.npz")[1]["progress"]["step"]
    assert f"saved up to step {saved}; continue with:" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*MODEL[:-3], 1), "2 processes: a batch of 1 is too small to be shared; give a larger --batch-size"),
        ((*MODEL[:4], "--data", "folders", "--root", "/nowhere"), "/nowhere: there is no such folder"),
        (("--model", "hog_svm", *SCENES), "2 processes: hog_svm has stages that no gradient trains; train it in one"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, message):
    status, out, err = finished(start(*arguments, "--processes", 2, "--run-dir", tmp_path / "run"))
    assert status == 2
    assert message in err
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1
    assert "Traceback" not in err + out
