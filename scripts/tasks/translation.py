"""Translation, as the scripts see it: a sentence made from a sentence."""

import time
from itertools import islice

import numpy as np
from scripts.tasks.task import SHAPES_SEEDS, Task, on_its_device, open_shapes, shown, watched

from datasets import Dates, Reversal, read_pairs
from nn.layer import Layer
from vision.detection.draw import grid
from vision.sequence.draw import draw_attention
from vision.sequence.padding import pad_batch
from vision.sequence.vocabulary import Vocabulary, tokenise

TOGETHER = 100  # sentences translated at once in an evaluation
TRAIN_PART = 0.9  # of a file of pairs; the rest is for validation


class Sentences:
    """Pairs as data set: samples {"text", "target"}, and classes, the words of their common vocabulary.

    classes: the words known (default: those of these pairs). level: "word" or "char".
    """

    def __init__(self, pairs: list[dict], level: str, classes=None):
        self.pairs, self.level = pairs, level
        texts = (pair[key] for pair in pairs for key in ("text", "target"))
        self.classes = Vocabulary(classes, level).words if classes else Vocabulary.build(texts, level=level).words

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        return self.pairs[index]


def open_generated(kind, arguments, split: str, classes=None) -> Sentences:
    """Generated pairs; each split has a seed of its own, so most of what is tested on has not been trained on."""
    if split not in SHAPES_SEEDS:
        raise ValueError(f"--data {kind.__name__.lower()} has the splits {', '.join(SHAPES_SEEDS)}; got {split!r}")
    if arguments.root:
        raise ValueError(f"--root does not go with --data {kind.__name__.lower()}, which is generated; give --data tsv")
    n = arguments.shapes_train if split == "train" else arguments.shapes_val
    pairs = kind(n, SHAPES_SEEDS[split])
    return Sentences([pairs[i] for i in range(n)], kind.level, classes)


def open_dates(arguments, split: str, classes=None) -> Sentences:
    """Days in many forms, and as year-month-day, by the character."""
    return open_generated(Dates, arguments, split, classes)


def open_reversal(arguments, split: str, classes=None) -> Sentences:
    """Words, and the same from the last to the first."""
    return open_generated(Reversal, arguments, split, classes)


def open_captions(arguments, split: str, classes=None) -> Sentences:
    """Captions of generated scenes: from the one that names every object to the one that counts each kind."""
    scenes = open_shapes(arguments, split)
    captions = (scene["caption"] for scene in scenes)
    return Sentences([{"text": each, "target": count} for count, each, _ in captions], "word", classes)


def open_tsv(arguments, split: str, classes=None) -> Sentences:
    """The first 90 % of the lines of a file, "source<TAB>target", as split "train", the rest as "val"; "all": all."""
    if not arguments.root:
        raise ValueError("--data tsv needs --root FILE: lines of a source, a tab and a target")
    pairs = read_pairs(arguments.root)
    middle = int(TRAIN_PART * len(pairs))
    parts = {"train": pairs[:middle], "val": pairs[middle:], "all": pairs}
    if split not in parts:
        raise ValueError(f"--data tsv has the splits {', '.join(parts)}; there is no {split!r}")
    if not parts[split]:
        raise ValueError(f"{arguments.root}: {len(pairs)} pairs are too few for a split {split!r}")
    return Sentences(parts[split], "word", classes)


def translation_batch(samples: list[dict], preprocess: dict) -> tuple[np.ndarray, ...]:
    """source (S, N), source_lengths, target (T, N) from <start> to <end>, target_lengths, for Seq2Seq.loss."""
    vocabulary = preprocess["vocabulary"]
    source = pad_batch([vocabulary.encode(sample["text"]) for sample in samples])
    return *source, *pad_batch([vocabulary.encode(sample["target"], start=True, end=True) for sample in samples])


def translate_lines(model: Layer, sample: dict, beam: int = 5, length_penalty: float = 0.0) -> list[dict]:
    """Of each line of the sample's text that is not empty: source, text and log_probability; read, said: what weights
    belongs to, the attention (T, S), None where the model has none."""
    level, found = model.vocabulary.level, []
    for line in filter(str.strip, sample["text"].splitlines()):
        best = on_its_device(model, model.translate, line, beam, length_penalty)
        words = {"read": tokenise(line, level), "said": [*tokenise(best["text"], level), "<end>"]}
        found.append({"source": line, **best, **words})
    return found


def evaluate_translation(model: Layer, dataset: Sentences) -> dict:
    """The parts of the sentences, and of their words at their places, that greedy search gets right; and the speed."""
    started, samples = time.monotonic(), iter(watched(dataset, "evaluating", "sentences"))
    exact, right, words = 0, 0, 0
    while batch := list(islice(samples, TOGETHER)):
        source, source_lengths, target, lengths = translation_batch(batch, model.preprocess)
        wanted = target[1:]
        said = on_its_device(model, model.predict, source, source_lengths, len(wanted))
        real = np.arange(len(wanted))[:, None] < lengths - 1
        same = (said == wanted) & (wanted != model.vocabulary.unknown)
        exact += int((same | ~real).all(axis=0).sum())
        right, words = right + int((same & real).sum()), words + int(real.sum())
    speed = round(len(dataset) / (time.monotonic() - started), 1)
    metrics = {"exact": exact / len(dataset), "words": right / words, "sentences": len(dataset)}
    return metrics | {"sentences_per_second": speed}


def translation_table(metrics: dict) -> str:
    """The metrics of evaluate_translation in one line."""
    size = f"{metrics['sentences']} sentences, {metrics['sentences_per_second']} sentences/s"
    return f"right: {shown(metrics['exact'])} of the sentences, {shown(metrics['words'])} of their words; {size}"


def describe_translations(prediction: list[dict], classes) -> list[dict]:
    """[{source, text, log_probability}], a line each."""
    return [{key: line[key] for key in ("source", "text", "log_probability")} for line in prediction]


def draw_translations(text: str, prediction: list[dict], classes, sample: dict | None = None) -> np.ndarray | str:
    """The attention of every line as a picture; without attention, and where there is no line: a text."""
    if prediction and all(line["weights"] is not None for line in prediction):
        pictures = [draw_attention(line["weights"], line["read"], line["said"]) for line in prediction]
        return pictures[0] if len(pictures) == 1 else grid(pictures)
    lines = [f"{line['source']}\n  {line['text']}" for line in prediction]
    return "\n".join(lines if sample is None else [*lines, f"  is: {sample['target']}"])


TRANSLATION = Task(
    metric="exact",
    data={
        "dates": open_dates,
        "reversal": open_reversal,
        "shapes": open_captions,
        "tsv": open_tsv,
    },
    splits=dict.fromkeys(("dates", "reversal", "shapes", "tsv"), ("train", "val")),
    collate=translation_batch,
    predict=translate_lines,
    evaluate=evaluate_translation,
    table=translation_table,
    describe=describe_translations,
    select=lambda prediction, threshold: prediction,
    draw=draw_translations,
    input="text",
    unit="sentences",
    closed=False,
    options={"beam": 5, "length_penalty": 0.0},
)
