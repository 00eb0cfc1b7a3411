"""Additive attention for CuPy: as in nn/layers/attention.py, with the softmax in one launch."""

from nn.dispatch import array_module
from nn.gpu.kernels import use_kernels as takes
from nn.gpu.softmax import masked_softmax
from nn.layers.attention import attend_backward, project, project_backward

__all__ = ["attend", "attend_backward", "project", "project_backward", "takes"]


def attend(asked, projected, keys, score, mask):
    """(context (N, K), weights (N, L), hidden (N, L, A)) for asked (N, A), projected (N, L, A), keys (N, L, K)."""
    hidden = array_module(keys).tanh(projected + asked[:, None, :])
    weights = masked_softmax(hidden @ score.value, mask, axis=1)
    return (weights[:, None, :] @ keys)[:, 0], weights, hidden
