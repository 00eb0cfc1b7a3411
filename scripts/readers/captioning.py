"""Data for captioners: samples with a list of captions."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from datasets import CaptionedShards, Shapes
from datasets.captions import CaptionedImages, COCOCaptions, Flickr8kCaptions, ListedCaptions, in_folder
from datasets.listing import Listed
from datasets.shapes_language import (
    ARTICLES,
    COLOURS,
    NOUNS,
    NUMBERS,
    Phrase,
    names_main_objects,
    objects_called,
    true_claims,
)
from nn.layers.adaptive_pool import mean_matrix
from scripts.readers.shapes import SPLITS, open_shapes
from vision.sequence import Vocabulary

MOST_OBJECTS = 3  # in a generated scene
MIN_COUNT = 5  # of a word in the captions of photographs, to be in the vocabulary: as in the code of neuraltalk
FEW = 500  # captions, of which MIN_COUNT would leave hardly a word
ERRORS = ("unreadable", "kind", "colour", "count", "relation", "half")  # types of claims, see true_claims
WORDS = (*NUMBERS, *ARTICLES, *COLOURS, *NOUNS, *"and in the half left right of above below".split())


class CaptionedPhotographs:
    """Photographs with captions; classes: the words of a vocabulary (default: those that occur often enough)."""

    def __init__(self, images: CaptionedImages, classes: Sequence[str] | None = None):
        if hasattr(images, "shuffled"):
            self.shuffled = images.shuffled
        self.images, texts = images, [caption for captions in images.captions for caption in captions]
        few = not classes and len(texts) < FEW
        note = f"{images.source}: {len(texts)} captions are few: words that occur once are kept, too"
        self.problems = images.problems + ([note] if few else [])
        self.classes = (Vocabulary(classes) if classes else Vocabulary.build(texts, 1 if few else MIN_COUNT)).words

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return self.images[index]

    def listing(self) -> Iterator[Listed]:
        """Those of the photographs."""
        return self.images.listing()


class CaptionedShapes:
    """Generated scenes of one to three objects, each with two captions: all objects by colour, and where they are.

    classes: the words of a vocabulary (default: all words of such captions).
    """

    def __init__(self, shapes: Shapes, classes: Sequence[str] | None = None):
        self.shapes = shapes
        self.classes = Vocabulary(classes).words if classes else Vocabulary.build(WORDS).words

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> dict:
        sample = self.shapes[index]
        return sample | {"caption": sample["caption"][1:]}  # the first one only counts

    def listing(self) -> Iterator[Listed]:
        """Those of the scenes."""
        return self.shapes.listing()

    @staticmethod
    def judge(sample: dict, found: dict, words: Sequence[str]) -> dict[str, list[float]]:
        """Figures of a caption with these words; evaluate_captioner shows their means over all captions.

        true: whether everything it says is in the scene; true_and_main: and it names the two largest objects;
        wrong_kind and so on: whether this is the first of ERRORS in it, since a wrong kind makes the rest wrong, too;
        attention: the attention on an object at its words; attention_by_chance: the object's share of the image.
        """
        wrong = {claim.type for claim, true in true_claims(found["caption"], sample) if not true}
        figures = {"true": [not wrong]}
        figures["true_and_main"] = [not wrong and names_main_objects(found["caption"], sample)]
        first = next((error for error in ERRORS if error in wrong), None)
        figures |= {f"wrong_{error}": [error == first] for error in ERRORS}
        on_object = attention_on_objects(found, words, sample)
        return figures | {"attention": [a for a, _ in on_object], "attention_by_chance": [b for _, b in on_object]}


def open_captioned_shapes(arguments, split: str, classes=None) -> CaptionedShapes:
    """Generated scenes with captions."""
    shapes = open_shapes(arguments, split)
    return CaptionedShapes(Shapes(len(shapes), shapes.size, shapes.seed, max_objects=MOST_OBJECTS), classes)


def open_listed_captions(arguments, split: str, classes=None) -> CaptionedPhotographs:
    """--root with captions.json, which names the split of each image, and the folder images."""
    return CaptionedPhotographs(ListedCaptions(_root(arguments), split), classes)


def open_shards(arguments, split: str, classes=None) -> CaptionedPhotographs:
    """Photographs and captions in tar files: root/train-000000.tar and so on, or root/train/*.tar."""
    return CaptionedPhotographs(CaptionedShards(_root(arguments), split), classes)


def open_coco_captions(arguments, split: str, classes=None) -> CaptionedPhotographs:
    """--root in COCO's layout: annotations/captions_train2017.json and the folder train2017 for the split train2017."""
    root = _root(arguments)
    annotations = in_folder(root, f"annotations/captions_{split}.json", split)
    return CaptionedPhotographs(COCOCaptions(annotations, root / split), classes)


def open_flickr8k(arguments, split: str, classes=None) -> CaptionedPhotographs:
    """--root in Flickr8k's layout: Flickr8k.token.txt, Flickr_8k.trainImages.txt and so on, and the images."""
    root = _root(arguments)
    names = root / f"Flickr_8k.{split}Images.txt"
    return CaptionedPhotographs(
        Flickr8kCaptions(root / "Flickr8k.token.txt", root / "Flicker8k_Dataset", names), classes
    )


def _root(arguments):
    if not arguments.root:
        raise ValueError(f"--data {arguments.data} needs --root DIR: the folder that holds its captions and images")
    return Path(arguments.root)


def attention_on_objects(found: dict, words: Sequence[str], sample: dict) -> list[tuple[float, float]]:
    """(attention on the object, its share of the image) for each colour and kind in the caption and the scene.

    The objects of a word are those of its phrase: of "red" and "circle" in "a red circle", all red circles.
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


READERS = {
    "shapes": (open_captioned_shapes, SPLITS),
    "listed_captions": (open_listed_captions, ("train", "val")),
    "shards": (open_shards, ("train", "val")),
    "coco_captions": (open_coco_captions, ("train2017", "val2017")),
    "flickr8k": (open_flickr8k, ("train", "dev")),
}
