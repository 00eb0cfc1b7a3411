"""Additive soft attention."""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

import math
from types import ModuleType
from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, Parameter, check_shape, positive
from nn.layers.softmax import masked_softmax
from nn.random import generator


def project(x, weight):
    """W x for each vector of x (N, K) or (N, L, K); weight (A, K)."""
    return x @ weight.value.T


def project_backward(dy, x, weight):
    """dx of y = W x; adds to the gradient of weight."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])  # (N L, K), (N L, A)
    weight.grad += drows.T @ rows  # y = x @ W.T
    return dy @ weight.value


def attend(asked, projected, keys, score, mask):
    """(context (N, K), weights (N, L), hidden (N, L, A)) for asked (N, A), projected (N, L, A), keys (N, L, K)."""
    hidden = array_module(keys).tanh(projected + asked[:, None, :])
    e = hidden @ score.value  # (N, L)
    weights = masked_softmax(e, mask, axis=1)
    context = (weights[:, None, :] @ keys)[:, 0]
    return context, weights, hidden


def attend_backward(dcontext, dweights, keys, score, weights, hidden):
    """(dasked, dprojected, dkeys); adds to the gradient of score. dcontext (N, K), dweights (N, L)."""
    dtotal = dweights + (keys @ dcontext[:, :, None])[:, :, 0]  # term 1: weights are an output; term 2: context
    dkeys = weights[:, :, None] * dcontext[:, None, :]  # context = sum over l of weights_l key_l
    de = weights * (dtotal - (weights * dtotal).sum(axis=1, keepdims=True))  # weights = softmax(e)
    score.grad += de.reshape(-1) @ hidden.reshape(-1, hidden.shape[2])  # e = hidden @ v: (N L) @ (N L, A)
    dhidden = de[:, :, None] * score.value
    dprojected = (1 - hidden**2) * dhidden  # hidden = tanh(projected + asked)
    dasked = dprojected.sum(axis=1)  # the same for all keys
    return dasked, dprojected, dkeys


class AttentionCache(NamedTuple):
    """The module that computed, the inputs, tanh(.) (N, L, A), the weights, and whether projected keys were given."""

    functions: ModuleType
    query: np.ndarray
    keys: np.ndarray
    hidden: np.ndarray
    weights: np.ndarray
    projected: bool


class AdditiveAttention(Layer):
    """A weighted mean of L feature vectors, the weights depending on a query.

    e_l = v . tanh(W_q query + b + W_k key_l),  weights = softmax over l of e,  context = sum over l of weights_l key_l

    query (N, Q), keys (N, L, K), context (N, K), weights (N, L). Parameters: weight_query = W_q (A, Q), weight_key =
    W_k (A, K), bias = b (A,), weight_score = v (A,); A is hidden_size. bias=False, as in the paper, leaves b out. b
    starts at zero, the others uniform in (-1 / sqrt(fan_in), 1 / sqrt(fan_in)). mask (N, L), bools: True for the keys
    that count; the others get weight 0. A row of the mask without any gives the weights and the context 0.

    (context, weights), cache = forward(query, keys, mask, projected)
    dquery, dkeys, None, dprojected = backward((dcontext, dweights), cache); dcontext or dweights may be None for zeros

    A decoder asks the same keys again and again. It projects them once, and hands the result to every forward:

        projected, c_keys = attention.project(keys)                                 # (N, L, A): W_k key_l
        (context, weights), cache = attention.forward(query, keys, None, projected)     # for each step
        dquery, dk, _, dp = attention.backward((dcontext, None), cache)         # dkeys += dk, dprojected += dp
        dkeys += attention.project_backward(dprojected, c_keys)

    Without projected, forward projects by itself, and dprojected is None.
    Raises ValueError for arrays of other shapes, TypeError for a mask that is not of bools.

    Reference: Bahdanau et al. 2015, arXiv:1409.0473, eq. 5 and 6, and app. A.1.2 for e.
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ):
        positive(self, query_size=query_size, key_size=key_size, hidden_size=hidden_size)
        self.query_size, self.key_size, self.hidden_size = query_size, key_size, hidden_size
        rng = rng or generator()
        self.weight_query, self.weight_key = (
            _uniform(rng, hidden_size, query_size),
            _uniform(rng, hidden_size, key_size),
        )
        self.bias = Parameter(np.zeros(hidden_size, np.float32)) if bias else None
        self.weight_score = _uniform(rng, hidden_size)

    def project(self, keys):
        """W_k key_l for all keys, (N, L, A), and the cache for project_backward."""
        check_shape(self, keys=(keys, ("N", "L", self.key_size)))
        return functions(__name__, keys).project(keys, self.weight_key), keys

    def project_backward(self, dprojected, cache):
        """dkeys of project."""
        keys = cache
        check_shape(self, dprojected=(dprojected, (*keys.shape[:2], self.hidden_size)))
        return functions(__name__, keys).project_backward(dprojected, keys, self.weight_key)

    def forward(self, query, keys, mask=None, projected=None, training=True):
        check_shape(self, query=(query, ("N", self.query_size)), keys=(keys, ("N", "L", self.key_size)))
        self._check_options(keys, mask, projected)
        ops, given = functions(__name__, query, keys, self.weight_score.value), projected is not None
        projected = projected if given else ops.project(keys, self.weight_key)
        asked = ops.project(query, self.weight_query)
        if self.bias is not None:
            asked = asked + self.bias.value
        context, weights, hidden = ops.attend(asked, projected, keys, self.weight_score, mask)
        return (context, weights), AttentionCache(ops, query, keys, hidden, weights, given)

    def backward(self, dy, cache):
        ops, query, keys, hidden, weights, given = cache
        dcontext, dweights = self._check_gradients(dy, query, keys)
        dasked, dprojected, dkeys = ops.attend_backward(dcontext, dweights, keys, self.weight_score, weights, hidden)
        if self.bias is not None:
            self.bias.grad += dasked.sum(axis=0)  # asked = query @ W_q.T + b
        dquery = ops.project_backward(dasked, query, self.weight_query)
        if given:
            return dquery, dkeys, None, dprojected
        return dquery, dkeys + ops.project_backward(dprojected, keys, self.weight_key), None, None

    def _check_options(self, keys, mask, projected):
        n, length, _ = keys.shape
        if mask is not None and (not hasattr(mask, "dtype") or mask.dtype.kind != "b"):
            got = getattr(mask, "dtype", type(mask).__name__)
            raise TypeError(f"AdditiveAttention: mask must be an array of bools, got {got}")
        if mask is not None and mask.shape != (n, length):
            raise ValueError(f"AdditiveAttention: mask must have shape (N={n}, L={length}), got {mask.shape}")
        if projected is not None:
            check_shape(self, projected=(projected, (n, length, self.hidden_size)))

    def _check_gradients(self, dy, query, keys):
        if not isinstance(dy, tuple) or len(dy) != 2:
            got = f"a tuple of {len(dy)}" if isinstance(dy, tuple) else type(dy).__name__
            raise ValueError(f"AdditiveAttention: backward wants (dcontext, dweights), got {got}")
        wanted = (len(query), self.key_size), keys.shape[:2]
        named = zip(("dcontext", "dweights"), dy, wanted)  # None stands for zeros
        check_shape(self, **{name: (d, shape) for name, d, shape in named if d is not None})
        zeros = array_module(keys).zeros
        return [zeros(shape, keys.dtype) if d is None else d for d, shape in zip(dy, wanted)]


def _uniform(rng, *shape):
    """A Parameter, uniform in (-1 / sqrt(fan_in), 1 / sqrt(fan_in))."""
    limit = 1 / math.sqrt(shape[-1])
    return Parameter(rng.uniform(-limit, limit, shape).astype(np.float32))
