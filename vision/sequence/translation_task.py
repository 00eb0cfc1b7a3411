"""Translation as a task: a sentence from a sentence."""

import time

import numpy as np

from vision.detection.draw import grid
from vision.sequence.draw import draw_attention
from vision.sequence.padding import pad_batch
from vision.sequence.seq2seq import Seq2Seq
from vision.sequence.vocabulary import tokenise
from vision.task import TASKS, Task, on_its_device, predicted, shown

TOGETHER = 100  # sentences translated at once in an evaluation


def translation_batch(model: Seq2Seq, samples: list[dict]) -> tuple[np.ndarray, ...]:
    """source (S, N), source_lengths, target (T, N) from <start> to <end>, target_lengths, for Seq2Seq.loss."""
    vocabulary = model.vocabulary
    source = pad_batch([vocabulary.encode(sample["text"]) for sample in samples])
    return *source, *pad_batch([vocabulary.encode(sample["target"], start=True, end=True) for sample in samples])


def translate_lines(model: Seq2Seq, sample: dict, beam: int = 5, length_penalty: float = 0.0) -> list[dict]:
    """For each line of the sample's text that is not empty: source, text, log_probability, and weights, the attention
    (T, S) between the words `said` and `read`; None where the model has no attention."""
    level, found = model.vocabulary.level, []
    for line in filter(str.strip, sample["text"].split("\n")):
        best = on_its_device(model, model.translate, line, beam, length_penalty)
        words = {"read": tokenise(line, level), "said": [*tokenise(best["text"], level), "<end>"]}
        found.append({"source": line, **best, **words})
    return found


def evaluate_translation(model: Seq2Seq, dataset, failed: list[str] | None = None) -> dict:
    """The fractions of sentences, and of words at their positions, that greedy search gets right, and the speed."""
    started, exact, right, words, sentences = time.monotonic(), 0, 0, 0, 0

    def compare(samples):
        """(words that are right, words) of each sentence."""
        source, source_lengths, target, lengths = translation_batch(model, samples)
        wanted = target[1:]
        said = on_its_device(model, model.predict, source, source_lengths, len(wanted))
        real = np.arange(len(wanted))[:, None] < lengths - 1
        same = (said == wanted) & (wanted != model.vocabulary.unknown)
        return list(zip((same & real).sum(axis=0).tolist(), real.sum(axis=0).tolist()))

    for _, (same, real) in predicted(dataset, compare, "sentences", TOGETHER, failed):
        exact, right, words, sentences = exact + (same == real), right + same, words + real, sentences + 1
    speed = round(sentences / (time.monotonic() - started), 1)
    metrics = {"exact": exact / sentences, "words": right / words, "sentences": sentences}
    return metrics | {"sentences_per_second": speed}


def translation_table(metrics: dict) -> str:
    """The metrics of evaluate_translation in one line."""
    size = f"{metrics['sentences']} sentences, {metrics['sentences_per_second']} sentences/s"
    return f"right: {shown(metrics['exact'])} of the sentences, {shown(metrics['words'])} of their words; {size}"


def describe_translations(prediction: list[dict], classes) -> list[dict]:
    """[{source, text, log_probability}], one per line."""
    return [{key: line[key] for key in ("source", "text", "log_probability")} for line in prediction]


def draw_translations(text: str, prediction: list[dict], classes, sample: dict | None = None) -> np.ndarray | str:
    """The attention of every line as a picture; a text where there is no attention or no line."""
    if prediction and all(line["weights"] is not None for line in prediction):
        pictures = [draw_attention(line["weights"], line["read"], line["said"]) for line in prediction]
        return pictures[0] if len(pictures) == 1 else grid(pictures)
    lines = [f"{line['source']}\n  {line['text']}" for line in prediction]
    return "\n".join(lines if sample is None else [*lines, f"  is: {sample['target']}"])


TASKS["translation"] = Task(
    metric="exact",
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
