"""The works of the benchmark on the device: the same results as on the CPU, and the number of launches."""

import numpy as np
import pytest

from nn.gpu.device import device_of, to_device
from scripts.benchmarks import sides
from scripts.benchmarks.cases import CASES
from scripts.benchmarks.sides import Ours, our_work
from scripts.benchmarks.work import as_tuple

NAMES = ["conv3x3_64_56_64.both", "batch_norm", "lstm_64_64", "softmax_cross_entropy", "nms_6000", "roi_align",
         "step_language_model"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_work_gives_the_results_of_the_cpu(name, device):
    results = []
    for where in ("cpu", "gpu"):
        work = our_work(CASES[name], small=True).to(where)
        work()
        results.append(to_device([as_tuple(values) for values in work()], "cpu"))
        assert device_of(work.inputs) == where
    here, there = ([array for part in result for array in part] for result in results)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)


def test_ours_on_the_device(device, monkeypatch):
    monkeypatch.setattr(sides, "our_work", lambda case: our_work(case, small=True))
    monkeypatch.setattr(sides, "PRODUCTS", [(4, 5, 6)])
    ours = Ours("gpu", 1, plain=False)
    work = ours.prepare("conv3x3_64_56_64.both")
    assert device_of(work.inputs) == "gpu"
    assert ours.facts["kernels"] >= 3  # y, dx, dweight
    assert ours.facts["bytes"] > work.inputs[0].nbytes
    assert ours.facts["multiply_adds"] == our_work(CASES["conv3x3_64_56_64.both"], small=True).multiply_adds()
    assert ours.speed() > 0
    assert ours.bandwidth() > 0
