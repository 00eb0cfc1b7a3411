"""The LSTM of Show, Attend and Tell, which attends to parts of an image at each step."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import AdditiveAttention, Dropout, Embedding, Linear, LSTMCell, Sequential, Sigmoid, Tanh
from nn.dispatch import array_module
from nn.layer import Layer


class StepCache(NamedTuple):
    """One time step: the caches of its layers, the weight of each part, the gate and the context."""

    attention: Any
    seen: np.ndarray  # (N, L)
    through: Any  # (N, 1) or a scalar: 1 where `seen` are the attention's weights, 0 where it is a constant
    gate: Any
    context: np.ndarray
    c_gate: Any
    cell: Any


class DecoderCache(NamedTuple):
    """The parts of the image and the caches of the decoder's layers; `steps` lists those of the time steps."""

    keys: np.ndarray
    projection: Any
    first: Any
    embedding: Any
    steps: list[StepCache]
    output: Any


def see_expectation(t: int, weights: np.ndarray):
    """Soft attention: the parts are weighted by (N, L), and gradients go to the weights."""
    return weights, 1


class AttentionDecoder(Layer):
    """words (T, N) and parts a_1 ... a_L of an image to the logits of the words that follow.

    h_0, c_0 = tanh(W mean of a_i + b), each with its own W and b                                    sec. 3.1.2
    alpha_t = softmax over i of v . tanh(W_q h_{t-1} + b + W_k a_i)                                  eq. 4, 5
    z_t = beta_t sum_i s_ti a_i,  beta_t = sigmoid(f_beta(h_{t-1}))                                  eq. 6, sec. 4.2.1
    h_t, c_t = LSTM([E y_{t-1}; z_t], h_{t-1}, c_{t-1})                                              eq. 1-3
    logits_t = L_o f(E y_{t-1} + L_h h_t + L_z z_t), f(x) = x                                        eq. 7

    see(t, alpha_t) returns the weights s_t: (s_t, 1) for the expectation, s_t = alpha_t (eq. 13), or (s_t, 0) for a
    constant; a column (N, 1) of 0 and 1 lets rows of a batch differ.

    (logits (T, N, V), weights alpha (T, N, L)), cache = forward(keys (N, L, D), words (T, N), see)
    dkeys = backward((dlogits, dweights), cache)

    gate=False leaves beta out; readout="tanh": f = tanh, as in the authors' capgen.py; dropout comes before L_o.

    Reference: Xu et al. 2015, arXiv:1502.03044.
    """

    def __init__(
        self,
        words: int,
        part_size: int,
        embedding_size: int,
        hidden_size: int,
        attention_size: int,
        gate: bool = True,
        dropout: float = 0.0,
        readout: Literal["linear", "tanh"] = "linear",
        *,
        rng: np.random.Generator,
    ):
        self.embedding = Embedding(words, embedding_size, rng=rng)
        self.first_h = Sequential(Linear(part_size, hidden_size, rng=rng), Tanh())
        self.first_c = Sequential(Linear(part_size, hidden_size, rng=rng), Tanh())
        self.attention = AdditiveAttention(hidden_size, part_size, attention_size, rng=rng)
        self.gate = Sequential(Linear(hidden_size, 1, rng=rng), Sigmoid()) if gate else None
        self.cell = LSTMCell(embedding_size + part_size, hidden_size, rng=rng)
        self.from_h = Linear(hidden_size, embedding_size, rng=rng)
        self.from_z = Linear(part_size, embedding_size, bias=False, rng=rng)
        self.readout = Sequential(*[Tanh()] * (readout == "tanh"))
        self.dropout = Dropout(dropout, rng=rng.spawn(1)[0])
        self.output = Linear(embedding_size, words, rng=rng)

    def forward(self, keys, words, see: Callable = see_expectation, training=True):
        xp = array_module(keys)
        projected, c_projection = self.attention.project(keys)
        (h, c), c_first = self.first_state(keys)
        embedded, c_embedding = self.embedding.forward(words, training)
        every = []
        for t, word in enumerate(embedded):
            *step, c_step = self.advance(word, h, c, keys, projected, lambda weights, t=t: see(t, weights))
            h, c, _, _ = step
            every.append((*step, c_step))
        h, _, z, weights, steps = zip(*every)
        logits, c_output = self.say(embedded, xp.stack(h), xp.stack(z), training)
        cache = DecoderCache(keys, c_projection, c_first, c_embedding, steps, c_output)
        return (logits, xp.stack(weights)), cache

    def backward(self, dy, cache):
        (dlogits, dweights), xp = dy, array_module(cache.keys)
        dembedded, every_dh, every_dz = self.say_backward(dlogits, cache.output)
        dh, dc, dprojected = xp.zeros_like(every_dh[0]), xp.zeros_like(every_dh[0]), 0
        every_dcontext = xp.empty_like(every_dz)
        for t in reversed(range(len(cache.steps))):
            dh = dh + every_dh[t]  # h goes to the words and to the next step
            dword, dh, dc, every_dcontext[t], dprojected_t = self.advance_backward(
                dh, dc, every_dz[t], dweights[t], cache.keys, cache.steps[t]
            )
            dembedded[t] += dword
            dprojected = dprojected + dprojected_t  # all steps read the same parts: gradients add up
        self.embedding.backward(dembedded, cache.embedding)
        # context_t = sum over i of seen_ti key_i: one outer product per step, added up
        seen = xp.stack([step.seen for step in cache.steps])
        dkeys = seen.transpose(1, 2, 0) @ every_dcontext.transpose(1, 0, 2)
        dkeys += self.first_state_backward(dh, dc, cache.first)
        return dkeys + self.attention.project_backward(dprojected, cache.projection)

    def advance(self, word, h, c, keys, projected, see):
        """(h, c, z, weights, cache) of one step, from the word E y_{t-1} (N, E) and the states before it."""
        (_, weights), c_attention = self.attention.forward(h, keys, None, projected)
        seen, through = see(weights)
        context = (seen[:, None, :] @ keys)[:, 0]
        gate, c_gate = (1, None) if self.gate is None else self.gate.forward(h)
        z = gate * context
        (h, c), c_cell = self.cell.forward(array_module(h).concatenate([word, z], axis=1), h, c)
        return h, c, z, weights, StepCache(c_attention, seen, through, gate, context, c_gate, c_cell)

    def advance_backward(self, dh, dc, dz, dweights, keys, cache):
        """(dword, dh, dc, dcontext, dprojected); dh and dc are of the states before the step."""
        dx, dh, dc = self.cell.backward((dh, dc), cache.cell)
        size = self.embedding.embedding_dim
        dword, dz = dx[:, :size], dz + dx[:, size:]  # z goes to the words and to the cell
        if self.gate is not None:  # z = gate * context
            dh = dh + self.gate.backward((dz * cache.context).sum(axis=1, keepdims=True), cache.c_gate)
        dcontext = cache.gate * dz
        dseen = (keys @ dcontext[:, :, None])[:, :, 0]  # context = sum over i of seen_i key_i
        dquery, _, _, dprojected = self.attention.backward((None, dweights + cache.through * dseen), cache.attention)
        return dword, dh + dquery, dc, dcontext, dprojected

    def say(self, embedded, h, z, training=True):
        """(logits (T, N, V), cache) of the words (T, N, E), states (T, N, H) and contexts (T, N, D): eq. 7."""
        steps, n, _ = h.shape
        of_h, c_h = self.from_h.forward(h.reshape(steps * n, h.shape[2]))
        of_z, c_z = self.from_z.forward(z.reshape(steps * n, z.shape[2]))
        read, c_readout = self.readout.forward(embedded.reshape(of_h.shape) + of_h + of_z, training)
        kept, c_dropout = self.dropout.forward(read, training)
        logits, c_output = self.output.forward(kept)
        return logits.reshape(steps, n, logits.shape[1]), (c_h, c_z, c_readout, c_dropout, c_output)

    def say_backward(self, dlogits, cache):
        """(dembedded, dh, dz)."""
        c_h, c_z, c_readout, c_dropout, c_output = cache
        steps, n, size = dlogits.shape
        dread = self.dropout.backward(self.output.backward(dlogits.reshape(steps * n, size), c_output), c_dropout)
        dsum = self.readout.backward(dread, c_readout)  # E y + L_h h + L_z z
        dh, dz = self.from_h.backward(dsum, c_h), self.from_z.backward(dsum, c_z)
        return tuple(array.reshape(steps, n, array.shape[1]) for array in (dsum, dh, dz))

    def first_state(self, keys):
        """((h_0, c_0), cache)."""
        mean = keys.mean(axis=1)
        (h, c_h), (c, c_c) = self.first_h.forward(mean), self.first_c.forward(mean)
        return (h, c), (c_h, c_c, keys.shape[1])

    def first_state_backward(self, dh, dc, cache):
        """dkeys (N, 1, D), the same for all parts."""
        c_h, c_c, parts = cache
        dmean = self.first_h.backward(dh, c_h) + self.first_c.backward(dc, c_c)  # the mean goes to both
        return dmean[:, None, :] / parts  # mean = sum over i of key_i / L
