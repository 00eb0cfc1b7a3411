"""The character model against PyTorch: three steps of truncated backpropagation, clipping and Adam, state carried."""

import math

import numpy as np
import pytest

from nn import Adam, swap_lstm_gates
from nn.optim.clipping import clip_gradient_norm
from vision.sequence.char_rnn import CharRNN, Options
from vision.sequence.vocabulary import Vocabulary

torch = pytest.importorskip("torch")

VOCABULARY = Vocabulary.build(["abcdefg"], level="char")
V, H, T, N, CHUNKS, LR, CLIP = len(VOCABULARY), 6, 5, 3, 3, 0.01, 0.05


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_training_steps(cell):
    ids = np.random.default_rng(0).integers(4, V, (CHUNKS * T + 1, N))
    model = CharRNN(VOCABULARY.words, Options(cell=cell, hidden=H), np.random.default_rng(1)).astype(np.float64)
    body = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM}[cell](V, H, 2).double()
    head = torch.nn.Linear(H, V).double()
    state = {name: parameter.value for name, parameter in model.parameters().items()}
    if cell == "lstm":
        state = swap_lstm_gates(state, "rnn")
    tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
    body.load_state_dict({name[4:]: t for name, t in tensors.items() if name.startswith("rnn.")})
    head.load_state_dict({name[5:]: t for name, t in tensors.items() if name.startswith("head.")})
    theirs = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=LR)
    ours, hidden = Adam(model.parameters(), lr=LR), None

    for chunk in range(CHUNKS):
        part = ids[chunk * T : (chunk + 1) * T + 1]
        model.zero_grad()
        losses, cache = model.loss((part[:-1], part[1:], chunk == 0), None)
        model.backward(cache)
        norm = clip_gradient_norm(model.parameters(), CLIP)
        ours.step()

        theirs.zero_grad()
        x = torch.nn.functional.one_hot(torch.from_numpy(part[:-1]), V).double()
        h, hidden = body(x, hidden)
        hidden = tuple(s.detach() for s in hidden) if cell == "lstm" else hidden.detach()
        wanted = torch.nn.functional.cross_entropy(head(h).reshape(-1, V), torch.from_numpy(part[1:].reshape(-1)))
        wanted.backward()
        parameters = [*body.parameters(), *head.parameters()]
        wanted_norm = torch.nn.utils.clip_grad_norm_(parameters, math.inf)  # with a limit it would add 1e-6 to the norm
        for parameter in parameters:
            parameter.grad *= CLIP / wanted_norm
        theirs.step()
        assert losses["nats"] == pytest.approx(wanted.item(), rel=1e-10)
        assert norm == pytest.approx(wanted_norm.item(), rel=1e-9)
        assert norm > CLIP
        carried = torch.stack(hidden) if cell == "lstm" else hidden[None]
        np.testing.assert_allclose(model.carried, carried.numpy(), rtol=1e-9)
