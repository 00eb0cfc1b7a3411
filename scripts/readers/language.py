"""Data for language models: one long text."""

import zlib
from collections.abc import Iterator

from datasets import read_texts
from datasets.listing import Listed
from scripts.readers.shapes import SPLITS, open_shapes
from vision.sequence.vocabulary import Vocabulary

EXCERPT = 100  # characters of a sample
TRAIN_PART = 0.9  # of a text; the rest is for validation


class Text:
    """A text as data set: sample i has text, EXCERPT characters from character i, and ids (<= 101,) with the next one.

    classes: the words of a Vocabulary of characters (default: those of the text).
    """

    def __init__(self, text: str, classes=None):
        if len(text) < 2:
            raise ValueError(f"a text must have at least 2 characters to predict the next one, got {text!r}")
        vocabulary = Vocabulary(classes, "char") if classes else Vocabulary.build([text], level="char")
        self.text, self.ids, self.classes = text, vocabulary.encode(text), vocabulary.words
        self.unknown = int((self.ids == vocabulary.unknown).sum())
        self.problems = [f"{self.unknown} characters are unknown to the model"] if self.unknown else []

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, index: int) -> dict:
        stop = index + EXCERPT
        return {"text": self.text[index:stop], "ids": self.ids[index : stop + 1]}

    def listing(self) -> Iterator[Listed]:
        """One entry: a checksum of the whole text, and its length."""
        return iter([Listed(f"{zlib.crc32(self.text.encode()):08x}", (len(self.text),))])


def open_text(arguments, split: str, classes=None) -> Text:
    """The first 90 % of a text file, or of all files of a folder, as split "train", the rest as "val"; "all": all."""
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
    """The captions of generated scenes, one per line."""
    scenes = open_shapes(arguments, split)
    return Text("".join(f"{line}\n" for scene in scenes for line in scene["caption"]), classes)


READERS = {"text": (open_text, ("train", "val")), "shapes": (open_captions, SPLITS)}
