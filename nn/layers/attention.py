"""Additive soft attention."""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

import math
from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.parallel import matmul
from nn.dispatch import array_module
from nn.gpu.kernels import TYPES, use_kernels
from nn.layer import Layer, Parameter, check_shape, positive
from nn.layers.softmax import by_kernel


class AttentionCache(NamedTuple):
    """The inputs, tanh(.) (N, L, A), the weights, and whether the projected keys were given."""

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
        rng = rng or np.random.default_rng(0)

        def uniform(*shape):
            limit = 1 / math.sqrt(shape[-1])
            return Parameter(rng.uniform(-limit, limit, shape).astype(np.float32))

        self.weight_query, self.weight_key = uniform(hidden_size, query_size), uniform(hidden_size, key_size)
        self.bias = Parameter(np.zeros(hidden_size, np.float32)) if bias else None
        self.weight_score = uniform(hidden_size)

    def project(self, keys):
        """W_k key_l for all keys, (N, L, A), and the cache for project_backward."""
        check_shape(self, keys=(keys, ("N", "L", self.key_size)))
        flat = matmul(keys.reshape(-1, self.key_size), self.weight_key.value.T)
        return flat.reshape(*keys.shape[:2], self.hidden_size), keys

    def project_backward(self, dprojected, cache):
        """dkeys of project."""
        keys = cache
        check_shape(self, dprojected=(dprojected, (*keys.shape[:2], self.hidden_size)))
        flat = dprojected.reshape(-1, self.hidden_size)
        self.weight_key.grad += matmul(flat.T, keys.reshape(-1, self.key_size))
        return matmul(flat, self.weight_key.value).reshape(keys.shape)

    def forward(self, query, keys, mask=None, projected=None, training=True):
        check_shape(self, query=(query, ("N", self.query_size)), keys=(keys, ("N", "L", self.key_size)))
        self._check_options(keys, mask, projected)
        given, xp = projected is not None, array_module(query)
        if not given:
            projected, _ = self.project(keys)
        asked = matmul(query, self.weight_query.value.T)
        if self.bias is not None:
            asked += self.bias.value
        hidden = xp.empty(projected.shape, np.result_type(projected.dtype, asked.dtype))

        def score(n):
            xp.add(projected[n], asked[n, None, :], out=hidden[n])
            xp.tanh(hidden[n], out=hidden[n])

        in_slices(score, len(query), hidden.size, xp)
        weights = _softmax(hidden @ self.weight_score.value, mask)
        context = (weights[:, None, :] @ keys)[:, 0]
        return (context, weights), AttentionCache(query, keys, hidden, weights, given)

    def backward(self, dy, cache):
        query, keys, hidden, weights, given = cache
        dcontext, dweights = self._check_gradients(dy, query, keys)
        xp = array_module(keys)
        # context = sum over l of weights_l key_l; the weights are an output too
        dtotal = xp.zeros(weights.shape, weights.dtype) if dweights is None else dweights
        dkeys = xp.zeros(keys.shape, keys.dtype)
        if dcontext is not None:
            dtotal = dtotal + (keys @ dcontext[:, :, None])[:, :, 0]
            dkeys += weights[:, :, None] * dcontext[:, None, :]
        # weights = softmax(e)
        de = weights * (dtotal - (weights * dtotal).sum(axis=1, keepdims=True))
        # e = hidden @ v, hidden = tanh(projected + asked)
        self.weight_score.grad += de.reshape(-1) @ hidden.reshape(-1, self.hidden_size)
        dprojected = xp.empty(hidden.shape, hidden.dtype)

        def differentiate(n):
            xp.multiply(hidden[n], hidden[n], out=dprojected[n])
            xp.subtract(1, dprojected[n], out=dprojected[n])
            dprojected[n] *= de[n, :, None] * self.weight_score.value

        in_slices(differentiate, len(query), hidden.size, xp)
        # asked = query @ W_q.T + b, the same for all keys
        dasked = dprojected.sum(axis=1)
        self.weight_query.grad += matmul(dasked.T, query)
        if self.bias is not None:
            self.bias.grad += dasked.sum(axis=0)
        dquery = matmul(dasked, self.weight_query.value)
        if given:
            return dquery, dkeys, None, dprojected
        return dquery, dkeys + self.project_backward(dprojected, keys), None, None

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
        named = zip(("dcontext", "dweights"), dy, wanted)
        check_shape(self, **{name: (d, shape) for name, d, shape in named if d is not None})
        return dy


def _softmax(e, mask):
    """exp(e) / sum of exp(e) along the rows, where the mask is True; 0 elsewhere."""
    if e.size == 0:
        return e
    xp = array_module(e)
    if use_kernels(e) and e.dtype.name in TYPES:
        weights = xp.empty((*e.shape, 1), e.dtype)
        by_kernel([e[..., None]], weights, mask)
        return weights[..., 0]
    counts = xp.ones(e.shape, bool) if mask is None else mask
    largest = xp.where(counts, e.real, np.finfo(e.real.dtype).min).max(axis=1, keepdims=True)
    e = xp.exp(xp.where(counts, e - largest, 0)) * counts
    total = e.sum(axis=1, keepdims=True)
    return e / xp.where(total == 0, 1, total)
