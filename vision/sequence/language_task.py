"""Language modelling as a task: chunks of a text, nats per character, continuations of a text."""

import math
import time

import numpy as np

from vision.sequence.char_rnn import CharRNN, nats_per_character
from vision.task import TASKS, Task, on_its_device, shown


class Streams:
    """The chunks of a text, for n parts of it read in parallel: sample b * n + k is chunk b of part k.

    text: a data set with ids (L,) and len. Sample: ids (chunk + 1,), the last one being the first input of the next
    chunk; first: whether b is 0. All parts have the same length, so up to n - 1 characters at the end are left out.
    """

    def __init__(self, model: CharRNN, text, n: int):
        self.ids, self.n, self.chunk, self.length = text.ids, n, model.options.chunk, (len(text) - 1) // n
        if not self.length:
            raise ValueError(f"--batch-size {n}: the text has {len(text)} characters, too few to read {n} parts of it")

    def __len__(self) -> int:
        return self.n * -(-self.length // self.chunk)

    def __getitem__(self, index: int) -> dict:
        b, k = divmod(index, self.n)
        start, stop = b * self.chunk, min((b + 1) * self.chunk, self.length)
        return {"ids": self.ids[k * self.length + start : k * self.length + stop + 1], "first": b == 0}


def language_batch(model: CharRNN, samples: list[dict]) -> tuple[np.ndarray, np.ndarray, bool]:
    """x, targets (T, N) and first, for CharRNN.loss; samples of equal length."""
    ids = np.stack([sample["ids"] for sample in samples], axis=1)
    return ids[:-1], ids[1:], samples[0].get("first", True)


def go_on(model: CharRNN, sample: dict, length: int = 500, temperature: float = 0.8, seed: int = 0) -> str:
    """The model's continuation of the sample's text."""
    return on_its_device(model, model.predict, sample["text"], length, temperature, np.random.default_rng(seed))


def evaluate_language(model: CharRNN, dataset, failed: list[str] | None = None) -> dict:
    """Nats and bits per character, exp(nats) as perplexity and exp(-nats) as probability, and the speed."""
    started = time.monotonic()
    nats = nats_per_character(model, dataset.ids)
    return {
        "probability": math.exp(-nats),  # geometric mean of the probabilities of the true characters
        "nats": nats,
        "bits": nats / math.log(2),
        "perplexity": math.exp(min(nats, 700)),
        "characters": len(dataset),
        "unknown": dataset.unknown,
        "characters_per_second": round(len(dataset) / (time.monotonic() - started)),
    }


def language_table(metrics: dict) -> str:
    """The metrics of evaluate_language in two lines."""
    names = ("nats", "bits", "perplexity", "probability")
    row = ", ".join(f"{name} {shown(metrics[name])}" for name in names)
    size = f"{metrics['characters']} characters, {metrics['unknown']} of them unknown"
    return f"per character: {row}\n{size}; {metrics['characters_per_second']} characters/s"


TASKS["language"] = Task(
    metric="probability",
    collate=language_batch,
    predict=go_on,
    evaluate=evaluate_language,
    table=language_table,
    describe=lambda prediction, classes: [{"continuation": prediction}],
    select=lambda prediction, threshold: prediction,
    draw=lambda text, prediction, classes, sample=None: text + prediction,
    input="text",
    unit="characters",
    closed=False,
    options={"length": 500, "temperature": 0.8, "seed": 0},
    in_order=Streams,
)
