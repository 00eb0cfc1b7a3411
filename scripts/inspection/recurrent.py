"""What a recurrent network does over time: its gates and states at each step, and where it attends."""

from typing import Any

import numpy as np

from nn import GRU, LSTM, RNN, AdditiveAttention, GRUCell, LSTMCell, RNNCell
from nn.layers.gru import gru_step
from nn.layers.lstm import lstm_step
from nn.layers.rnn import rnn_step
from nn.record import Pass, arrays_in
from scripts.inspection import pictures
from scripts.inspection.numbers import rounded
from scripts.inspection.passes import Seen

PIXELS, LONG = 40_000, 40  # of a picture of gates; steps and attended tiles that are shown at most
GATES = {  # what the step functions keep for backward, by its position
    "lstm": {"input gate i": 3, "forget gate f": 4, "output gate o": 5, "candidate g": 6, "cell c": 7},
    "gru": {"reset gate r": 2, "update gate z": 3, "candidate": 5},
    "rnn": {},
}
TITLE = "Gates over time: {}"
TEXT = "Units down, steps across, of the first sequence. A gate of 1 lets all through, one of 0 nothing."


def gates_parts(seen: Seen, words: list[str]) -> list[dict[str, Any]]:
    """One part of the page for each recurrent layer."""
    parts, done = [], set()
    for p in seen.passes:
        if id(p.layer) in done:
            continue
        if isinstance(p.layer, (LSTMCell, GRUCell, RNNCell)):
            calls = [q for q in seen.passes if q.layer is p.layer and q.y is not None][:LONG]
            steps, norms = [step_of(q) for q in calls], [norm_of(q) for q in calls]
        elif isinstance(p.layer, (LSTM, GRU, RNN)) and p.y is not None:
            steps, norms = steps_of(p), norms_of(p)
        else:
            continue
        done.add(id(p.layer))
        parts.append(part(p, steps, norms, words))
    return parts


def part(p: Pass, steps: list[dict], norms: list, words: list[str]) -> dict[str, Any]:
    """The gates of all steps as matrices."""
    drawn = {}
    for name in steps[0]:
        values = np.stack([step[name] for step in steps], axis=1)  # (H, T)
        gate = " gate " in name  # from 0 to 1
        drawn[name] = pictures.matrix(values, PIXELS, False if gate else None, 1.0 if gate else None)._asdict()
    labels = padded(words, len(steps))
    title = TITLE.format(f"{p.name or type(p.layer).__name__}, {type(p.layer).__name__}")
    return {"kind": "gates", "title": title, "text": TEXT, "drawn": drawn, "norms": norms, "labels": labels}


def padded(words: list[str], steps: int) -> list[str]:
    """A word for each step, <pad> where the sequence has ended; [] without words."""
    return [*words, *["<pad>"] * (steps - len(words))][:steps] if words else []


def step_of(p: Pass) -> dict[str, np.ndarray]:
    """The gates and states of the first sequence in one call of a cell."""
    zeros = np.zeros((len(p.inputs["x"]), p.layer.hidden_size), p.inputs["x"].dtype)
    states = [zeros if p.inputs.get(name) is None else p.inputs[name] for name in p.layer.states]
    return computed(p.layer, p.inputs["x"], states, p.layer._weights())[1]


def steps_of(p: Pass) -> list[dict[str, np.ndarray]]:
    """Those of the lowest layer of a stack, in its first direction, step by step."""
    x = p.inputs["x"][:LONG]
    given = [p.inputs.get(f"{name}0") for name in p.layer.states]
    zeros = np.zeros((x.shape[1], p.layer.hidden_size), x.dtype)
    states, steps = [zeros if each is None else each[0] for each in given], []
    for x_t in x:
        states, step = computed(p.layer, x_t, states, p.layer._weights("_l0"))
        steps.append(step)
    return steps


def computed(layer, x, states, w) -> tuple[list, dict[str, np.ndarray]]:
    """(new states, the gates and h of the first sequence) by the textbook's step function."""
    if isinstance(layer, (LSTM, LSTMCell)):
        (new, kept), gates = lstm_step(x, *states, w), GATES["lstm"]
    elif isinstance(layer, (GRU, GRUCell)):
        (new, kept), gates = gru_step(x, *states, w, layer.reset_after), GATES["gru"]
    else:
        (new, kept), gates = rnn_step(x, *states, w, layer.nonlinearity), GATES["rnn"]
    return list(new), {name: kept[i][0] for name, i in gates.items()} | {"state h": new[0][0]}


def norm_of(p: Pass) -> float | None:
    """The norm of the gradient of the new state h, of the first sequence."""
    first = next(arrays_in(p.dy), None)
    return None if first is None else rounded(float(np.linalg.norm(first[0])))


def norms_of(p: Pass) -> list[float | None]:
    """The same of the outputs of a stack, each step's own; [] where only the last state has a gradient."""
    dy = p.dy[0] if p.dy else None
    return [] if dy is None else [rounded(float(np.linalg.norm(d[0]))) for d in dy[:LONG]]


def attention_parts(seen: Seen, words: list[str]) -> list[dict[str, Any]]:
    """Where each attention looks: on the picture where its keys are the cells of a map, else as a matrix."""
    calls = [p for p in seen.passes if isinstance(p.layer, AdditiveAttention) and p.y is not None]
    if not calls:
        return []
    every = [p.y[1][0] for p in calls][:LONG]  # (L,) of the first sequence
    maps = [a.shape[2:] for p in seen.passes for a in arrays_in(p.y) if a.ndim == 4 and a.shape[2] * a.shape[3] > 1]
    size = next((each for each in reversed(maps) if each[0] * each[1] == len(every[0])), None)
    hops = len({id(p.layer) for p in calls}) == len(calls) > 1
    labels = [] if hops else padded(words, len(every))
    labels = labels or [f"{'hop' if hops else 'step'} {k + 1}" for k in range(len(every))]
    about = {"kind": "attention", "title": "Where it attends", "labels": labels}
    if size is None:
        matrix = pictures.matrix(np.stack(every), PIXELS, both=False)._asdict()
        return [about | {"text": "Each row is a step, each column a word that is read.", "matrix": matrix, "tiles": []}]
    tiles = [pictures.paletted(pictures.levels_of(w.reshape(size), False)[0], pictures.ONE) for w in every]
    text = f"The weights of the {size[0]} x {size[1]} cells of the map at each step, each picture scaled by itself."
    return [about | {"text": text, "tiles": tiles}]


def words_of(seen: Seen, sample: dict) -> list[str]:
    """The words or characters that the steps of the first sequence read or say."""
    if sample.get("caption"):
        from vision.sequence import tokenise

        return [*tokenise(sample["caption"][0]), "<end>"]
    if "ids" in sample:
        return [seen.model.classes[int(i)] for i in sample["ids"][:-1]]
    return []
