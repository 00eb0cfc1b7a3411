"""The character model: gradients, the carried state, sampling, and the nats of a text."""

import math
from itertools import pairwise

import numpy as np
import pytest

import vision
from nn import Adam
from nn.gradcheck import check_model
from vision.sequence.char_rnn import CELLS, CharRNN, Options, draw, nats_per_character
from vision.sequence.vocabulary import SPECIAL, Vocabulary

TEXT = "the cat sat on the mat. " * 5
VOCABULARY = Vocabulary.build([TEXT], level="char")
IDS = VOCABULARY.encode(TEXT)


def build(cell="lstm", seed=0, **options):
    return CharRNN(VOCABULARY.words, Options(cell=cell, **{"hidden": 5} | options), np.random.default_rng(seed))


def batch(start=0, steps=6, n=3, first=True):
    ids = np.stack([IDS[start + 7 * k : start + 7 * k + steps + 1] for k in range(n)], axis=1)
    return ids[:-1], ids[1:], first


@pytest.mark.parametrize("options", [{}, {"embedding": 4}, {"layers": 3, "dropout": 0.4}, {"layers": 1}])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell, options):
    model = build(cell, **options)
    check_model(model, batch(), tolerance=1e-9)
    check_model(model, batch(), tolerance=1e-6, complex_step=False)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_with_a_state_from_the_chunk_before(cell):
    model = build(cell)
    model.loss(batch(n=1), None)
    model.carried += 0.3  # the check restores this before each call: the initial shape, of one text
    check_model(model, batch(6, n=1, first=False), tolerance=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_two_chunks_with_the_state_carried_are_one_long_chunk(cell):
    model = build(cell).astype(np.float64)
    whole = model.loss(batch(steps=12), None)[0]["nats"]
    first, second = model.loss(batch(), None)[0]["nats"], model.loss(batch(6, first=False), None)[0]["nats"]
    assert (first + second) / 2 == pytest.approx(whole, rel=1e-12)
    fresh = model.loss(batch(6), None)[0]["nats"]  # a text begins: the state is reset
    assert fresh != pytest.approx(second, rel=1e-6)


def test_gradients_stop_at_the_beginning_of_a_chunk():
    model = build().astype(np.float64)
    model.loss(batch(), None)
    state = model.carried.copy()
    _, cache = model.loss(batch(6, first=False), None)
    model.backward(cache)
    alone = build().astype(np.float64)
    alone.carried = state
    alone.backward(alone.loss(batch(6, first=False), None)[1])
    for name, parameter in model.parameters().items():
        np.testing.assert_array_equal(parameter.grad, alone.parameters()[name].grad)


def test_the_carried_state_is_saved_and_loaded():
    model, other = build(), build(seed=1)
    model.loss(batch(), None)
    assert model.carried.shape == (2, 2, 3, 5)
    other.load_state_dict(model.state_dict())
    assert other.loss(batch(6, first=False), None)[0] == model.loss(batch(6, first=False), None)[0]
    with pytest.raises(ValueError, match=r"carried has shape \(1, 2, 3, 5\), wanted \(2, 2, 3, 5\)"):
        other.load_state_dict(model.state_dict() | {"carried": np.zeros((1, 2, 3, 5))})


def test_one_hot_vectors_are_an_embedding_by_the_identity():
    plain, embedded = build(), build(embedding=len(VOCABULARY))
    state = plain.state_dict()
    embedded.load_state_dict(state | {"embedding.weight": np.eye(len(VOCABULARY), dtype=np.float32)})
    assert embedded.loss(batch(), None)[0]["nats"] == pytest.approx(plain.loss(batch(), None)[0]["nats"], rel=1e-6)


def test_dropout_is_before_the_output_too():
    model = build(layers=1, hidden=40, dropout=0.5)
    masks = model.loss(batch(), None)[1].dropout[0]
    assert {0.0, 2.0} == set(np.unique(masks))
    assert model.loss(batch(), None)[0] != model.loss(batch(), None)[0]
    assert nats_per_character(model, IDS) == nats_per_character(model, IDS)  # none in inference


def naive_nats(model, ids):
    """One character at a time, carrying the state from the first to the last."""
    total, state = 0.0, None
    for now, after in pairwise(ids):
        (logits, state), _ = model.forward(np.array([[now]]), state, training=False)
        z = logits[0, 0]
        total -= z[after] - np.log(np.exp(z).sum())
    return total / (len(ids) - 1)


def test_nats_per_character():
    model = build().astype(np.float64)
    for ids in (IDS, IDS[:2]):
        assert nats_per_character(model, ids, streams=1, steps=7) == pytest.approx(naive_nats(model, ids), rel=1e-12)
    parts = [IDS[0:41], IDS[40:81], IDS[80:]]  # 119 characters to predict: 40, 40 and 39 of them
    total = sum(naive_nats(model, part) * (len(part) - 1) for part in parts)
    assert nats_per_character(model, IDS, streams=3) == pytest.approx(total / (len(IDS) - 1), rel=1e-12)


def test_nats_of_a_model_that_knows_nothing():
    model = build()
    for parameter in model.parameters().values():
        parameter.value[...] = 0
    assert nats_per_character(model, IDS) == pytest.approx(math.log(len(VOCABULARY)), rel=1e-6)


def test_draw():
    logits = np.array([9.0, 9.0, 9.0, 9.0, 0.0, 1.0, 2.0], np.float32)  # the special words would be most probable
    rng = np.random.default_rng(0)
    assert {draw(logits, 0, rng) for _ in range(20)} == {6}
    for temperature in (0.5, 1.0, 3.0):
        counts = np.bincount([draw(logits, temperature, rng) for _ in range(4000)], minlength=7)
        p = np.exp(np.array([0, 1, 2]) / temperature)
        np.testing.assert_allclose(counts / 4000, [0, 0, 0, 0, *p / p.sum()], atol=0.03)
    assert draw(logits, 1e-9, rng) == 6  # no overflow


def test_it_learns_a_text_and_continues_it():
    model = build("gru", hidden=32, layers=1)
    optimiser = Adam(model.parameters(), lr=0.02)
    for step in range(120):
        model.zero_grad()
        losses, cache = model.loss(batch(step % 70, steps=20), None)
        model.backward(cache)
        optimiser.step()
    assert losses["nats"] < 0.1
    assert model.predict("the cat sat on", 24, temperature=0) == " the mat. the cat sat on"


def test_sampling():
    model = build()
    text = model.predict("the", 30, rng=np.random.default_rng(1))
    assert len(text) == 30
    assert set(text) <= set(TEXT)
    assert model.predict("the", 30, rng=np.random.default_rng(1)) == text
    assert model.predict("the", 30, rng=np.random.default_rng(2)) != text
    assert model.predict("the", 0) == ""
    assert len(model.predict("", 3)) == 3  # the first character is any
    assert len(model.predict("\u00fc\u00df", 3)) == 3  # unknown ones are read as <unk>


def test_text_of_one_symbol():
    words = (*SPECIAL, "a")
    model = CharRNN(words, Options(cell="rnn", hidden=3, layers=1), np.random.default_rng(0))
    assert model.predict("aaa", 4) == "aaaa"
    assert nats_per_character(model, np.full(9, 4)) > 0


def test_bad_input():
    with pytest.raises(ValueError, match="CharRNN: chunk must be a whole number >= 1, got 0"):
        vision.build("char_lstm", VOCABULARY.words, chunk=0)
    with pytest.raises(ValueError, match="LSTM: num_layers must be a whole number >= 1, got 0"):
        build(layers=0)
    with pytest.raises(ValueError, match="Vocabulary: words must begin with"):
        CharRNN(("a", "b"), Options(), np.random.default_rng(0))
    model = build()
    for options, message in (
        ({"length": -1}, "length must be a whole number >= 0, got -1"),
        ({"length": 2.5}, "length must be a whole number >= 0, got 2.5"),
        ({"temperature": -0.1}, "temperature must be a number >= 0, got -0.1"),
        ({"temperature": "hot"}, "temperature must be a number >= 0, got 'hot'"),
        ({"temperature": math.nan}, "temperature must be a number >= 0, got nan"),
    ):
        with pytest.raises(ValueError, match=f"CharRNN: {message}"):
            model.predict("the", **options)
