"""Cases of the embedding, the recurrent cells and layers, and attention."""

import numpy as np

from nn.cases.base import LayerCase
from nn.layer import Layer
from nn.layers.attention import AdditiveAttention
from nn.layers.embedding import Embedding
from nn.layers.gru import GRU, GRUCell
from nn.layers.lstm import LSTM, LSTMCell
from nn.layers.rnn import RNN, RNNCell

RNG = np.random.default_rng(53)
STATES = {RNN: 1, RNNCell: 1, GRU: 1, GRUCell: 1, LSTM: 2, LSTMCell: 2}


def normal(*shape):
    """An array of standard normal values."""
    return RNG.standard_normal(shape)


def cell(layer, n, d, h, given=True, other=3, **options):
    """A cell on x (n, d); given: whether the states are given, one bool or one for each state."""
    given = [given] * STATES[layer] if isinstance(given, bool) else given

    def inputs(n):
        return normal(n, d), *(normal(n, h) if is_given else None for is_given in given)

    return LayerCase(lambda: layer(d, h, **options), inputs(n), inputs(other))


def sequence(layer, t, n, d, h, given=True, lengths=None, training=True, **options):
    """A sequence layer on x (t, n, d), with options such as num_layers; the second input has another T and N.

    lengths: of the first input; those of the second are drawn.
    """
    given = [given] * STATES[layer] if isinstance(given, bool) else given
    stack = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)

    def inputs(t, n, lengths):
        return normal(t, n, d), *(normal(stack, n, h) if is_given else None for is_given in given), lengths

    other = t % 4 + 2, n % 4 + 3
    second = None if lengths is None else RNG.integers(0, other[0] + 1, other[1])
    first = None if lengths is None else np.array(lengths)

    def build():  # with an rng, so that layers made anew drop the same
        return layer(d, h, **options, rng=np.random.default_rng(0))

    return LayerCase(build, inputs(t, n, first), inputs(*other, second), training)


def cells(layer, **options):
    """The cases of a single step."""
    return {
        "states given": cell(layer, 4, 3, 2, **options),
        "no state given": cell(layer, 2, 3, 4, given=False, **options),
        "no bias": cell(layer, 4, 2, 3, bias=False, **options),
        "batch of 1": cell(layer, 1, 4, 3, **options),
        "one element in, one out": cell(layer, 4, 1, 1, **options),
    }


def sequences(layer, **options):
    """The cases of a recurrent layer: states, lengths, directions, stacks."""
    both = {"bidirectional": True, **options}
    deep = {"num_layers": 2, **both}
    return {
        "initial state given": sequence(layer, 5, 4, 3, 2, **options),
        "no initial state": sequence(layer, 4, 2, 3, 5, given=False, **options),
        "no bias": sequence(layer, 3, 2, 4, 5, bias=False, **options),
        "lengths": sequence(layer, 5, 4, 3, 2, lengths=[2, 5, 3, 1], **options),
        "lengths, some 0, no initial state": sequence(
            layer, 4, 5, 3, 2, given=False, lengths=[0, 2, 4, 0, 3], **options
        ),
        "lengths, none full": sequence(layer, 4, 3, 2, 1, lengths=[1, 3, 2], **options),
        "two layers": sequence(layer, 4, 3, 2, 5, num_layers=2, **options),
        "three layers, dropout": sequence(layer, 3, 4, 2, 3, num_layers=3, dropout=0.4, **options),
        "dropout, inference": sequence(layer, 3, 2, 4, 2, num_layers=2, dropout=0.4, training=False, **options),
        "bidirectional": sequence(layer, 4, 3, 5, 2, **both),
        "bidirectional, lengths": sequence(layer, 5, 4, 2, 3, lengths=[3, 1, 5, 4], **both),
        "all at once": sequence(layer, 4, 5, 3, 2, lengths=[3, 4, 0, 1, 3], dropout=0.3, **deep),
        "batch of 1": sequence(layer, 4, 1, 3, 2, **deep),
        "sequence of length 1": sequence(layer, 1, 4, 3, 2, **deep),
        "batch and sequence of 1": sequence(layer, 1, 1, 3, 2, **options),
    }


def embedding(shape, other, v, d, padding_idx=None):
    """Indices without padding_idx: its row is the output for padding, but has no gradient by definition."""
    used = [i for i in range(v) if padding_idx is None or i != padding_idx % v]
    inputs = (RNG.choice(used, shape),), (RNG.choice(used, other),)
    return LayerCase(lambda: Embedding(v, d, padding_idx), *inputs)


def attention(n, length, q, k, a, masked=False, projected=False, other=(3, 5), **options):
    """Queries (n, q), keys (n, length, k), A = a; `other`: N and L of the second input."""

    def inputs(n, length):
        mask = RNG.random((n, length)) < 0.6 if masked else None
        return normal(n, q), normal(n, length, k), mask, normal(n, length, a) if projected else None

    return LayerCase(lambda: AdditiveAttention(q, k, a, **options), inputs(n, length), inputs(*other))


def nothing_counts():
    """A mask whose first row has no key that counts."""
    case = attention(2, 4, 3, 5, 6, masked=True)
    case.inputs[2][...] = [[False] * 4, [True, False, True, True]]
    return case


LAYERS: dict[type[Layer], dict[str, LayerCase]] = {
    Embedding: {
        "text": embedding((4, 3), (2, 5), 7, 2),
        "padding_idx": embedding((6, 5), (4, 2), 3, 4, padding_idx=1),
        "padding_idx from the end": embedding((6, 5), (4, 2), 3, 4, padding_idx=-3),
        "one axis": embedding((8,), (3,), 5, 2),
        "three axes": embedding((2, 4, 3), (3, 1, 2), 6, 1),
        "batch of 1": embedding((1, 5), (2, 3), 4, 3),
    },
    RNNCell: cells(RNNCell) | {"relu": cell(RNNCell, 5, 3, 4, nonlinearity="relu")},
    LSTMCell: cells(LSTMCell)
    | {
        "h alone given": cell(LSTMCell, 4, 3, 2, given=(True, False)),
        "c alone given": cell(LSTMCell, 4, 3, 2, given=(False, True)),
        "forget_bias": cell(LSTMCell, 4, 3, 2, forget_bias=None),
    },
    GRUCell: cells(GRUCell) | {f"reset_after, {name}": case for name, case in cells(GRUCell, reset_after=True).items()},
    RNN: sequences(RNN)
    | {
        "relu": sequence(RNN, 4, 5, 3, 2, nonlinearity="relu"),
        "relu, all at once": sequence(
            RNN, 3, 5, 4, 2, lengths=[3, 0, 2, 1, 3], nonlinearity="relu", num_layers=2, bidirectional=True, dropout=0.3
        ),
    },
    LSTM: sequences(LSTM)
    | {
        "h0 alone given": sequence(LSTM, 4, 5, 3, 2, given=(True, False)),
        "c0 alone given": sequence(LSTM, 4, 5, 3, 2, given=(False, True), lengths=[4, 1, 0, 3, 2]),
        "forget_bias": sequence(LSTM, 4, 5, 3, 2, forget_bias=3.0),
    },
    GRU: sequences(GRU) | {f"reset_after, {name}": case for name, case in sequences(GRU, reset_after=True).items()},
    AdditiveAttention: {
        "context and weights": attention(2, 4, 3, 5, 6),
        "no bias": attention(4, 3, 5, 2, 6, bias=False),
        "mask": attention(4, 7, 3, 5, 2, masked=True),
        "mask, nothing counts": nothing_counts(),
        "projected keys": attention(2, 4, 3, 5, 6, projected=True),
        "projected keys, mask": attention(4, 6, 5, 3, 2, masked=True, projected=True, bias=False),
        "one key": attention(4, 1, 3, 5, 6),
        "batch of 1": attention(1, 4, 3, 2, 5, masked=True),
    },
}
