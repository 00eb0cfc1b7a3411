"""Sequence to sequence with and without attention: gradients, the equations step by step, padding, and search."""

from itertools import pairwise

import numpy as np
import pytest

import vision
from nn import Adam
from nn.gradcheck import check_model
from vision.sequence.padding import pad_batch
from vision.sequence.seq2seq import Options, Seq2Seq
from vision.sequence.vocabulary import END, PAD, START, Vocabulary

TEXTS = ["the cat sat", "a dog", "the mat", "a cat and a dog sat"]
VOCABULARY = Vocabulary.build(TEXTS)
BOTH = pytest.mark.parametrize("attention", [False, True])


def build(attention, seed=0, dtype=np.float64, **options):
    options = {"hidden": 5, "embedding": 3, "bidirectional": attention} | options
    model = Seq2Seq(VOCABULARY.words, Options(attention=attention, **options), np.random.default_rng(seed)).astype(
        dtype
    )
    rng = np.random.default_rng(seed + 1)
    for name, parameter in model.parameters().items():
        if "bias" in name:
            parameter.value[...] = 0.3 * rng.standard_normal(parameter.value.shape)
    return model


def batch_of(texts=TEXTS, targets=None):
    targets = targets or [" ".join(reversed(text.split())) for text in texts]
    source = pad_batch([VOCABULARY.encode(text) for text in texts])
    return *source, *pad_batch([VOCABULARY.encode(text, start=True, end=True) for text in targets])


@BOTH
def test_gradients(attention):
    model, batch = build(attention), batch_of()
    errors = check_model(model, batch, tolerance=1e-9)
    assert ("attention.weight_score" in errors) is attention
    check_model(model, batch, tolerance=1e-6, complex_step=False)


@BOTH
def test_a_padded_batch_is_its_sentences_one_by_one(attention):
    model, alone = build(attention), build(attention)
    losses, cache = model.loss(batch_of(), None)
    model.backward(cache)
    total = 0.0
    for text in TEXTS:
        one, one_cache = alone.loss(batch_of([text]), None)
        alone.backward(one_cache)
        total += one["words"]
    assert losses["words"] == pytest.approx(total / len(TEXTS), rel=1e-12)
    for name, parameter in model.parameters().items():
        np.testing.assert_allclose(parameter.grad, alone.parameters()[name].grad / len(TEXTS), atol=1e-12)


def test_without_attention_it_is_cho_s():
    """One direction, a summary c = tanh(V h_S), and the word before goes to the scores (app. A.1)."""
    options = vision.build("seq2seq", VOCABULARY.words).options
    assert (options.attention, options.bidirectional) == (False, False)
    names = build(False).parameters()
    assert "summary.0.weight" in names and not any("reverse" in name for name in names)
    assert names["head.weight"].value.shape[1] == 5 + 5 + 3
    assert vision.build("seq2seq_attention", VOCABULARY.words).options.bidirectional


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gru(w, x, h, suffix=""):
    """Cho et al. 2014, eq. 5 to 8, for one sentence."""
    n = len(h)
    wx = w["weight_ih" + suffix] @ x + w["bias_ih" + suffix] + w["bias_hh" + suffix]
    u = w["weight_hh" + suffix]
    r, z = sigmoid(wx[:n] + u[:n] @ h), sigmoid(wx[n : 2 * n] + u[n : 2 * n] @ h)
    return z * h + (1 - z) * np.tanh(wx[2 * n :] + u[2 * n :] @ (r * h))


def naive_loss(model, source, target):
    """The loss of one sentence, by the papers' equations."""
    p = {name: parameter.value for name, parameter in model.parameters().items()}
    part = lambda start: {name.removeprefix(start): v for name, v in p.items() if name.startswith(start)}  # noqa: E731
    encoder, cell, zero = part("encoder."), part("cell."), np.zeros(5)
    x = p["source.weight"][source]
    forward, backward = [zero], [zero]
    for t in range(len(x)):
        forward.append(gru(encoder, x[t], forward[-1], "_l0"))
        if model.options.bidirectional:
            backward.append(gru(encoder, x[-1 - t], backward[-1], "_l0_reverse"))
    h = [np.concatenate([f, b]) for f, b in zip(forward[1:], backward[:0:-1])]
    summary = np.concatenate([forward[-1], backward[-1]]) if model.options.bidirectional else forward[-1]
    if not model.attention:
        summary = np.tanh(p["summary.0.weight"] @ summary + p["summary.0.bias"])
    s, loss = np.tanh(p["bridge.0.weight"] @ summary + p["bridge.0.bias"]), 0.0
    for before, word in pairwise(target):
        context = summary
        if model.attention:
            a = part("attention.")
            e = [a["weight_score"] @ np.tanh(a["weight_query"] @ s + a["weight_key"] @ hj + a["bias"]) for hj in h]
            alpha = np.exp(e) / np.exp(e).sum()
            context = sum(weight * hj for weight, hj in zip(alpha, h))
        s = gru(cell, np.concatenate([p["target.weight"][before], context]), s)
        logits = p["head.weight"] @ np.concatenate([s, context, p["target.weight"][before]]) + p["head.bias"]
        loss -= logits[word] - np.log(np.exp(logits).sum())
    return loss


@pytest.mark.parametrize("attention, both_ways", [(False, False), (False, True), (True, True)])
def test_the_loss_is_that_of_the_equations(attention, both_ways):
    model = build(attention, bidirectional=both_ways)
    source, target = VOCABULARY.encode("the cat sat"), VOCABULARY.encode("a dog sat and", start=True, end=True)
    loss = model.loss(batch_of(["the cat sat"], ["a dog sat and"]), None)[0]["words"]
    assert loss == pytest.approx(naive_loss(model, source, target), rel=1e-12)


@pytest.fixture(scope="module")
def trained():
    """With attention, overfitted to its four sentences."""
    model = build(True, dtype=np.float32, hidden=16, embedding=8)
    optimiser = Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        model.zero_grad()
        losses, cache = model.loss(batch_of(), None)
        model.backward(cache)
        optimiser.step()
    assert losses["words"] < 0.2
    return model


def test_prediction_of_training_sentences(trained):
    source, source_lengths, target, lengths = batch_of()
    said = trained.predict(source, source_lengths, 9)
    assert said.shape == (9, 4)
    for n, text in enumerate(TEXTS):
        assert said[: lengths[n] - 1, n].tolist() == target[1 : lengths[n], n].tolist()
        assert (said[lengths[n] - 1 :, n] == PAD).all()
        assert VOCABULARY.decode(said[:, n]) == " ".join(reversed(text.split()))


def test_translation_of_a_text(trained):
    for beam in (1, 3, 50):  # 50: wider than the vocabulary
        found = trained.translate("A cat, and a dog sat!", beam)
        assert found["text"] == "sat dog a and cat a"
        assert found["weights"].shape == (7, 6)
        np.testing.assert_allclose(found["weights"].sum(axis=1), 1, rtol=1e-5)
    source, target = VOCABULARY.encode("a cat and a dog sat"), [START, *VOCABULARY.encode(found["text"]), END]
    exact = trained.loss((source[:, None], np.array([6]), np.array(target)[:, None], np.array([8])), None)[0]["words"]
    assert found["log_probability"] == pytest.approx(-exact, rel=1e-4)


def test_greedy_search_is_a_beam_of_1_and_a_wider_one_is_no_worse():
    model = build(True, seed=5)
    source, lengths, _, _ = batch_of()
    said = model.predict(source, lengths, 22)
    for n, text in enumerate(TEXTS):
        one, five = model.translate(text, 1), model.translate(text, 5)
        steps = 2 * lengths[n] + 10
        assert VOCABULARY.decode(said[:steps, n]) == one["text"]
        assert five["log_probability"] >= one["log_probability"] - 1e-9


def test_without_attention_there_are_no_weights():
    assert build(False).translate("the cat")["weights"] is None


def test_a_sentence_longer_than_any_of_training_and_unknown_words(trained):
    assert trained.translate("the cat sat " * 40)["weights"].shape[1] == 120
    assert trained.translate("zebra")["weights"].shape[1] == 1


def test_the_level_depends_on_the_words():
    letters = Vocabulary.build(["ab c"], level="char")
    assert Seq2Seq(letters.words, Options(), np.random.default_rng(0)).vocabulary.level == "char"
    assert build(True).vocabulary.level == "word"
    assert Seq2Seq(letters.words, Options(level="word"), np.random.default_rng(0)).vocabulary.level == "word"


@pytest.mark.parametrize("text", ["", " ... "])
def test_a_text_without_words(text):
    with pytest.raises(ValueError, match="Seq2Seq: text must have at least one word, got"):
        build(True).translate(text)
