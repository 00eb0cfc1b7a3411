"""Additive attention, shared among threads. See nn.layers.attention."""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.chunks import real as takes  # noqa: F401  (for dispatch)
from nn.cpu.parallel import matmul
from nn.layers.softmax import masked_softmax


def project(x, weight):
    """W x for each vector of x (N, K) or (N, L, K), one matrix product."""
    return matmul(x.reshape(-1, x.shape[-1]), weight.value.T).reshape(*x.shape[:-1], len(weight.value))


def project_backward(dy, x, weight):
    """dx of y = W x; adds to the gradient of weight."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])  # (N L, K), (N L, A)
    weight.grad += matmul(drows.T, rows)
    return matmul(drows, weight.value).reshape(x.shape)


def attend(asked, projected, keys, score, mask):
    """(context (N, K), weights (N, L), hidden (N, L, A)) for asked (N, A), projected (N, L, A), keys (N, L, K)."""
    hidden = np.empty(projected.shape, np.result_type(projected.dtype, asked.dtype))
    e, context = np.empty(hidden.shape[:2], hidden.dtype), np.zeros((len(keys), keys.shape[2]), keys.dtype)

    def squash(n):
        np.add(projected[n], asked[n, None, :], out=hidden[n])
        np.tanh(hidden[n], out=hidden[n])
        np.matmul(hidden[n], score.value, out=e[n])

    in_slices(squash, len(hidden), hidden.size)
    weights = masked_softmax(e, mask, axis=1)
    in_slices(lambda n: np.matmul(weights[n, None, :], keys[n], out=context[n, None]), len(keys), keys.size)
    return context, weights, hidden


def attend_backward(dcontext, dweights, keys, score, weights, hidden):
    """(dasked, dprojected, dkeys); adds to the gradient of score. dcontext (N, K), dweights (N, L)."""
    dprojected, dkeys = np.empty(hidden.shape, hidden.dtype), np.empty(keys.shape, keys.dtype)
    dasked, de = np.zeros((len(hidden), hidden.shape[2]), hidden.dtype), np.empty(weights.shape, weights.dtype)

    def differentiate(n):
        dtotal = dweights[n] + (keys[n] @ dcontext[n, :, None])[:, :, 0]
        np.multiply(weights[n, :, None], dcontext[n, None, :], out=dkeys[n])
        de[n] = weights[n] * (dtotal - (weights[n] * dtotal).sum(axis=1, keepdims=True))  # weights = softmax(e)
        np.multiply(hidden[n], hidden[n], out=dprojected[n])
        np.subtract(1, dprojected[n], out=dprojected[n])
        dprojected[n] *= de[n, :, None] * score.value
        np.sum(dprojected[n], axis=1, out=dasked[n])

    in_slices(differentiate, len(hidden), hidden.size)
    score.grad += de.reshape(-1) @ hidden.reshape(-1, hidden.shape[2])  # e = hidden @ v
    return dasked, dprojected, dkeys
