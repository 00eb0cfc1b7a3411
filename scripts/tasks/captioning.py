"""Captioning, as the scripts see it."""

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from datasets import Shapes, detection_batch, resize
from datasets.captions import CaptionedImages, COCOCaptions, Flickr8kCaptions, ListedCaptions
from datasets.shapes_language import (
    ARTICLES,
    COLOURS,
    NOUNS,
    NUMBERS,
    Phrase,
    is_true,
    names_main_objects,
    objects_called,
)
from nn.layer import Layer
from nn.layers.adaptive_pool import mean_matrix
from scripts.tasks.task import Task, on_its_device, open_shapes, shown, watched
from vision.captioning.draw import draw_attention, draw_caption
from vision.captioning.metrics import caption_scores
from vision.sequence import Vocabulary, tokenise

TOGETHER = 50  # images in one forward pass of an evaluation
MOST_OBJECTS = 3  # in a generated scene
MIN_COUNT = 5  # of a word in the captions of photographs, to be in the vocabulary: as in the code of neuraltalk
WORDS = (*NUMBERS, *ARTICLES, *COLOURS, *NOUNS, *"and in the half left right of above below".split())


class CaptionedPhotographs:
    """Photographs with captions, and as classes the words of a vocabulary (default: those that occur often enough)."""

    def __init__(self, images: CaptionedImages, classes: Sequence[str] | None = None):
        self.images, texts = images, (caption for captions in images.captions for caption in captions)
        self.problems = images.problems
        self.classes = (Vocabulary(classes) if classes else Vocabulary.build(texts, MIN_COUNT)).words

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return self.images[index]


class CaptionedShapes:
    """Generated scenes of one to three objects, each with two captions: all objects by colour, and where they are.

    classes: the words of a vocabulary (default: all that such captions are made of).
    """

    def __init__(self, shapes: Shapes, classes: Sequence[str] | None = None):
        self.shapes = shapes
        self.classes = Vocabulary(classes).words if classes else Vocabulary.build(WORDS).words

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> dict:
        sample = self.shapes[index]
        return sample | {"caption": sample["caption"][1:]}  # the first one only counts


def open_captioned_shapes(arguments, split: str, classes=None) -> CaptionedShapes:
    """Generated scenes with captions."""
    shapes = open_shapes(arguments, split)
    return CaptionedShapes(Shapes(len(shapes), shapes.size, shapes.seed, max_objects=MOST_OBJECTS), classes)


def open_listed_captions(arguments, split: str, classes=None) -> CaptionedPhotographs:
    """--root with captions.json, which names the split of each image, and the folder images."""
    return CaptionedPhotographs(ListedCaptions(_root(arguments), split), classes)


def open_coco_captions(arguments, split: str, classes=None) -> CaptionedPhotographs:
    """--root as COCO has it: annotations/captions_train2017.json and the folder train2017 for the split train2017."""
    root = _root(arguments)
    return CaptionedPhotographs(COCOCaptions(root / f"annotations/captions_{split}.json", root / split), classes)


def open_flickr8k(arguments, split: str, classes=None) -> CaptionedPhotographs:
    """--root as Flickr8k has it: Flickr8k.token.txt, Flickr_8k.trainImages.txt and so on, and the images."""
    root = _root(arguments)
    names = root / f"Flickr_8k.{split}Images.txt"
    return CaptionedPhotographs(
        Flickr8kCaptions(root / "Flickr8k.token.txt", root / "Flicker8k_Dataset", names), classes
    )


def _root(arguments):
    if not arguments.root:
        raise ValueError(f"--data {arguments.data} needs --root DIR: the folder that holds its captions and images")
    return Path(arguments.root)


def caption_batch(samples: list[dict], preprocess: dict) -> tuple[np.ndarray, list[list[str]]]:
    """(images (N, 3, H, W) float32, or the features that the model makes of them; the captions of each image)."""
    if preprocess["square"]:
        samples = [sample | {"image": _squeezed(sample["image"], preprocess["short_side"])} for sample in samples]
    images, _ = detection_batch(samples, preprocess["mean"], preprocess["std"])
    features = preprocess["features"]
    return features(images) if features else images, [list(sample.get("caption", ())) for sample in samples]


def _squeezed(image, side):
    """The whole image in a square."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def describe_images(model: Layer, samples: Sequence[dict], beam_size: int = 1) -> list[dict]:
    """The prediction for each sample; images of one size are seen together."""
    preprocess = model.preprocess
    sizes = {"short_side": preprocess["short_side"], "max_side": preprocess["max_side"]}
    resized = [resize(sample, **sizes) for sample in samples]
    one_size = preprocess["square"] or len({sample["image"].shape for sample in resized}) == 1
    batches = [resized] if one_size else [[sample] for sample in resized]
    images = [caption_batch(batch, preprocess)[0] for batch in batches]
    return [found for batch in images for found in on_its_device(model, model.predict, batch, beam_size)]


def predict_caption(model: Layer, sample: dict, beam_size: int = 1) -> dict:
    """caption, the ids of its words, and attention (T, h, w) where the model has one."""
    if not isinstance(beam_size, int) or beam_size < 1:
        raise ValueError(f"beam_size must be a whole number >= 1, got {beam_size!r}")
    return describe_images(model, [sample], beam_size)[0]


def evaluate_captioner(model: Layer, dataset) -> dict:
    """BLEU, ROUGE-L and CIDEr-D of captions said freely, and the speed, reading included.

    On generated scenes also the share of captions that are `true`, and `true_and_main`: true, and naming the two
    largest objects; and of models with attention, how much of it was on the named object while its words were said,
    `attention`, and how much would be by chance: the object's share of the image.
    """
    started, samples = time.monotonic(), iter(watched(dataset, "evaluating"))
    said, references, truth, attention = [], [], [], []
    while batch := list(islice(samples, TOGETHER)):
        for sample, found in zip(batch, describe_images(model, batch)):
            said.append(tokenise(found["caption"]))
            references.append([tokenise(caption) for caption in sample["caption"]])
            if "kinds" in sample:
                true = is_true(found["caption"], sample)
                truth.append((true, true and names_main_objects(found["caption"], sample)))
                attention += attention_on_objects(found, [model.vocabulary.words[i] for i in found["ids"]], sample)
    seconds = time.monotonic() - started
    true, main = np.mean(truth, axis=0).tolist() if truth else (None, None)
    on_object, by_chance = np.mean(attention, axis=0).tolist() if attention else (None, None)
    return caption_scores(said, references) | {
        "true": true, "true_and_main": main, "attention": on_object, "attention_by_chance": by_chance,
        "images": len(dataset), "images_per_second": round(len(dataset) / seconds, 2),
    }  # fmt: skip


def attention_on_objects(found: dict, words: Sequence[str], sample: dict) -> list[tuple[float, float]]:
    """(attention on the named object, its share of the image) for each colour and kind that is said and there.

    The object of a word is that of its phrase: of "red" and "circle" in "a red circle", all red circles.
    """
    if "attention" not in found:
        return []
    pairs = []
    for t, word in enumerate(words):
        before, after = words[t - 1] if t else "", words[t + 1] if t + 1 < len(words) else ""
        colour, noun = (before, word) if word in NOUNS else (word, after)
        if noun not in NOUNS or (word not in NOUNS and word not in COLOURS):
            continue
        called = objects_called(Phrase(1, colour if colour in COLOURS else None, NOUNS[noun]), sample)
        if called.any():
            mask = sample["masks"][called].any(axis=0).astype(np.float32)
            rows, columns = (mean_matrix(*sizes) for sizes in zip(mask.shape, found["attention"].shape[1:]))
            pairs.append((float((found["attention"][t] * (rows @ mask @ columns.T)).sum()), float(mask.mean())))
    return pairs


def caption_table(metrics: dict) -> str:
    """The metrics of evaluate_captioner, one a line."""
    names = [name for name in metrics if name not in ("images", "images_per_second") and metrics[name] is not None]
    rows = [f"{name:20}  {shown(metrics[name]):>6}" for name in names]
    return "\n".join([*rows, f"{metrics['images']} images, {metrics['images_per_second']:.1f} images/s"])


def describe_caption(prediction: dict, classes) -> list[dict]:
    """[{caption}]."""
    return [{"caption": prediction["caption"]}]


def draw_captioned(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The caption below the image or, with attention, where was looked for each word; below it the true captions."""
    references = [] if sample is None else sample["caption"]
    if "attention" not in prediction:
        return draw_caption(image, prediction["caption"], references)
    return draw_attention(image, [classes[i] for i in prediction["ids"]], prediction["attention"], references)


CAPTIONING = Task(
    metric="CIDEr-D",
    data={
        "shapes": open_captioned_shapes,
        "listed_captions": open_listed_captions,
        "coco_captions": open_coco_captions,
        "flickr8k": open_flickr8k,
    },
    splits={
        "shapes": ("train", "val"),
        "listed_captions": ("train", "val"),
        "coco_captions": ("train2017", "val2017"),
        "flickr8k": ("train", "dev"),
    },
    collate=caption_batch,
    predict=predict_caption,
    evaluate=evaluate_captioner,
    table=caption_table,
    describe=describe_caption,
    select=lambda prediction, threshold: prediction,
    draw=draw_captioned,
    closed=False,
    options={"beam_size": 1},
)
