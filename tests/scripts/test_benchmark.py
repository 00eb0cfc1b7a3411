"""scripts.benchmark: names, turns, the figures computed, workers that fail, and one real case from end to end."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nn
from nn import Conv2d
from scripts import benchmark
from scripts.benchmarks import growth, layers, measure, report, steps, worker
from scripts.benchmarks.cases import CASES, Case, choose
from scripts.benchmarks.work import LayerWork, normal

ROOT = Path(__file__).resolve().parents[2]

CASE = Case("some_layer", layers.cross_entropy, {"n": 1}, {})
STEP = Case("step_some", steps.images, {}, {}, step=True)


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    """No pauses between turns."""
    monkeypatch.setattr(measure, "SETTLE", 0)


class Scripted(measure.Side):
    """A Side with known answers: `seconds` for the calls of each of its rounds, in turn."""

    def __init__(self, name, rounds, diary, failing=None, multiply_adds=0):
        self.name, self.rounds, self.diary, self.failing = name, iter(rounds), diary, failing
        self.multiply_adds = multiply_adds

    def ask(self, what, argument=True):
        self.diary.append((self.name, what, argument))
        if what == self.failing:
            raise measure.Failed("out of luck")
        return {
            "prepare": lambda: {"seconds": 0.1, "multiply_adds": self.multiply_adds},
            "run": lambda: {"seconds": [next(self.rounds)] * argument},
            "finish": lambda: {"peak": 3_000_000},
        }[what]()

    def stop(self):
        self.diary.append((self.name, "stop", None))


def measured(ours, theirs, case=CASE, **options):
    """The row of two scripted Sides, and the requests to them."""
    diary = []
    pair = [Scripted("ours", ours, diary, **options), Scripted("torch", theirs, diary)]
    (row,) = measure.measure([case], pair, len(ours), lambda row: None)
    return row, diary


def test_names_are_prefixes_or_patterns():
    assert choose([]) == list(CASES.values())
    assert [case.name for case in choose(["nms"])] == ["nms_6000", "nms_12000"]
    assert [case.name for case in choose(["*stride2"])] == [
        "conv7x7_stride2", "conv_transpose2x2_stride2", "conv_transpose4x4_stride2", "max_pool3x3_stride2"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="there is no case 'rio_pool'; did you mean roi_pool"):
        choose(["nms", "rio_pool"])
    with pytest.raises(ValueError, match="there is no case 'zzzz'; there are conv3x3_3_224_64.forward, "):
        choose(["zzzz"])


def test_the_first_step_beside_the_tenth(monkeypatch, capsys):
    asked = []

    class Cold(Scripted):
        def __init__(self, *args):
            super().__init__("ours", [], asked)

        def ask(self, what, argument=True):
            asked.append((what, argument))
            return {"seconds": [0.3, *[0.25] * 8, 0.2]}

    monkeypatch.setattr(benchmark, "Side", Cold)
    assert benchmark.main(["step_resnet20", "--first"]) == 0
    assert asked == [("first", "step_resnet20"), ("ours", "stop", None)]
    assert capsys.readouterr().out.splitlines()[1].split() == ["step_resnet20", "300.0", "200.0", "1.50"]
    assert benchmark.main(["nms_6000", "--first"]) == 2 and "step_" in capsys.readouterr().err


def test_a_worker_computes_nothing_before_its_first_step(monkeypatch):
    monkeypatch.setitem(worker.CASES, "some_layer", Case("some_layer", layers.cross_entropy, {"x": (1, 2, 3, 3)}, {}))
    seconds = worker.Ours("cpu", 1, False).first("some_layer")["seconds"]
    assert len(seconds) == 10 and min(seconds) > 0


def test_all_cases_exist():
    wanted = """conv3x3_3_224_64 conv3x3_64_56_64 conv3x3_128_28_128 conv3x3_256_14_256 conv3x3_512_14_512
        conv1x1_64_56_256 conv7x7_stride2 conv3x3_depthwise conv_transpose2x2 conv_transpose4x4 conv3x3_dilated max_pool
        max_unpool batch_norm roi_pool roi_align upsample_bilinear deform_conv lstm gru additive_attention
        softmax_cross_entropy nms_6000 nms_12000 step_vgg16 step_resnet20 step_se_resnet20
        step_alexnet step_densenet40 step_efficientnet_b0 step_faster_rcnn step_unet
        step_full_resolution step_segnet_basic step_language_model
        predict_resnet20 predict_fcn8s predict_faster_rcnn""".split()
    for name in wanted:
        assert choose([name])
    assert sum(len(choose([name])) for name in wanted) == len(CASES)
    assert all(case.small for case in CASES.values())


def test_ours_and_theirs_take_turns_and_the_ratio_is_of_medians():
    row, diary = measured([2.0, 3.0, 4.0], [1.0, 2.0, 1.0])
    assert [entry for entry in diary if entry[1] == "run"] == [("ours", "run", 3), ("torch", "run", 3)] * 3
    assert row.ratio == 3.0
    assert row.ratios() == [1.5, 2.0, 4.0]
    text = report.line(row, None)
    assert text.split() == ["some_layer", "3000.00", "1000.00", "3.00", "1.50", "..", "4.00", "3", "3", "-"]
    assert "stop" not in [what for _, what, _ in diary]


def test_a_training_step_gets_a_fresh_process():
    _, diary = measured([1.0], [1.0], STEP)
    assert diary[:4] == [
        ("ours", "stop", None), ("ours", "prepare", "step_some"), ("torch", "stop", None),
        ("torch", "prepare", "step_some"),
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["prepare", "run", "finish"])
def test_a_failure_of_one_does_not_stop_the_other(what):
    row, diary = measured([1.0, 1.0], [2.0, 2.0], failing=what)
    assert row.ratio is None and row.share(1e9) is None
    assert len([entry for entry in diary if entry[:2] == ("torch", "run")]) == 2
    assert len([entry for entry in diary if entry[:2] == ("ours", what)]) == 1  # not asked again
    first, second = report.line(row, 1e9).splitlines()
    assert first.split()[:4] == ["some_layer", "-", "2000.00", "-"]
    assert second == "    ours: out of luck"


def test_share_of_the_machine_s_speed():
    row, _ = measured([0.5], [1.0], multiply_adds=1_000_000)
    assert row.share(8e6) == 0.25
    assert report.line(row, 8e6).endswith(" 25%")


def test_share_of_a_gpu_s_floor():
    """1 million multiply-adds take 0.125 s, 4 million bytes 0.25 s: memory is the floor of a call of 0.5 s."""
    row, _ = measured([0.5], [1.0], multiply_adds=1_000_000)
    assert row.of_floor(8e6, 16e6) is None
    row.ours.bytes, row.ours.kernels = 4_000_000, 7
    assert row.of_floor(8e6, 16e6) == 0.5
    assert row.of_floor(4e6, 32e6) == 0.5
    assert report.line(row, 8e6, 16e6).split()[-3:] == ["25%", "50%", "7"]


def test_least_bytes_of_a_layer():
    """Linear 3 -> 2 on 5 rows in float32: x 15, weights 8, y 10; backward once more x and weights, dy, dx, 2 x 8."""
    work = LayerWork(nn.Linear(3, 2), normal(5, 3))
    assert work.least_bytes() == 4 * (15 + 8 + 10 + 15 + 8 + 10 + 15 + 16)
    assert LayerWork(nn.Linear(3, 2), normal(5, 3), backward=False).least_bytes() == 4 * (15 + 8 + 10)


def test_totals_and_json():
    rows = [measured([a], [b], case)[0] for a, b, case in ((1.0, 2.0, CASE), (8.0, 1.0, CASE), (3.0, 1.0, STEP))]
    text = report.totals(rows)
    assert "2 layers: mean 2.00, worst 8.00 (some_layer)" in text
    assert "1 training steps: mean 3.00, worst 3.00 (step_some)" in text
    assert f"geometric mean of all 3 ratios {12 ** (1 / 3):.3f}, worst 8.00" in text
    assert "step_some: peak memory 3 MB, 1.00 times PyTorch's" in text
    found = report.as_json(rows, {"rounds": 1}, 1e9)
    assert found["geometric_mean"] == pytest.approx(12 ** (1 / 3)) and found["worst"] == 8.0
    assert found["cases"][1]["ratio_spread"] == [8.0, 8.0]
    theirs = {"seconds": 2.0, "rounds": [[2.0] * 3], "peak_bytes": 3_000_000, "failure": None}
    assert found["cases"][0]["torch"] == theirs
    assert json.loads(json.dumps(found)) == found


def test_multiply_adds_are_those_of_direct_convolution():
    layer = Conv2d(3, 5, 3, padding=1)
    x = normal(2, 3, 7, 8)
    assert LayerWork(layer, x, backward=False).multiply_adds() == 2 * 5 * 7 * 8 * 3 * 9
    assert LayerWork(layer, x).multiply_adds() == 3 * 2 * 5 * 7 * 8 * 3 * 9
    assert "forward" not in vars(layer)
    o = CASES["step_language_model"].small
    lstm = sum(4 * o["hidden"] * (inputs + o["hidden"]) for inputs in (o["embedding"], o["hidden"]))
    assert CASES["predict_faster_rcnn_1"].work(small=True).multiply_adds() > 0  # it has predict, but no forward
    work = CASES["step_language_model"].work(small=True)
    assert work.multiply_adds() == 3 * o["steps"] * o["n"] * (lstm + o["hidden"] * o["characters"])


def test_a_step_begins_by_clearing_the_gradients():
    work = CASES["step_unet"].work(small=True)
    work()
    once = {name: p.grad.copy() for name, p in work.layer.parameters().items()}
    again = CASES["step_unet"].work(small=True)
    again.layer.parameters()["score.bias"].grad += 1
    again()
    for name, parameter in again.layer.parameters().items():
        np.testing.assert_array_equal(parameter.grad, once[name])


PEAK = """
import numpy as np
from scripts.benchmarks import worker

class One(worker.Worker):
    def make(self, case):
        np.ones(25_000_000, np.float32)
        own = np.ones(2_500_000, np.float32)
        return lambda: own.sum() + np.ones(10_000_000, np.float32).sum(), {}

one = One()
assert one.prepare("nms_6000")["seconds"] > 0
assert len(one.run(3)["seconds"]) == 3
print(one.finish(True)["peak"])
"""


def test_peak_memory_is_that_of_the_calls():
    """Preparation holds 100 MB; each call holds 10 MB and needs 40 MB more.

    In its own process, since memory of earlier tests may be freed meanwhile.
    """
    done = subprocess.run([sys.executable, "-c", PEAK], cwd=ROOT, capture_output=True, text=True, check=True)
    if done.stdout.strip() == "None":
        pytest.skip("this system does not let the peak be reset")
    assert 45e6 < int(done.stdout) < 75e6


def test_a_process_that_dies_says_how(monkeypatch):
    side = measure.Side("ours", "cpu", 1, False)
    side.command = [sys.executable, "-c", "import sys; sys.stderr.write('bad\\nworse\\n'); sys.exit(7)"]
    with pytest.raises(measure.Failed, match="the process ended with status 7: worse"):
        side.ask("prepare", "nms_6000")
    side.command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]  # as if memory ran out
    with pytest.raises(measure.Failed, match="the process ended with status -9: no message"):
        side.ask("prepare", "nms_6000")
    side.stop()


def test_plain_versions_are_those_of_the_library(monkeypatch):
    assert "--plain" in measure.Side("ours", "cpu", 1, True).command
    assert "--plain" not in measure.Side("ours", "cpu", 1, False).command
    monkeypatch.setattr(nn.config, "plain", False)
    worker.Ours("cpu", 1, plain=True)
    assert nn.config.plain


def test_growth_against_arithmetic(capsys):
    assert growth.worst_growth([1.0, 2.0, 3.0, 1.5]) == 3.0
    assert growth.worst_growth([4.0, 2.0, 1.0]) == 0.5
    small = growth.Growth("regions", 8, lambda k: steps.scenes(1, (48, 64), roi_samples=k))
    worst = growth.run_growths([small], 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["8", "16", "32"]
    multiply_adds = [float(line.split()[2]) for line in lines[2:5]]
    assert multiply_adds == sorted(multiply_adds)
    assert lines[-1] == f"worst of all: {worst:.2f}" and math.isfinite(worst)


def test_one_case_from_end_to_end(tmp_path, capsys):
    file = tmp_path / "times.json"
    assert benchmark.main(["max_unpool2x2", "--rounds", "2", "--threads", "1", "--json", file]) == 0
    out = capsys.readouterr().out
    assert re.search(r"1 threads; matrix products: \d+ thousand million multiply-adds/s", out)
    assert re.search(r"^max_unpool2x2 +\d+\.\d\d +- +- +- +\d+ +- +-$", out, re.MULTILINE)
    found = json.loads(file.read_text())
    assert found["settings"] == {"against": None, "device": "cpu", "plain": False, "threads": 1, "rounds": 2}
    (case,) = found["cases"]
    assert len(case["ours"]["rounds"]) == 2 and case["ours"]["seconds"] > 0 and case["ratio"] is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nms_600000"], "there is no case 'nms_600000'; did you mean nms_6000"),
        (["--rounds", "0"], "must be a whole number from 1"),
        (["--growth", "--against", "torch"], "--growth allows only --plain beside it"),
        (["nms", "--device", "gpu"], "device gpu needs"),
        (["nms", "--json", "no/such/file.json"], "--json no/such/file.json: there is no such folder"),
    ],
)
def test_mistakes_are_named(arguments, message, capsys):
    if "gpu" in arguments and os.path.exists("/dev/nvidia0"):
        pytest.skip("there is a GPU")
    try:
        status = benchmark.main(arguments)
    except SystemExit as stopped:  # by argparse
        status = stopped.code
    assert status == 2
    assert message in capsys.readouterr().err


def test_no_torch_is_named(monkeypatch, capsys):
    monkeypatch.setattr(benchmark.importlib.util, "find_spec", lambda name: None)
    assert benchmark.main(["nms", "--against", "torch"]) == 2
    assert "--against torch: PyTorch is not installed" in capsys.readouterr().err


def test_growth_is_asked_for_by_name(monkeypatch):
    asked = []
    monkeypatch.setattr(benchmark, "run_growths", lambda: asked.append(nn.config.plain))
    monkeypatch.setattr(nn.config, "plain", False)
    assert benchmark.main(["--growth"]) == benchmark.main(["--growth", "--plain"]) == 0
    assert asked == [False, True]
