"""Sequence to sequence: an encoder reads one sentence, a decoder generates another; with or without attention.

    encoder    h_j = GRU(x_j, h_(j-1)), j = 1 .. S
    summary    c = tanh(V h_S + b),  s_0 = tanh(V' c + b')
    decoder    s_t = GRU([E y_(t-1); c_t], s_(t-1)),  p(y_t) = softmax(W [s_t; c_t; E y_(t-1)] + b)

c_t is the summary c at every step (Cho et al.). With attention (Bahdanau et al.) the encoder reads both ways, h_j =
[forward GRU; backward GRU](x); c_t is the mean of the h_j weighted by attention with the query s_(t-1); and s_0 =
tanh(V' [last forward state; last backward state] + b').

Reference: Cho et al. 2014, arXiv:1406.1078, sec. 2.2; Sutskever et al. 2014, arXiv:1409.3215; with attention: Bahdanau
et al. 2015, arXiv:1409.0473, sec. 3 (eq. 4 to 7), app. A.2. Unlike both, the scores are linear: without their maxout
layer, and without the two matrices that Cho et al. factorise W into; in Cho et al. the reset gate acts on the c of the
decoder, too. Bahdanau et al. make s_0 of the backward state alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import GRU, AdditiveAttention, Embedding, GRUCell, Linear, Sequential, Tanh
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layers.softmax import LogSoftmax
from vision.model import Model
from vision.registry import Tiny, register
from vision.sequence.beam_search import beam_search
from vision.sequence.padding import real_steps, sequence_cross_entropy
from vision.sequence.vocabulary import END, PAD, START, UNKNOWN, Vocabulary


class Encoded(NamedTuple):
    """A source as the decoder reads it. Without attention the last three are None."""

    summary: np.ndarray  # (N, C): C = H, or 2 H where the encoder reads both ways
    keys: np.ndarray | None  # (N, S, C)
    mask: np.ndarray | None  # (N, S) bool: True at the real steps
    projected: np.ndarray | None  # (N, S, A): see AdditiveAttention


class EncoderCache(NamedTuple):
    """The caches of the encoder's layers, and the state that the decoder begins with."""

    embedding: Any
    rnn: Any
    projection: Any
    summary: Any
    bridge: Any


class Cache(NamedTuple):
    """From loss to backward: the encoder's cache, the decoder's steps, and the gradient of the loss."""

    encoder: EncoderCache
    embedding: Any
    steps: list[tuple[Any, Any]]  # of each step: attention's (None without), the cell's
    head: Any
    dlogits: np.ndarray


@dataclass(frozen=True)
class Options:
    """Without attention."""

    attention: bool = False  # whether the decoder attends to all of the source at each step
    bidirectional: bool = False  # whether the encoder reads the source backwards, too
    hidden: int = 64  # H, also the hidden size of the attention
    embedding: int = 32  # size of the words' vectors, of source and target
    level: Literal["word", "char"] | None = None  # of the vocabulary; none: char where all words are single characters


class Seq2Seq(Model):
    """p(y_t | y_0 .. y_(t-1), x), y (T, N), x (S, N): sentences of a common Vocabulary, its words being `classes`.

    loss((source, source_lengths, target, target_lengths), rng): target from <start> to <end>, both included. Teacher
    forcing: each step reads the true previous word. The loss of a sentence is the sum over its steps of -log p(y_t).
    """

    def __init__(self, classes: Sequence[str], options: Options, rng: np.random.Generator):
        of_words = any(len(word) > 1 for word in classes[UNKNOWN + 1 :])
        level = options.level or ("word" if of_words else "char")
        super().__init__(classes, replace(options, level=level))
        self.vocabulary = Vocabulary(classes, level)
        size, hidden, embedding = len(self.vocabulary), options.hidden, options.embedding
        self.source = Embedding(size, embedding, PAD, rng=rng)
        self.encoder = GRU(embedding, hidden, bidirectional=options.bidirectional, rng=rng)
        seen = self.context_size = 2 * hidden if options.bidirectional else hidden
        self.summary = Sequential() if options.attention else Sequential(Linear(seen, seen, rng=rng), Tanh())
        self.bridge = Sequential(Linear(seen, hidden, rng=rng), Tanh())
        self.attention = AdditiveAttention(hidden, seen, hidden, rng=rng) if options.attention else None
        self.target = Embedding(size, embedding, PAD, rng=rng)
        self.cell = GRUCell(embedding + seen, hidden, rng=rng)
        self.head = Linear(hidden + seen + embedding, size, rng=rng)

    def encode(self, source, lengths, training=False):
        """((Encoded, s_0 (N, H)), cache) of source (S, N)."""
        vectors, c_embedding = self.source.forward(source)
        (h, last), c_rnn = self.encoder.forward(vectors, lengths=lengths, training=training)
        summary, c_summary = self.summary.forward(array_module(last).concatenate([*last], axis=1))
        state, c_bridge = self.bridge.forward(summary)
        encoded, c_projection = Encoded(summary, None, None, None), None
        if self.attention:
            keys = h.transpose(1, 0, 2)
            projected, c_projection = self.attention.project(keys)
            encoded = Encoded(summary, keys, real_steps(lengths, len(source)).T, projected)
        return (encoded, state), EncoderCache(c_embedding, c_rnn, c_projection, c_summary, c_bridge)

    def encode_backward(self, dencoded, dstate, cache):
        """dencoded: an Encoded of gradients."""
        dsummary = dencoded.summary + self.bridge.backward(dstate, cache.bridge)  # c goes to s_0 and to the decoder
        dsummary = self.summary.backward(dsummary, cache.summary)
        dh, (n, size) = None, dstate.shape
        if self.attention:
            dkeys = dencoded.keys + self.attention.project_backward(dencoded.projected, cache.projection)
            dh = dkeys.transpose(1, 0, 2)
        dlast = dsummary.reshape(n, self.context_size // size, size).transpose(1, 0, 2)  # [last[0]; last[1]]
        dvectors, *_ = self.encoder.backward((dh, dlast), cache.rnn)
        self.source.backward(dvectors, cache.embedding)

    def step(self, vectors, state, encoded, training=False):
        """((s_t, c_t, weights (N, S) or None), caches) from E y_(t-1) (N, D) and s_(t-1) (N, H)."""
        context, weights, c_attention = encoded.summary, None, None
        if self.attention:
            asked = self.attention.forward(state, encoded.keys, encoded.mask, encoded.projected)
            (context, weights), c_attention = asked
        read = array_module(vectors).concatenate([vectors, context], axis=1)
        state, c_cell = self.cell.forward(read, state)
        return (state, context, weights), (c_attention, c_cell)

    def loss(self, batch, rng: np.random.Generator, sampled: None = None):
        """({words}, cache): the sum of the step losses, averaged over the sentences."""
        source, source_lengths, target, target_lengths = batch
        (encoded, state), c_encoder = self.encode(source, source_lengths, training=True)
        vectors, c_embedding = self.target.forward(target[:-1])
        seen, steps = [], []  # [s_t; c_t; E y_(t-1)] of each step
        for read in vectors:
            (state, context, _), caches = self.step(read, state, encoded, training=True)
            seen.append(array_module(state).concatenate([state, context, read], axis=1))
            steps.append(caches)
        logits, c_head = self.head.forward(array_module(state).concatenate(seen))
        logits = logits.reshape(*target[1:].shape, logits.shape[1])  # (T, N, V)
        value, dlogits = sequence_cross_entropy(logits, target[1:], target_lengths - 1)
        return {"words": value}, Cache(c_encoder, c_embedding, steps, c_head, dlogits)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters."""
        steps, n, size = cache.dlogits.shape
        hidden, seen, xp = self.cell.hidden_size, self.context_size, array_module(cache.dlogits)
        dseen = self.head.backward(cache.dlogits.reshape(steps * n, size), cache.head)
        dseen = dseen.reshape(steps, n, dseen.shape[1])  # (T, N, H + C + D)
        dstate, dencoded, dvectors = xp.zeros((n, hidden), dseen.dtype), None, []
        for t in reversed(range(steps)):
            c_attention, c_cell = cache.steps[t]
            dread, dstate = self.cell.backward(dstate + dseen[t, :, :hidden], c_cell)  # s_t: to the head, to step t + 1
            dvectors.append(dread[:, :-seen] + dseen[t, :, hidden + seen :])  # E y_(t-1) goes to the cell and the head
            dcontext = dread[:, -seen:] + dseen[t, :, hidden : hidden + seen]
            if self.attention:
                dquery, dkeys, _, dprojected = self.attention.backward((dcontext, None), c_attention)
                dstate = dstate + dquery  # s_(t-1) is also the query
                done = Encoded(xp.zeros_like(dcontext), dkeys, None, dprojected)
            else:
                done = Encoded(dcontext, None, None, None)
            dencoded = done if dencoded is None else _add(dencoded, done)  # read at every step
        self.target.backward(xp.stack(dvectors[::-1]), cache.embedding)
        self.encode_backward(dencoded, dstate, cache.encoder)

    def predict(self, source, lengths, max_steps: int) -> np.ndarray:
        """(max_steps, N): at each step the most probable word, read by the next; <pad> after an <end>."""
        (encoded, state), _ = self.encode(source, lengths)
        xp, said = array_module(source), []
        words = xp.full(source.shape[1], START)
        for _ in range(max_steps):
            log_p, state = self._next(state, words, encoded)
            words = xp.where((words == END) | (words == PAD), PAD, log_p.argmax(axis=1))
            said.append(words)
        return xp.stack(said)

    def translate(self, text: str, beam: int = 5, length_penalty: float = 0.0) -> dict:
        """text, log_probability and weights (T, S) of the best found; T counts <end>; weights: None without attention.

        Raises ValueError for a text without words. Reference: see beam_search.
        """
        ids = self.vocabulary.encode(text)
        if not len(ids):
            raise ValueError(f"Seq2Seq: text must have at least one {self.vocabulary.level}, got {text!r}")
        device = device_of(self)
        (encoded, state), _ = self.encode(*to_device((ids[:, None], np.array([len(ids)])), device))

        def step(state, last):
            wide = Encoded(*(None if a is None else a.repeat(len(last), axis=0) for a in encoded))
            log_p, new = self._next(state[0], last, wide)
            return log_p, (new,)

        options = {"beam": beam, "max_steps": 2 * len(ids) + 10, "length_penalty": length_penalty}
        best = beam_search(step, (state,), START, END, **options)[0]
        weights = []
        for word in [START, *best.ids]:  # again, for the attention weights
            (state, _, w), _ = self.step(self.target(to_device(np.array([word]), device)), state, encoded)
            weights.append(w)
        found = {"text": self.vocabulary.decode(best.ids), "log_probability": best.log_probability}
        return found | {"weights": np.concatenate(to_device(weights, "cpu")) if self.attention else None}

    def _next(self, state, words, encoded):
        """(log p (N, V) of the next words, -inf for <pad> and <start>; s_t)."""
        vectors = self.target(words)
        (state, context, _), _ = self.step(vectors, state, encoded)
        log_p = LogSoftmax(1)(self.head(array_module(state).concatenate([state, context, vectors], axis=1)))
        log_p[:, PAD] = log_p[:, START] = -np.inf  # never said
        return log_p, state


def _add(a: Encoded, b: Encoded) -> Encoded:
    return Encoded(*(None if x is None else x + y for x, y in zip(a, b)))


RECIPE = {
    "data": "reversal",
    "shapes_train": 10000,
    "shapes_val": 500,
    "epochs": 10,
    "batch_size": 50,
    "optimiser": "adam",
    "lr": 0.003,
    "weight_decay": 0.0,
    "schedule": "polynomial",
    "warm_up": 100,
    "clip_norm": 5.0,
}


@dataclass(frozen=True)
class AttentionOptions(Options):
    """With attention."""

    attention: bool = True  # whether the decoder attends to all of the source at each step
    bidirectional: bool = True  # whether the encoder reads the source backwards, too


SYSTEM = {
    "system": "Sequence to sequence, without and with attention",
    "paper": "Cho et al. 2014, arXiv:1406.1078; Bahdanau et al. 2015, arXiv:1409.0473",
}
TINY = Tiny({"hidden": 3, "embedding": 2})
register("seq2seq", "translation", RECIPE, options=Options, tiny=TINY, **SYSTEM)(Seq2Seq)
register(
    "seq2seq_attention", "translation", RECIPE, options=AttentionOptions, tiny=TINY, **SYSTEM,
    figures="reversing 8 to 20 words: share of 500 unseen lines exact 1.000 with attention, 0.118 without",
)(Seq2Seq)  # fmt: skip
