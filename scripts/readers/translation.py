"""Data for translators: pairs of sentences."""

from collections.abc import Iterator

from datasets import Dates, Reversal, read_pairs
from datasets.listing import Listed
from scripts.readers.shapes import SEEDS, SPLITS, open_shapes
from vision.sequence.vocabulary import Vocabulary

TRAIN_PART = 0.9  # of a file of pairs; the rest is for validation


class Sentences:
    """Pairs as data set: samples {"text", "target"}, and classes, the words of their common vocabulary.

    classes: the words of the vocabulary (default: those of these pairs). level: "word" or "char".
    """

    def __init__(self, pairs: list[dict], level: str, classes=None):
        self.pairs, self.level = pairs, level
        texts = (pair[key] for pair in pairs for key in ("text", "target"))
        self.classes = Vocabulary(classes, level).words if classes else Vocabulary.build(texts, level=level).words

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        return self.pairs[index]

    def listing(self) -> Iterator[Listed]:
        """Each source text, and the length of its target."""
        return (Listed(pair["text"], (len(pair["target"]),)) for pair in self.pairs)


def open_generated(kind, arguments, split: str, classes=None) -> Sentences:
    """Generated pairs; each split has its own seed, so most test pairs are not training pairs."""
    if split not in SEEDS:
        raise ValueError(f"--data {kind.__name__.lower()} has the splits {', '.join(SEEDS)}; got {split!r}")
    if arguments.root:
        raise ValueError(f"--root does not go with --data {kind.__name__.lower()}, which is generated; give --data tsv")
    n = arguments.shapes_train if split == "train" else arguments.shapes_val
    pairs = kind(n, SEEDS[split])
    return Sentences([pairs[i] for i in range(n)], kind.level, classes)


def open_dates(arguments, split: str, classes=None) -> Sentences:
    """Days in many forms, and as year-month-day, by characters."""
    return open_generated(Dates, arguments, split, classes)


def open_reversal(arguments, split: str, classes=None) -> Sentences:
    """Words, and the same words in reverse order."""
    return open_generated(Reversal, arguments, split, classes)


def open_captions(arguments, split: str, classes=None) -> Sentences:
    """Captions of generated scenes: source names every object, target counts each kind."""
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


READERS = {
    "dates": (open_dates, SPLITS),
    "reversal": (open_reversal, SPLITS),
    "shapes": (open_captions, SPLITS),
    "tsv": (open_tsv, SPLITS),
}
