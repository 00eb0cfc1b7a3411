"""Vocabularies: words or characters and their ids."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
PAD, START, END, UNKNOWN = range(len(SPECIAL))
LEVELS = ("word", "char")
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
JOINERS = "\u200c\u200d"  # invisible, inside words of Persian and of Indian scripts


def tokenise(text: str, level: str = "word") -> list[str]:
    """The words of a text in lower case, or its characters as they are; both in NFC, the composed Unicode form.

    A word is a run of letters, digits and the marks on them (accents, vowel signs), of any script, with single
    apostrophes inside (don't, o'clock; a typographic apostrophe counts as a plain one). Everything else, including
    punctuation and hyphens, separates words and is left out. Scripts without spaces between words (Chinese, Japanese,
    Thai) give one word for each run of characters: use level "char" for them.
    """
    text = unicodedata.normalize("NFC", text)
    if level == "char":
        return list(text)
    text = unicodedata.normalize("NFC", text.lower().replace("\u2019", "'"))
    return (WORD if text.isascii() else _word_with_marks()).findall(text)


@cache
def _word_with_marks() -> re.Pattern:
    """WORD with marks: `re` has no class for them. They are below U+20000, except the variation selectors."""
    codes = (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))
    marks = "".join(re.escape(chr(code)) for code in codes if unicodedata.category(chr(code))[0] == "M")
    run = rf"[^\W_](?:[^\W_]|[{marks}{JOINERS}])*"
    return re.compile(rf"{run}(?:'{run})*")


class Vocabulary:
    """Ids of words or characters: 0 .. len - 1, the first four being <pad>, <start>, <end> and <unk>.

    words: all words in the order of their ids, with these four. A checkpoint keeps them as the `classes` of a model of
    text; Vocabulary(model.classes, level) is the same vocabulary. level: "word" or "char", see tokenise. Words that are
    not in the vocabulary become <unk>, at both levels. Raises ValueError for words that do not begin with the four,
    hold one twice, or have more than one character at level "char".
    """

    pad, start, end, unknown = PAD, START, END, UNKNOWN

    def __init__(self, words: Sequence[str], level: str = "word"):
        if level not in LEVELS:
            raise ValueError(f"Vocabulary: level must be 'word' or 'char', got {level!r}")
        words = tuple(words)
        if words[: len(SPECIAL)] != SPECIAL:
            got = ", ".join(map(repr, words[: len(SPECIAL)])) or "none"
            raise ValueError(f"Vocabulary: words must begin with {', '.join(SPECIAL)}, got {got}: see Vocabulary.build")
        own = words[len(SPECIAL) :]
        if wrong := [word for word in own if not isinstance(word, str) or (level == "char" and len(word) != 1)]:
            wanted = "single characters" if level == "char" else "text"
            raise ValueError(f"Vocabulary: words of level {level!r} must be {wanted}, got {wrong[0]!r}")
        self.words, self.level = words, level
        self.ids = {word: i for i, word in enumerate(words)}
        if len(self.ids) != len(words):
            twice = next(word for word, count in Counter(words).items() if count > 1)
            raise ValueError(f"Vocabulary: {twice!r} is there twice")

    @classmethod
    def build(cls, texts: Iterable[str], min_count: int = 1, level: str = "word") -> "Vocabulary":
        """The words that occur at least min_count times in all texts, the most frequent first, ties by alphabet.

        Raises ValueError where there are none.
        """
        if isinstance(texts, str):
            raise ValueError("Vocabulary: texts must be a list of texts, got one text: put it into a list")
        counts = Counter(token for text in texts for token in tokenise(text, level))
        kept = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
        if not kept:
            most = max(counts.values(), default=0)
            raise ValueError(f"Vocabulary: no {level} occurs {min_count} times in the texts (at most {most} times)")
        return cls(SPECIAL + tuple(kept), level)

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str, start: bool = False, end: bool = False) -> np.ndarray:
        """The ids of the words of a text, (N,) int64, with <start> before and <end> after on demand."""
        ids = [self.ids.get(token, UNKNOWN) for token in tokenise(text, self.level)]
        return np.array([START] * start + ids + [END] * end, np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids up to the first <end>; <pad> and <start> are left out, <unk> is shown."""
        ids = [int(i) for i in ids]
        if wrong := [i for i in ids if not 0 <= i < len(self)]:
            raise ValueError(f"Vocabulary: ids must be in 0 .. {len(self) - 1}, got {wrong[0]}")
        ids = ids[: ids.index(END)] if END in ids else ids
        return ("" if self.level == "char" else " ").join(self.words[i] for i in ids if i not in (PAD, START))
