"""What a caption of a `Shapes` scene says, and whether it is true.

Understood are the sentences that `Shapes` writes, and all others made of their words in the same way:

    caption    mentions, one behind the other, with commas or "and" between, or without
    mention    phrase, or: phrase relation phrase, or: phrase "in the left half", phrase "in the right half"
    phrase     number, colour if any, kind: "two red circles", "a star"
    relation   "left of", "right of", "above", "below"

Singular and plural, capitals and punctuation make no difference.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .shapes import NUMBERS
from .shapes_paint import COLOURS, KINDS

RELATIONS = ("left of", "right of", "above", "below")
ARTICLES = ("a", "another")
NOUNS = {kind: kind for kind in KINDS} | {kind + ("es" if kind.endswith("s") else "s"): kind for kind in KINDS}


class Phrase(NamedTuple):
    """ "two red circles": (2, "red", "circle"); colour None: any. `counted` is False for "a" and "another"."""

    number: int
    colour: str | None
    kind: str
    counted: bool = True


class Mention(NamedTuple):
    """A phrase and where its objects are: a relation to the phrase `other`, "left" or "right" half, or None."""

    phrase: Phrase
    place: str | None = None
    other: Phrase | None = None


class Claim(NamedTuple):
    """One thing that a caption says: type "kind", "colour", "count", "relation", "half" or "unreadable"."""

    type: str
    text: str


def _phrase(suffix: str = "") -> str:
    parts = {"number": [*NUMBERS, r"\d+", *ARTICLES], "colour": COLOURS, "noun": NOUNS}
    number, colour, noun = (f"(?P<{name}{suffix}>{'|'.join(words)})" for name, words in parts.items())
    return f"{number} (?:{colour} )?{noun}"


PLACE = rf" in the (?P<half>left|right) half| (?P<relation>{'|'.join(RELATIONS)}) {_phrase('2')}"
MENTION = re.compile(rf"{_phrase()}(?:{PLACE})?(?: and)?(?: |$)")


def read_caption(caption: str) -> tuple[list[Mention], str]:
    """The mentions of a caption, in order, and the rest of it that makes no sense ("" if all does)."""
    text, mentions, at = " ".join(re.findall(r"\w+", caption.lower())), [], 0
    while match := MENTION.match(text, at):
        other = _read_phrase(match, "2") if match["relation"] else None
        mentions.append(Mention(_read_phrase(match), match["half"] or match["relation"], other))
        at = match.end()
    rest = text[at:] if mentions else text or "(no words)"
    return mentions, "and" if not rest and re.search(r"\band$", text) else rest


def _read_phrase(match: re.Match, suffix: str = "") -> Phrase:
    number, colour, noun = (match[name + suffix] for name in ("number", "colour", "noun"))
    count = 1 if number in ARTICLES else NUMBERS.index(number) if number in NUMBERS else int(number)
    return Phrase(count, colour, NOUNS[noun], number not in ARTICLES)


def true_claims(caption: str, sample: dict) -> list[tuple[Claim, bool]]:
    """What the caption says of the scene, claim by claim, each with its truth.

    Every kind and colour that is named (unless as "no ...") must be there. Numbers are exact, and phrases that are the
    same add up; so is "a" in a caption that only lists things, while beside a relation or a half it means at least
    one. A relation holds if it does for any two objects so called: "left of" if the centre of the visible box is
    farther to the left than it is up or down, "above" if it is farther up than to a side; a half of the image, if the
    centre is in it. Words that make no sense are a claim of type "unreadable", which is false.

    sample: one of `Shapes`, before or after resize, flips or colour_jitter: its kinds, colours, boxes, image are read.
    """
    mentions, rest = read_caption(caption)
    placed = any(mention.place for mention in mentions)
    phrases = [phrase for mention in mentions for phrase in (mention.phrase, mention.other) if phrase]
    claims = [claim for phrase in phrases if phrase.number for claim in _kind_and_colour(phrase, sample)]
    for colour, kind in dict.fromkeys((phrase.colour, phrase.kind) for phrase in phrases):
        same = [phrase for phrase in phrases if (phrase.colour, phrase.kind) == (colour, kind)]
        claims.append(_count(same, sample, exact=not placed or all(phrase.counted for phrase in same)))
    claims += [_place(mention, sample) for mention in mentions if mention.place]
    return claims + ([(Claim("unreadable", rest), False)] if rest else [])


def is_true(caption: str, sample: dict) -> bool:
    """Whether all that the caption says of the scene is true, and it says something."""
    return all(true for _, true in true_claims(caption, sample))


def names_main_objects(caption: str, sample: dict, most: int = 2) -> bool:
    """Whether the caption names the `most` objects with the largest visible area (all, where there are fewer).

    A phrase names as many objects as its number says, of its kind, and of its colour if it gives one.
    """
    main = np.argsort(-sample["masks"].sum(axis=(1, 2)), kind="stable")[:most]
    mentions, _ = read_caption(caption)
    phrases = [phrase for mention in mentions for phrase in (mention.phrase, mention.other) if phrase]
    phrases = [p._replace(number=1) for p in sorted(phrases, key=lambda p: p.colour is None) for _ in range(p.number)]
    for kind, colour in zip(sample["kinds"][main], sample["colours"][main]):
        fitting = [p for p in phrases if p.kind == kind and p.colour in (None, colour)]
        if not fitting:
            return False
        phrases.remove(fitting[0])  # the one with the colour, if any
    return True


def objects_called(phrase: Phrase, sample: dict) -> np.ndarray:
    """(K,) bool: the objects of the phrase's kind, and of its colour if it gives one."""
    called = sample["kinds"] == phrase.kind
    return called if phrase.colour is None else called & (sample["colours"] == phrase.colour)


def holds(relation: str, boxes: np.ndarray, others: np.ndarray, margin: float = 1.0) -> np.ndarray:
    """(A, B) bool: whether the relation holds from each of boxes (A, 4) to each of others (B, 4), by their centres.

    "left of": the first centre is to the left of the second, at least `margin` times as far as it is up or down.
    """
    (ax, ay), (bx, by) = ((b[:, :2] + b[:, 2:]).T / 2 for b in (boxes, others))
    right, down = bx - ax[:, None], by - ay[:, None]  # from the first to the second
    ahead = {"left of": right, "right of": -right, "above": down, "below": -down}[relation]
    aside = down if relation in ("left of", "right of") else right
    return (ahead > 0) & (ahead >= margin * abs(aside))


def _kind_and_colour(phrase: Phrase, sample: dict) -> list[tuple[Claim, bool]]:
    claims = [(Claim("kind", phrase.kind), bool((sample["kinds"] == phrase.kind).any()))]
    if phrase.colour:
        claims.append((Claim("colour", f"{phrase.colour} {phrase.kind}"), bool(objects_called(phrase, sample).any())))
    return claims


def _count(same: Sequence[Phrase], sample: dict, exact: bool) -> tuple[Claim, bool]:
    number, there = sum(phrase.number for phrase in same), int(objects_called(same[0], sample).sum())
    text = f"{'' if exact else 'at least '}{number} {_name(same[0])}"
    return Claim("count", text), there == number if exact else there >= number


def _place(mention: Mention, sample: dict) -> tuple[Claim, bool]:
    subjects = np.flatnonzero(objects_called(mention.phrase, sample))
    boxes, name = sample["boxes"], _name(mention.phrase)
    if mention.other is None:
        x, middle = boxes[subjects, ::2].mean(axis=1), sample["image"].shape[1] / 2
        return Claim("half", f"{name} {mention.place}"), bool(
            (x <= middle if mention.place == "left" else x >= middle).any()
        )
    others = np.flatnonzero(objects_called(mention.other, sample))
    held = holds(mention.place, boxes[subjects], boxes[others])  # never from an object to itself: it is not ahead
    return Claim("relation", f"{name} {mention.place} {_name(mention.other)}"), bool(held.any())


def _name(phrase: Phrase) -> str:
    return f"{phrase.colour} {phrase.kind}" if phrase.colour else phrase.kind
