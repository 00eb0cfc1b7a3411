"""Ours and PyTorch's version of every case of scripts.benchmark compute the same: only then can times be compared."""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scripts import benchmark  # noqa: E402
from scripts.benchmarks.cases import CASES  # noqa: E402
from scripts.benchmarks.torch_side import converted  # noqa: E402
from scripts.benchmarks.worker import torch_work  # noqa: E402

LAYERS = [case for case in CASES.values() if not case.step]
STEPS = [case for case in CASES.values() if case.step]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """PyTorch's threads only cost time on arrays this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def close(ours, theirs, what, tolerance=1e-5, least=1e-6):
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else np.asarray(theirs)
    assert np.shape(ours) == theirs.shape, what
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(np.abs(theirs).max(), least), err_msg=what)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_a_layer_and_its_gradients(case):
    ours, theirs = case.work(small=True), torch_work(case, small=True)
    (y, dx), (their_y, their_dx) = ours(), theirs()
    assert len(y) == len(their_y) and len(dx) == len(their_dx) == (ours.differentiable if ours.backward else 0)
    for i, pair in enumerate(zip((*y, *dx), (*their_y, *their_dx))):
        close(*pair, f"result {i}")
    if not ours.backward:
        assert not any(tensor.requires_grad for tensor in their_y)
        return
    gradients = {name: parameter.grad for name, parameter in ours.layer.parameters().items()}
    gradients = converted(ours.layer, gradients)
    assert list(gradients) == list(theirs.gradients)
    for name, gradient in gradients.items():
        close(gradient, theirs.gradients[name], name)


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
def test_losses_and_weights_over_three_steps(case):
    """The third step's losses depend on both updates before: on all gradients, momentum and weight decay."""
    ours, theirs = case.work(small=True), torch_work(case, small=True)
    for step in range(3):
        (losses, _), (their_losses, _) = ours(), theirs()
        assert len(losses) == len(their_losses)
        for pair in zip(losses, their_losses):
            close(*pair, f"step {step}")
    state = converted(ours.layer, ours.state())
    assert set(state) == set(theirs.module.state_dict())
    for name, tensor in theirs.module.state_dict().items():
        close(state[name], tensor, name, 1e-4, 1e-5)  # biases before batch normalisation stay about 0


def test_both_have_the_sizes_of_the_table():
    case = CASES["conv3x3_128_28_128.both"]
    ours, theirs = case.work(), torch_work(case)
    assert ours.inputs[0].shape == tuple(theirs.inputs[0].shape) == (8, 128, 28, 28)
    assert ours.layer.weight.value.shape == tuple(theirs.weights["weight"].shape) == (128, 128, 3, 3)


def test_the_table_against_torch(capsys):
    assert benchmark.main(["max_unpool2x2", "--against", "torch", "--rounds", "1", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("max_unpool2x2"))
    ours, theirs, ratio = (float(number) for number in row.split()[1:4])
    assert ratio == pytest.approx(ours / theirs, abs=0.02 * ratio + 0.01)
    mean = re.search(r"geometric mean of all 1 ratios ([\d.]+), worst", out)
    assert float(mean[1]) == pytest.approx(ratio, abs=0.01)
