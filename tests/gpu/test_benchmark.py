"""The works of the benchmark on the device: the same results as on the CPU, and the number of launches."""

import numpy as np
import pytest

from nn.checking import as_tuple
from nn.gpu.device import device_of, to_device
from scripts.benchmarks import worker
from scripts.benchmarks.cases import CASES

NAMES = ["conv3x3_64_56_64.both", "batch_norm", "lstm_64_64", "softmax_cross_entropy", "nms_6000", "roi_align",
         "step_language_model"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_work_gives_the_results_of_the_cpu(name, device):
    results = []
    for where in ("cpu", "gpu"):
        work = CASES[name].work(small=True).to(where)
        work()
        results.append(to_device([as_tuple(values) for values in work()], "cpu"))
        assert device_of(work.inputs) == where
    here, there = ([array for part in result for array in part] for result in results)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)


def test_our_side_on_the_device(device, monkeypatch):
    monkeypatch.setattr(worker, "PRODUCTS", [(4, 5, 6)])
    ours, case = worker.Ours("gpu", 1, plain=False), CASES["conv3x3_64_56_64.both"]
    work, facts = ours.make(case._replace(sizes=case.sizes | case.small))
    assert device_of(work.inputs) == "gpu"
    assert facts["kernels"] >= 3  # y, dx, dweight
    assert facts["bytes"] > work.inputs[0].nbytes
    assert facts["multiply_adds"] == case.work(small=True).multiply_adds()
    assert ours.speed() > 0
    assert ours.bandwidth() > 0
