"""The four shapes of recurrence, with the same recurrent network in each.

    many to many           many to one           one to many              sequence to sequence
    y0  y1  y2                     y             y0  y1  y2                           y0  y1  y2
    |   |   |                      |             |   |   |                            |   |   |
    h - h - h              h - h - h             h - h - h                h - h - h - h - h - h
    |   |   |              |   |   |             |   |   |                |   |   |   |   |   |
    x0  x1  x2             x0  x1  x2            x   y0  y1               x0  x1  x2  <s> y0  y1

    tag each word          classify a text       describe an image        translate

A step with an output has a label y_t; its loss is -log p(y_t). The loss of a sequence is the sum over its steps, that
of a batch the mean over the sequences. A network that reads its own labels gets the true ones in training (teacher
forcing), its predictions otherwise. Everything is time first: x (T, N, D), labels (T, N), lengths (N,) (see nn.LSTM);
labels are in 0 .. V - 1.

Reference: Karpathy 2015, The unreasonable effectiveness of recurrent neural networks (the picture); Goodfellow et al.
2016, Deep learning, sec. 10.2, 10.2.4, 10.4.
"""

from typing import Any, NamedTuple

import numpy as np

from nn import GRU, LSTM, RNN, Embedding, Linear
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import Layer
from nn.random import generator
from vision.sequence.padding import sequence_cross_entropy

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


class Cache(NamedTuple):
    """What backward needs of the recurrent networks, the head, the loss, and the embedding of labels read."""

    rnn: Any
    head: Any
    dlogits: np.ndarray
    embedding: Any = None
    encoder: Any = None


class _Recurrence(Layer):
    """A recurrent network of any cell, a head that turns its state into V logits, and the loss of its steps."""

    def __init__(
        self, cell: str, input_size: int, hidden: int, classes: int, *, rng: np.random.Generator | None = None
    ):
        if cell not in CELLS:
            raise ValueError(f"{type(self).__name__}: cell must be one of {', '.join(CELLS)}, got {cell!r}")
        rng = rng or generator()
        self.rnn = CELLS[cell](input_size, hidden, rng=rng)
        self.head = Linear(hidden, classes, rng=rng)

    def _logits(self, h):
        """(T, N, V) for the states h (T, N, H), and the head's cache."""
        logits, cache = self.head.forward(h.reshape(-1, h.shape[2]))
        return logits.reshape(*h.shape[:2], logits.shape[1]), cache

    def _steps_backward(self, cache):
        """The gradient of all steps' losses with respect to the states h (T, N, H)."""
        dlogits = cache.dlogits
        dh = self.head.backward(dlogits.reshape(-1, dlogits.shape[2]), cache.head)
        return dh.reshape(*dlogits.shape[:2], dh.shape[1])  # (T, N, H)

    def _no_gradient(self):
        """None for each of the final states: nothing is computed from them."""
        return [None] * len(self.rnn.states)


class ManyToMany(_Recurrence):
    """A label for every step.    loss((x (T, N, D), labels (T, N), lengths), rng)"""

    def loss(self, batch, rng: np.random.Generator):
        x, labels, lengths = batch
        (h, *_), c_rnn = self.rnn.forward(x, lengths=lengths)
        logits, c_head = self._logits(h)
        value, dlogits = sequence_cross_entropy(logits, labels, lengths)
        return {"steps": value}, Cache(c_rnn, c_head, dlogits)

    def backward(self, cache: Cache):
        dh = self._steps_backward(cache)
        dx, *_ = self.rnn.backward((dh, *self._no_gradient()), cache.rnn)
        return dx

    def predict(self, x, lengths=None) -> np.ndarray:
        """(T, N): the most probable label of each step."""
        (h, *_), _ = self.rnn.forward(x, lengths=lengths, training=False)
        return self._logits(h)[0].argmax(axis=2)


class ManyToOne(_Recurrence):
    """One label for a sequence, from its last state.    loss((x (T, N, D), labels (N,), lengths), rng)"""

    def loss(self, batch, rng: np.random.Generator):
        x, labels, lengths = batch
        (_, h, *_), c_rnn = self.rnn.forward(x, lengths=lengths)  # h (1, N, H): one step with an output
        logits, c_head = self._logits(h)
        value, dlogits = sequence_cross_entropy(logits, labels[None])
        return {"steps": value}, Cache(c_rnn, c_head, dlogits)

    def backward(self, cache: Cache):
        dh = self._steps_backward(cache)
        dx, *_ = self.rnn.backward((None, dh, *self._no_gradient()[1:]), cache.rnn)
        return dx

    def predict(self, x, lengths=None) -> np.ndarray:
        """(N,): the most probable label."""
        (_, h, *_), _ = self.rnn.forward(x, lengths=lengths, training=False)
        return self._logits(h)[0][0].argmax(axis=1)


class OneToMany(_Recurrence):
    """A sequence of labels from a vector, the first step's input.    loss((x (N, D), labels (T, N), lengths), rng)

    Each further step reads the vector (D,) of the previous label.
    """

    def __init__(
        self, cell: str, input_size: int, hidden: int, classes: int, *, rng: np.random.Generator | None = None
    ):
        rng = rng or generator()
        super().__init__(cell, input_size, hidden, classes, rng=rng)
        self.embedding = Embedding(classes, input_size, rng=rng)

    def loss(self, batch, rng: np.random.Generator):
        x, labels, lengths = batch
        said, c_embedding = self.embedding.forward(labels[:-1])  # teacher forcing
        (h, *_), c_rnn = self.rnn.forward(array_module(x).concatenate([x[None], said]), lengths=lengths)
        logits, c_head = self._logits(h)
        value, dlogits = sequence_cross_entropy(logits, labels, lengths)
        return {"steps": value}, Cache(c_rnn, c_head, dlogits, c_embedding)

    def backward(self, cache: Cache):
        dh = self._steps_backward(cache)
        dinputs, *_ = self.rnn.backward((dh, *self._no_gradient()), cache.rnn)
        self.embedding.backward(dinputs[1:], cache.embedding)
        return dinputs[0]

    def predict(self, x, steps: int) -> np.ndarray:
        """(steps, N): at each step the most probable label, read by the next."""
        return _say(self, x[None], (), steps)


class SequenceToSequence(_Recurrence):
    """An encoder reads a sequence; its last state is the decoder's first.

    loss((x (S, N, D), labels (T, N), lengths (N,), label_lengths (N,)), rng). The decoder first reads vector V of its
    embedding, the start symbol, then at each step that of the previous label.

    Reference: Sutskever et al. 2014, arXiv:1409.3215, sec. 2; Cho et al. 2014, arXiv:1406.1078, sec. 2.2.
    """

    def __init__(
        self, cell: str, input_size: int, hidden: int, classes: int, *, rng: np.random.Generator | None = None
    ):
        rng = rng or generator()
        super().__init__(cell, input_size, hidden, classes, rng=rng)
        self.encoder = CELLS[cell](input_size, hidden, rng=rng)
        self.embedding = Embedding(classes + 1, input_size, rng=rng)

    def loss(self, batch, rng: np.random.Generator):
        x, labels, lengths, label_lengths = batch
        (_, *state), c_encoder = self.encoder.forward(x, lengths=lengths)
        read = array_module(x).concatenate([self._start(labels.shape[1]), labels[:-1]])  # teacher forcing
        said, c_embedding = self.embedding.forward(read)
        (h, *_), c_rnn = self.rnn.forward(said, *state, lengths=label_lengths)
        logits, c_head = self._logits(h)
        value, dlogits = sequence_cross_entropy(logits, labels, label_lengths)
        return {"steps": value}, Cache(c_rnn, c_head, dlogits, c_embedding, c_encoder)

    def backward(self, cache: Cache):
        dh = self._steps_backward(cache)
        dsaid, *dstate, _ = self.rnn.backward((dh, *self._no_gradient()), cache.rnn)
        self.embedding.backward(dsaid, cache.embedding)
        dx, *_ = self.encoder.backward((None, *dstate), cache.encoder)  # the decoder reads only the state
        return dx

    def predict(self, x, steps: int, lengths=None) -> np.ndarray:
        """(steps, N): at each step the most probable label, read by the next."""
        (_, *state), _ = self.encoder.forward(x, lengths=lengths, training=False)
        return _say(self, self.embedding(self._start(x.shape[1])), state, steps)

    def _start(self, n):
        return to_device(np.full((1, n), self.embedding.num_embeddings - 1), device_of(self))


def _say(model, x, state, steps):
    """Labels (steps, N): x (1, N, D) is read first, then each predicted label."""
    labels = []
    for _ in range(steps):
        (h, *state), _ = model.rnn.forward(x, *state, training=False)
        labels.append(model._logits(h)[0].argmax(axis=2))
        x = model.embedding(labels[-1])
    return array_module(x).concatenate(labels)
