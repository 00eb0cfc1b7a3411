"""Language models, as the scripts see them: guessing the next character of a text, and going on with it."""

import math
import time

import numpy as np
from scripts.tasks.task import Task, on_its_device, open_shapes, shown

from datasets import read_texts
from nn.layer import Layer
from vision.sequence.char_rnn import nats_per_character
from vision.sequence.vocabulary import Vocabulary

EXCERPT = 100  # characters of a sample
TRAIN_PART = 0.9  # of a text; the rest is for validation


class Text:
    """A text as data set: sample i begins with character i, EXCERPT characters and the one after: text, ids (<= 101,).

    classes: the words of a Vocabulary of characters (default: those of the text).
    """

    def __init__(self, text: str, classes=None):
        if len(text) < 2:
            raise ValueError(f"a text must have at least 2 characters to guess the next one of, got {text!r}")
        vocabulary = Vocabulary(classes, "char") if classes else Vocabulary.build([text], level="char")
        self.text, self.ids, self.classes = text, vocabulary.encode(text), vocabulary.words
        self.unknown = int((self.ids == vocabulary.unknown).sum())
        self.problems = [f"{self.unknown} characters are unknown to the model"] if self.unknown else []

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, index: int) -> dict:
        stop = index + EXCERPT
        return {"text": self.text[index:stop], "ids": self.ids[index : stop + 1]}


class Streams:
    """The chunks of a text in the order in which n pieces of it are read side by side: sample b * n + k is chunk b of
    piece k.

    Sample: ids (chunk + 1,), the last being the first target of the next chunk's input; first: whether b is 0. All
    pieces are of equal length, so up to n - 1 characters at the text's end are left out.
    """

    def __init__(self, text: Text, n: int, preprocess: dict):
        self.ids, self.n, self.chunk, self.length = text.ids, n, preprocess["chunk"], (len(text) - 1) // n
        if not self.length:
            raise ValueError(f"--batch-size {n}: the text has {len(text)} characters, too few to read {n} pieces of it")

    def __len__(self) -> int:
        return self.n * -(-self.length // self.chunk)

    def __getitem__(self, index: int) -> dict:
        b, k = divmod(index, self.n)
        start, stop = b * self.chunk, min((b + 1) * self.chunk, self.length)
        return {"ids": self.ids[k * self.length + start : k * self.length + stop + 1], "first": b == 0}


def open_text(arguments, split: str, classes=None) -> Text:
    """The first 90 % of a text file, or of all those of a folder, as split "train", the rest as "val"; "all": all."""
    if not arguments.root:
        raise ValueError("--data text needs --root FILE_OR_FOLDER: a text file, or a folder of .txt files")
    text = read_texts(arguments.root)
    middle = int(TRAIN_PART * len(text))
    parts = {"train": slice(0, middle), "val": slice(middle, None), "all": slice(None)}
    if split not in parts:
        raise ValueError(f"--data text has the splits {', '.join(parts)}; there is no {split!r}")
    try:
        return Text(text[parts[split]], classes)
    except ValueError as error:
        raise ValueError(f"{arguments.root}, split {split}: {error}") from error


def open_captions(arguments, split: str, classes=None) -> Text:
    """The captions of generated scenes, one a line."""
    scenes = open_shapes(arguments, split)
    return Text("".join(f"{line}\n" for scene in scenes for line in scene["caption"]), classes)


def language_batch(samples: list[dict], preprocess: dict) -> tuple[np.ndarray, np.ndarray, bool]:
    """x, targets (T, N) and first, for CharRNN.loss; samples of equal length."""
    ids = np.stack([sample["ids"] for sample in samples], axis=1)
    return ids[:-1], ids[1:], samples[0].get("first", True)


def go_on(model: Layer, sample: dict, length: int = 500, temperature: float = 0.8, seed: int = 0) -> str:
    """What the model writes behind the sample's text."""
    return on_its_device(model, model.predict, sample["text"], length, temperature, np.random.default_rng(seed))


def evaluate_language(model: Layer, dataset: Text) -> dict:
    """Nats and bits per character, exp(nats) as perplexity and exp(-nats) as probability, and the speed."""
    started = time.monotonic()
    nats = nats_per_character(model, dataset.ids)
    return {
        "probability": math.exp(-nats),  # the geometric mean of those given to the characters that came
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


LANGUAGE = Task(
    metric="probability",
    data={"text": open_text, "shapes": open_captions},
    splits={"text": ("train", "val"), "shapes": ("train", "val")},
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
