"""Captioning as a task: batches, BLEU, ROUGE-L and CIDEr-D, tables, JSON, pictures."""

import time

import numpy as np

from vision.captioning.captioner import Captioner
from vision.captioning.draw import draw_attention, draw_caption
from vision.captioning.metrics import caption_scores
from vision.sequence import tokenise
from vision.task import TASKS, Task, images_and_speed, predicted, shown

TOGETHER = 50  # images in one forward pass of an evaluation


def caption_batch(model: Captioner, samples: list[dict]) -> tuple[np.ndarray, list[list[str]]]:
    """(images (N, 3, H, W) float32, or features of a frozen encoder; the captions of each image)."""
    images = model.preprocess.batch_of(samples)
    seen = model.features(images) if model.features else images
    return seen, [list(sample.get("caption", ())) for sample in samples]


def predict_caption(model: Captioner, sample: dict) -> dict:
    """caption, the ids of its words, and attention (T, h, w) where the model has one."""
    return model.caption(sample["image"])


def evaluate_captioner(model: Captioner, dataset, failed: list[str] | None = None) -> dict:
    """BLEU, ROUGE-L and CIDEr-D of generated captions, and the speed with reading.

    A data set may have judge(sample, found, words) -> {figure: values}; the means of these are added.
    """
    started, said, references, figures = time.monotonic(), [], [], {}

    def captions(samples):
        return model.captions([sample["image"] for sample in samples])

    for sample, found in predicted(dataset, captions, together=TOGETHER, failed=failed):
        said.append(tokenise(found["caption"]))
        references.append([tokenise(caption) for caption in sample["caption"]])
        if hasattr(dataset, "judge"):
            words = [model.vocabulary.words[i] for i in found["ids"]]
            for name, values in dataset.judge(sample, found, words).items():
                figures.setdefault(name, []).extend(values)
    means = {name: float(np.mean(values)) if values else None for name, values in figures.items()}
    speed = round(len(said) / (time.monotonic() - started), 2)
    return caption_scores(said, references) | means | {"images": len(said), "images_per_second": speed}


def caption_table(metrics: dict) -> str:
    """The metrics of evaluate_captioner, one per line."""
    names = [name for name in metrics if name not in ("images", "images_per_second") and metrics[name] is not None]
    rows = [f"{name:20}  {shown(metrics[name]):>6}" for name in names]
    return "\n".join([*rows, images_and_speed(metrics)])


def describe_caption(prediction: dict, classes) -> list[dict]:
    """[{caption}]."""
    return [{"caption": prediction["caption"]}]


def draw_captioned(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image with the caption or, with attention, a map for each word; below it the true captions."""
    references = [] if sample is None else sample["caption"]
    if "attention" not in prediction:
        return draw_caption(image, prediction["caption"], references)
    return draw_attention(image, [classes[i] for i in prediction["ids"]], prediction["attention"], references)


TASKS["captioning"] = Task(
    metric="CIDEr-D",
    collate=caption_batch,
    predict=predict_caption,
    evaluate=evaluate_captioner,
    table=caption_table,
    describe=describe_caption,
    select=lambda prediction, threshold: prediction,
    draw=draw_captioned,
    closed=False,
)
