"""PyTorch's work of a case, from ours: the same weights and inputs."""

from nn import swap_lstm_gates
from scripts.benchmarks import torch_layers, torch_regions, torch_steps
from scripts.benchmarks.cases import Case
from scripts.benchmarks.torch_work import TorchLayerWork, TorchStepWork, tensor


def work(case: Case, ours, o, device: str = "cpu"):
    """The work of a case on the weights and inputs of `ours`, its sizes o."""
    weights = {name: tensor(array, device) for name, array in converted(case.family, ours.state()).items()}
    if case.step:
        module = getattr(torch_steps, case.family)(o, ours.layer)
        module.load_state_dict(weights, assign=True)
        return TorchStepWork(module, to_tensors(ours.inputs, device))
    family = getattr(torch_layers, case.family, None) or getattr(torch_regions, case.family)
    inputs = to_tensors(ours.inputs, device)
    return TorchLayerWork(family(o, weights), weights, inputs, ours.differentiable, ours.backward)


def converted(family: str, state: dict) -> dict:
    """Our weights as PyTorch has them: the LSTM's gates in another order, no state carried on in a buffer."""
    if family == "lstm":
        return swap_lstm_gates(state)
    if family == "language_model":
        return {name: array for name, array in swap_lstm_gates(state, "rnn").items() if name != "carried"}
    return state


def to_tensors(value, device: str):
    """Arrays in tuples, lists and dicts as tensors; all else as it is."""
    if hasattr(value, "dtype"):
        return tensor(value, device)
    if isinstance(value, dict):
        return {key: to_tensors(v, device) for key, v in value.items()}
    return [to_tensors(v, device) for v in value] if isinstance(value, (tuple, list)) else value
