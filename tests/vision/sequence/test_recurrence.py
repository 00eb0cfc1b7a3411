"""The four shapes of recurrence: gradients, an unrolled reference, padding, and that each learns."""

import numpy as np
import pytest

from nn import Adam
from nn.gradcheck import check_model
from vision.sequence.recurrence import CELLS, ManyToMany, ManyToOne, OneToMany, SequenceToSequence

D, H, V, T, N, S = 3, 5, 4, 6, 2, 7
SHAPES = [ManyToMany, ManyToOne, OneToMany, SequenceToSequence]


def build(shape, cell="lstm", dtype=np.float64, hidden=H, seed=0):
    return shape(cell, D, hidden, V, rng=np.random.default_rng(seed)).astype(dtype)


def batch_of(shape, n=N, seed=1):
    """A batch with sequences of unequal length."""
    rng = np.random.default_rng(seed)
    labels, lengths = rng.integers(0, V, (T, n)), rng.integers(1, T + 1, n)
    if shape is ManyToMany:
        return rng.standard_normal((T, n, D)), labels, lengths
    if shape is ManyToOne:
        return rng.standard_normal((T, n, D)), labels[0], lengths
    if shape is OneToMany:
        return rng.standard_normal((n, D)), labels, lengths
    return rng.standard_normal((S, n, D)), labels, rng.integers(1, S + 1, n), lengths


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(shape, cell):
    model, batch = build(shape, cell), batch_of(shape)
    check_model(model, batch, tolerance=1e-9)
    check_model(model, batch, tolerance=1e-6, complex_step=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_of_the_input(shape):
    model, (x, *rest) = build(shape), batch_of(shape)
    dx = model.backward(model.loss((x, *rest), None)[1])
    direction = np.random.default_rng(2).standard_normal(x.shape)
    above, below = (model.loss((x + step * direction, *rest), None)[0]["steps"] for step in (1e-6, -1e-6))
    assert (dx * direction).sum() == pytest.approx((above - below) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_is_its_sequences_one_by_one(shape):
    batch = batch_of(shape, n=3)
    x, labels, *lengths = batch
    model, alone = build(shape), build(shape)
    losses, cache = model.loss(batch, None)
    model.backward(cache)
    total = 0.0
    for n in range(3):
        one_x = x[n : n + 1] if shape is OneToMany else x[: lengths[0][n], n : n + 1]
        one_labels = labels[n : n + 1] if shape is ManyToOne else labels[: lengths[-1][n], n : n + 1]
        one, one_cache = alone.loss((one_x, one_labels, *(length[n : n + 1] for length in lengths)), None)
        alone.backward(one_cache)
        total += one["steps"]
    assert losses["steps"] == pytest.approx(total / 3, rel=1e-12)
    for name, parameter in model.parameters().items():
        np.testing.assert_allclose(parameter.grad, alone.parameters()[name].grad / 3, atol=1e-12)


def log_p(model, h, label):
    logits = h @ model.head.weight.value.T + model.head.bias.value
    return logits[label] - np.log(np.exp(logits).sum())


def step(rnn, x, h):
    """One step of the vanilla network, for one sequence."""
    w = {name: parameter.value for name, parameter in rnn.parameters().items()}
    return np.tanh(w["weight_ih_l0"] @ x + w["bias_ih_l0"] + w["weight_hh_l0"] @ h + w["bias_hh_l0"])


def unrolled(model, x, labels, length, label_length):
    """The loss of one sequence, step by step as in the picture."""
    h, loss = np.zeros(H), 0.0
    if isinstance(model, ManyToMany):
        for t in range(length):
            h = step(model.rnn, x[t], h)
            loss -= log_p(model, h, labels[t])
    elif isinstance(model, ManyToOne):
        for t in range(length):
            h = step(model.rnn, x[t], h)
        loss -= log_p(model, h, labels)
    else:
        vectors = model.embedding.weight.value
        if isinstance(model, SequenceToSequence):
            for t in range(length):
                h = step(model.encoder, x[t], h)
            x = vectors[V]
        for t in range(label_length):
            h = step(model.rnn, x, h)
            loss -= log_p(model, h, labels[t])
            x = vectors[labels[t]]
    return loss


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_is_the_sum_of_the_step_losses(shape):
    model, (x, labels, *lengths) = build(shape, "rnn"), batch_of(shape)
    wanted = [
        unrolled(model, x[n] if shape is OneToMany else x[:, n], labels[..., n], lengths[0][n], lengths[-1][n])
        for n in range(N)
    ]
    assert model.loss((x, labels, *lengths), None)[0]["steps"] == pytest.approx(np.mean(wanted), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_overfits_its_batch(shape):
    model, batch = build(shape, "gru", np.float32, hidden=24), batch_of(shape, n=4)
    x, labels, *lengths = batch
    batch = (x.astype(np.float32), labels, *lengths)
    optimiser = Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        model.zero_grad()
        losses, cache = model.loss(batch, None)
        model.backward(cache)
        optimiser.step()
    assert losses["steps"] < 0.1
    given = (batch[0], T) if shape in (OneToMany, SequenceToSequence) else (batch[0],)
    said = model.predict(*given, *(() if shape is OneToMany else (lengths[0],)))
    real = np.arange(T)[:, None] < lengths[-1]
    assert (said == labels).all() if shape is ManyToOne else (said == labels)[real].all()


def test_another_cell_is_refused():
    with pytest.raises(ValueError, match="ManyToOne: cell must be one of rnn, lstm, gru, got 'cnn'"):
        ManyToOne("cnn", D, H, V)
