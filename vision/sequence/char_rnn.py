"""Character language model: a recurrent network that predicts the next character of a text.

Reference: Karpathy 2015, The unreasonable effectiveness of recurrent neural networks, and its char-rnn; Graves 2013,
arXiv:1308.0850, sec. 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import GRU, LSTM, RNN, Dropout, Embedding, Linear
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import positive
from vision.model import Model
from vision.registry import Tiny, register
from vision.sequence.padding import pad_batch, sequence_cross_entropy
from vision.sequence.vocabulary import SPECIAL, Vocabulary

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


class Cache(NamedTuple):
    """The caches of the layers and, after loss, the gradient of the loss with respect to the logits."""

    embedding: Any
    rnn: Any
    dropout: Any
    head: Any
    dlogits: np.ndarray | None = None


@dataclass(frozen=True)
class Options:
    """A character LSTM. Raises ValueError for a chunk below 1."""

    cell: Literal["rnn", "lstm", "gru"] = "lstm"  # rnn: with tanh
    hidden: int = 128  # units of each layer
    layers: int = 2  # recurrent layers, one on top of the other
    embedding: int = 0  # size of the characters' vectors; 0: one-hot vectors, as in char-rnn
    dropout: float = 0.0  # dropout between layers and before the output
    chunk: int = 64  # characters that gradients flow back through

    def __post_init__(self):
        positive("CharRNN", chunk=self.chunk)


class CharRNN(Model):
    """p(x[t + 1] | x[0 .. t]) = softmax(W h_t + b), h_t the top state of a recurrent network that has read x[0 .. t].

    classes: the words of a Vocabulary of V characters.

    loss((x, targets, first), rng): x, targets (T, N), N parts of a text read in parallel; targets are the characters
    one position later. The loss is the mean of -log p(target), in nats per character.

    Truncated backpropagation through time: a text is read chunk by chunk. Each chunk starts with the final state of
    the one before; gradients stop there. The buffer `carried` (states, layers, N, H), states = 1, or 2 for the LSTM's h
    and c, keeps the state from one call of `loss` to the next: it is part of every checkpoint, so a resumed run
    continues with it. `first`, a bool: the texts begin here, with a state of zeros.
    """

    buffers = ("carried",)

    def __init__(self, classes: Sequence[str], options: Options, rng: np.random.Generator):
        super().__init__(classes, options)
        self.vocabulary, o = Vocabulary(classes, "char"), options
        size = len(self.vocabulary)
        self.embedding = Embedding(size, o.embedding, rng=rng) if o.embedding else None
        self.rnn = CELLS[o.cell](o.embedding or size, o.hidden, o.layers, dropout=o.dropout, rng=rng)
        self.dropout = Dropout(o.dropout, rng=rng)
        self.head = Linear(o.hidden, size, rng=rng)
        self.carried = np.zeros((len(self.rnn.states), o.layers, 1, o.hidden), np.float32)

    def forward(self, x, state=None, training=True):
        """((logits (T, N, V), state), cache) of x (T, N): state (states, layers, N, H) after the last step."""
        xp, (steps, n) = array_module(x), x.shape
        vectors, c_embedding = self._vectors(x, xp)
        (h, *state), c_rnn = self.rnn.forward(vectors, *(() if state is None else state), training=training)
        kept, c_dropout = self.dropout.forward(h, training)
        logits, c_head = self.head.forward(kept.reshape(steps * n, kept.shape[2]), training)
        return (logits.reshape(steps, n, logits.shape[1]), xp.stack(state)), Cache(
            c_embedding, c_rnn, c_dropout, c_head
        )

    def loss(self, batch, rng: np.random.Generator, sampled: None = None):
        """({nats}, cache); stores the state in `carried`."""
        x, targets, first = batch
        state = None if first else self.carried
        (logits, self.carried), cache = self.forward(x, state)
        nats, dlogits = sequence_cross_entropy(logits, targets, reduction="step")
        return {"nats": nats}, cache._replace(dlogits=dlogits)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters."""
        steps, n, size = cache.dlogits.shape
        dkept = self.head.backward(cache.dlogits.reshape(steps * n, size), cache.head)
        dh = self.dropout.backward(dkept.reshape(steps, n, dkept.shape[1]), cache.dropout)
        stop = [None] * len(self.rnn.states)  # truncated: no gradient from the next chunk, none to the last
        dvectors, *_ = self.rnn.backward((dh, *stop), cache.rnn)
        if self.embedding:
            self.embedding.backward(dvectors, cache.embedding)

    def predict(self, prompt: str, length: int = 500, temperature: float = 1.0, rng=None) -> str:
        """`length` characters after the prompt, each drawn from softmax(logits / temperature).

        temperature 0: always the most probable one. An unknown character of the prompt is read as <unk>. After an
        empty prompt the first character is drawn uniformly, as in char-rnn. rng: default seed 0.
        """
        if not isinstance(length, int) or length < 0:
            raise ValueError(f"CharRNN: length must be a whole number >= 0, got {length!r}")
        if not isinstance(temperature, (int, float)) or not 0 <= temperature < np.inf:
            raise ValueError(f"CharRNN: temperature must be a number >= 0, got {temperature!r}")
        rng, device = rng or np.random.default_rng(0), device_of(self)
        known, text = self.vocabulary.encode(prompt), []
        if length and not len(known):
            known = rng.integers(len(SPECIAL), len(self.vocabulary), 1)
            text.append(int(known[0]))
        if len(text) < length:
            (logits, state), _ = self.forward(to_device(known[:, None], device), training=False)
        while len(text) < length:
            text.append(draw(to_device(logits[-1, 0], "cpu"), temperature, rng))
            (logits, state), _ = self.forward(to_device(np.array([[text[-1]]]), device), state, training=False)
        return self.vocabulary.decode(text)

    def load_state_dict(self, state, strict=True):
        """As Layer's; `carried` takes its shape from `state`, since the number of texts depends on the batch."""
        if np.ndim(state.get("carried")) == 4:
            states, layers, _, hidden = self.carried.shape
            shape = states, layers, state["carried"].shape[2], hidden
            self.carried = array_module(self.carried).zeros(shape, self.carried.dtype)
        return super().load_state_dict(state, strict)

    def _vectors(self, x, xp):
        """(T, N, D) and the embedding's cache; without embedding one-hot vectors."""
        if self.embedding:
            return self.embedding.forward(x)
        return xp.eye(len(self.vocabulary), dtype=self.head.weight.value.real.dtype)[x], None


def draw(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """An id drawn from softmax(logits / temperature), logits (V,); never one of the vocabulary's special words."""
    logits = logits[len(SPECIAL) :].astype(np.float64)
    if temperature == 0:
        return len(SPECIAL) + int(logits.argmax())
    p = np.exp((logits - logits.max()) / temperature)
    return len(SPECIAL) + int(rng.choice(len(p), p=p / p.sum()))


def nats_per_character(model: CharRNN, ids: np.ndarray, streams: int = 20, steps: int = 256) -> float:
    """The mean of -log p(ids[t + 1] | ids[0 .. t]), ids (L,), L >= 2.

    The text is split into `streams` parts that are read in parallel, each from a state of zeros. 1 is exact; more are
    faster, and the result is slightly too high, since the first characters of a part lack those before them.
    """
    spans = np.array_split(np.arange(len(ids) - 1), min(streams, len(ids) - 1))
    x, lengths = pad_batch([ids[span] for span in spans])
    targets, _ = pad_batch([ids[span + 1] for span in spans])
    x, targets, lengths = to_device((x, targets, lengths), device_of(model))
    total, state = 0.0, None
    for start in range(0, len(x), steps):
        part = slice(start, start + steps)
        (logits, state), _ = model.forward(x[part], state, training=False)
        left = (lengths - start).clip(0, len(logits))
        total += sequence_cross_entropy(logits, targets[part], left, "sum")[0]
    return total / (len(ids) - 1)


RECIPE = {
    "epochs": 20,
    "batch_size": 32,
    "optimiser": "adam",
    "lr": 0.005,
    "weight_decay": 0.0,
    "schedule": "polynomial",
    "warm_up": 100,
    "clip_norm": 1.0,
}


@dataclass(frozen=True)
class GRUOptions(Options):
    """A character GRU."""

    cell: Literal["rnn", "lstm", "gru"] = "gru"  # rnn: with tanh


@dataclass(frozen=True)
class RNNOptions(Options):
    """A character RNN."""

    cell: Literal["rnn", "lstm", "gru"] = "rnn"  # rnn: with tanh


SYSTEM = {
    "system": "Character language model: RNN, LSTM, GRU",
    "paper": "Karpathy 2015, char-rnn; Graves 2013, arXiv:1308.0850",
}
register(
    "char_rnn", "language", RECIPE | {"lr": 0.002}, options=RNNOptions,
    tiny=Tiny({"hidden": 3, "layers": 3, "embedding": 2, "dropout": 0.3}), **SYSTEM,
)(CharRNN)  # fmt: skip
register(
    "char_lstm", "language", RECIPE, options=Options, tiny=Tiny({"hidden": 3, "dropout": 0.3}), **SYSTEM,
    figures="tiny Shakespeare, validation: LSTM 1.549 nats a character, GRU 1.521, RNN 1.622",
)(CharRNN)  # fmt: skip
register("char_gru", "language", RECIPE, options=GRUOptions, tiny=Tiny({"hidden": 3, "embedding": 2}), **SYSTEM)(
    CharRNN
)
