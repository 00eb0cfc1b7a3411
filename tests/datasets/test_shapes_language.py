import re
from functools import cache, partial

import numpy as np
import pytest

from datasets import Shapes, horizontal_flip, vertical_flip
from datasets.shapes_language import (
    Claim,
    Mention,
    Phrase,
    holds,
    is_true,
    names_main_objects,
    read_caption,
    true_claims,
)
from datasets.shapes_paint import COLOURS, KINDS

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


@cache
def scenes():
    """Drawn when a test first asks, not when tests are collected."""
    return list(Shapes(300, (64, 80), seed=4, classes=tuple(KINDS)))


def scene(*objects):
    """A sample of 60x100 with an object for each (colour, kind, x, y), the first the largest."""
    colours, kinds, x, y = zip(*objects)
    centres, half = np.stack([x, y], axis=1), np.arange(len(x), 0, -1)[:, None] + 2
    masks = np.zeros((len(x), 60, 100), bool)
    for mask, (cx, cy), r in zip(masks, centres, half[:, 0]):
        mask[cy - r : cy + r, cx - r : cx + r] = True
    boxes = np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
    image = np.zeros((60, 100, 3), np.uint8)
    return {"image": image, "kinds": np.array(kinds), "colours": np.array(colours), "boxes": boxes, "masks": masks}


SCENE = scene(
    ("red", "circle", 20, 30), ("blue", "square", 60, 20), ("red", "circle", 50, 50), ("green", "cross", 80, 10)
)


def test_captions_of_the_data_set_are_true_and_name_the_main_objects():
    for sample in scenes():
        for caption in sample["caption"]:
            assert is_true(caption, sample), (caption, true_claims(caption, sample))
            assert names_main_objects(caption, sample)


@pytest.mark.parametrize("flip", [horizontal_flip, vertical_flip])
def test_captions_stay_true_when_scene_and_words_are_mirrored(flip):
    for sample in map(partial(flip, rng=np.random.default_rng(0), probability=1), scenes()[:100]):
        assert all(is_true(caption, sample) for caption in sample["caption"])


@pytest.mark.parametrize(
    ("pattern", "which", "change"),
    [
        ("left|right|above|below", 2, lambda word, sample: OPPOSITE[word]),
        ("|".join(COLOURS), 1, lambda word, sample: next(c for c in COLOURS if c not in sample["colours"])),
        ("|".join(KINDS), 0, lambda word, sample: next(k for k in KINDS if k not in sample["kinds"])),
        ("one|two|three", 0, lambda word, sample: {"one": "two", "two": "one", "three": "four"}[word]),
        (r"\ba\b|two", 1, lambda word, sample: {"a": "two", "two": "a"}[word]),
    ],
    ids=["relation", "colour", "kind", "number", "article"],
)
def test_captions_with_one_word_changed_are_false(pattern, which, change):
    changed = 0
    for sample in scenes():
        try:
            caption = re.sub(pattern, lambda match: change(match[0], sample), sample["caption"][which], count=1)  # noqa: B023
        except StopIteration:  # the scene has all of them
            continue
        if caption != sample["caption"][which] and not _both_ways(sample, which):
            assert not is_true(caption, sample), (caption, sample["caption"])
            changed += 1
    assert changed > 100


def _both_ways(sample, which):
    """Whether the third sentence may hold with its relation turned round: with objects that are called the same."""
    names = [f"{colour} {kind}" for colour, kind in zip(sample["colours"], sample["kinds"])]
    return which == 2 and len(set(names)) < len(names)


def test_relations_to_the_wrong_object_are_false():
    found = 0
    for sample in scenes():
        match = re.fullmatch("(a .*) (left of|right of|above|below) (a .*)", sample["caption"][2])
        if match and match[1] != match[3] and not _both_ways(sample, 2):
            assert not is_true(f"{match[3]} {match[2]} {match[1]}", sample)
            found += 1
    assert found > 100


def test_read_caption_worked_example():
    mentions, rest = read_caption("Two red circles, one star and a blue square LEFT OF another square.")
    assert mentions == [
        Mention(Phrase(2, "red", "circle")),
        Mention(Phrase(1, None, "star")),
        Mention(Phrase(1, "blue", "square", False), "left of", Phrase(1, None, "square", False)),
    ]
    assert rest == ""
    assert read_caption("no crosses 12 stars in the left half") == (
        [Mention(Phrase(0, None, "cross")), Mention(Phrase(12, None, "star"), "left")],
        "",
    )


@pytest.mark.parametrize(
    ("caption", "rest"),
    [
        ("", "(no words)"),
        ("and", "and"),
        ("a red", "a red"),
        ("a circle and", "and"),
        ("a circle left of", "left of"),
        ("a circle above a <unk>", "above a unk"),
        ("circle", "circle"),
        ("and a circle", "and a circle"),
        ("a circle in the upper half", "in the upper half"),
        ("a circles square", "square"),
    ],
)
def test_what_cannot_be_read_is_false(caption, rest):
    assert read_caption(caption)[1] == rest
    assert (Claim("unreadable", rest), False) in true_claims(caption, SCENE)
    assert not is_true(caption, SCENE)


@pytest.mark.parametrize(
    ("caption", "true"),
    [
        ("two circles, one square and one cross", True),
        ("a circle", False),  # there are two
        ("a circle, a square and a circle", True),  # the same phrases add up
        ("two red circles", True),
        ("a red circle", False),
        ("three red circles", False),
        ("no stars", True),
        ("no circles", False),
        ("one blue circle", False),
        ("a circle left of a square", True),  # with a relation, "a" is at least one
        ("one circle left of a square", False),  # a number is exact everywhere
        ("a square left of a circle", False),
        ("a circle below a square", True),  # the second one
        ("a circle above a square", False),
        ("a red circle left of another red circle", True),  # 30 to the left, 20 up
        ("a red circle above another red circle", False),
        ("a blue square above another blue square", False),  # there is but one
        ("a blue square right of a green cross", False),
        ("a red circle left of a blue square and a blue square left of a green cross", False),  # two blue squares
        ("a red circle in the left half", True),
        ("a square in the left half", False),
        ("a circle in the right half", True),  # at 50 of 100: in both
    ],
)
def test_truth_worked_examples(caption, true):
    assert is_true(caption, SCENE) is true


def test_claims_worked_example():
    assert true_claims("a blue circle left of a square", SCENE) == [
        (Claim("kind", "circle"), True),
        (Claim("colour", "blue circle"), False),
        (Claim("kind", "square"), True),
        (Claim("count", "at least 1 blue circle"), False),
        (Claim("count", "at least 1 square"), True),
        (Claim("relation", "blue circle left of square"), False),
    ]


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("a red circle and a blue square", True),
        ("one circle and one square", True),
        ("a circle and a cross", False),
        ("a red circle", False),
        ("a red circle and a red square", False),
        ("two circles", False),
        ("nonsense", False),
    ],
)
def test_naming_main_objects(caption, named):
    assert names_main_objects(caption, SCENE) is named


def test_naming_main_objects_counts_phrases():
    twins = scene(("red", "star", 20, 20), ("red", "star", 60, 20), ("red", "cross", 80, 40))
    assert names_main_objects("two red stars", twins)
    assert names_main_objects("a star and a red star", twins)
    assert not names_main_objects("a red star", twins)
    assert names_main_objects("a red star", twins, most=1)
    assert not names_main_objects("two stars", twins, most=3)
    assert names_main_objects("two stars and a cross", twins, most=9)


def test_every_pair_of_objects_has_a_relation_and_its_opposite():
    boxes = np.random.default_rng(0).uniform(0, 50, (12, 4)).astype(np.float32)
    held = {relation: holds(relation, boxes, boxes) for relation in ("left of", "right of", "above", "below")}
    np.testing.assert_array_equal(sum(held.values()), 1 - np.eye(12))
    np.testing.assert_array_equal(held["left of"], held["right of"].T)
    np.testing.assert_array_equal(held["above"], held["below"].T)
