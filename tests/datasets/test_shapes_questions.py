import re
from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pytest

from datasets import Shapes, ShapesQuestions, horizontal_flip, vertical_flip
from datasets.shapes_paint import COLOURS
from datasets.shapes_questions import TYPES

SCENES = Shapes(400 * 8, (64, 80), 6, max_objects=4)


@cache
def data():
    """The data set, made when a test first asks, not when tests are collected."""
    return ShapesQuestions(400, seed=6)


@cache
def samples():
    return [data()[i] for i in range(400)]


@cache
def all_asked():
    """(index, type, question, answer) of every question."""
    return [
        (i, *item)
        for i, sample in enumerate(samples())
        for item in zip(sample["types"], sample["questions"], sample["answers"])
    ]


@cache
def scene_of(index):
    """The scene by another way: the first of eight, from place 8 * index, without a difficult object."""
    return next(
        scene for scene in map(SCENES.__getitem__, range(8 * index, 8 * index + 8)) if not scene["difficult"].any()
    )


def things(scene, colour=None, kind=None):
    """The numbers of the objects so called."""
    return [
        k
        for k in range(len(scene["kinds"]))
        if colour in (None, scene["colours"][k]) and kind in (None, scene["kinds"][k])
    ]


def beside(scene, relation, referent):
    """The objects in this relation to the one called so, by the angle at which they are seen from it."""
    colour, kind = referent.split()
    (k,) = things(scene, colour, kind)  # there is one so called, and one only
    x, y = ((scene["boxes"][:, c] + scene["boxes"][:, c + 2]) / 2 for c in (0, 1))
    towards = {"right of": 0, "below": 90, "left of": 180, "above": -90}[relation]
    found = []
    for j in things(scene):
        angle = np.degrees(np.arctan2(y[j] - y[k], x[j] - x[k]))
        off = abs((angle - towards + 180) % 360 - 180)
        if j != k:
            assert abs(off - 45) > 5  # nothing is asked about where it is not clear
            found += [j] if off < 45 else []
    return found


def answer(scene, question):
    """The answer by reading the question anew."""
    singular = re.sub(r"(circle|square|triangle)s", r"\1", question)
    if match := re.fullmatch(r"how many (\w+) are there|how many (\w+) things are there", singular):
        name = match[1] or match[2]
        chosen = {"colour": name} if name in COLOURS else {} if name == "things" else {"kind": name}
        return str(len(things(scene, **chosen)))
    if match := re.fullmatch(r"is there a (\w+) (\w+)", question):
        return "yes" if things(scene, *match.groups()) else "no"
    if match := re.fullmatch(r"what colour is the (circle|square|triangle)", question):
        (k,) = things(scene, kind=match[1])
        return scene["colours"][k]
    if match := re.fullmatch(r"what shape is the (\w+) thing", question):
        (k,) = things(scene, colour=match[1])
        return scene["kinds"][k]
    match = re.fullmatch(r"what (is|colour is the thing) (left of|right of|above|below) the (\w+ \w+)", question)
    found = beside(scene, match[2], match[3])
    assert len(found) < 2
    if match[1] == "is":
        return scene["kinds"][found[0]] if found else "nothing"
    return scene["colours"][found[0]]


def test_answers_are_right_and_questions_unambiguous():
    for i, _, question, given in all_asked():
        assert answer(scene_of(i), question) == given, (i, question)
    assert len(all_asked()) > 6 * len(data())


def test_images_are_those_of_the_scenes():
    for i in (0, 7, 399):
        np.testing.assert_array_equal(samples()[i]["image"], scene_of(i)["image"])


def test_samples():
    for i, sample in enumerate(samples()):
        assert sample["id"] == f"shapes-questions-6-{i}"
        assert len(sample["questions"]) == len(sample["answers"]) == len(sample["types"]) >= 1
        assert set(sample["answers"]) <= set(data().answers)
        assert set(" ".join(sample["questions"]).split()) <= set(data().words)
    assert {name for sample in samples() for name in sample["types"]} == set(TYPES)
    assert {word for sample in samples() for word in " ".join(sample["questions"]).split()} == set(data().words)
    assert len(set(data().answers)) == len(data().answers)


@pytest.mark.parametrize("flip", [horizontal_flip, vertical_flip])
def test_answers_stay_right_when_scene_and_question_are_mirrored(flip):
    for i in range(100):
        rng = np.random.default_rng(0)
        sample, scene = (flip(part, rng, probability=1) for part in (samples()[i], scene_of(i)))
        np.testing.assert_array_equal(sample["image"], scene["image"])
        assert [answer(scene, question) for question in sample["questions"]] == sample["answers"]


def form(question):
    """The question without the names in it."""
    names = "|".join([*COLOURS, *(kind + "s?" for kind in data().kinds)])
    return re.sub(rf"\b({names})\b", lambda m: "C" if m[0] in COLOURS else "K", question)


def test_all_answers_of_a_form_are_equally_frequent():
    counts = defaultdict(Counter)
    for _, _, question, given in all_asked():
        shape = re.sub("left of|right of|above|below", "beside", form(question))
        counts[shape][given] += 1
    assert len(counts) == 8
    for shape, answers in counts.items():
        mean = np.mean([*answers.values()])
        assert all(abs(count - mean) < 5 * np.sqrt(mean) for count in answers.values()), (shape, answers)
    assert counts["is there a C K"].keys() == {"yes", "no"}
    assert counts["how many K are there"].keys() == {"0", "1", "2", "3"}
    assert counts["what is beside the C K"].keys() == {"nothing", *data().kinds}


def test_the_words_of_a_question_do_not_give_the_answer_away():
    """Whoever knows the most frequent answer of each question, word by word, is not right more often than by chance."""
    first, second = defaultdict(Counter), defaultdict(list)
    for i, name, question, given in all_asked():
        if i % 2:
            second[name].append((question, given))
        else:
            first[question][given] += 1
    for name, asked in second.items():
        hits = [first[question].most_common(1)[0][0] == given for question, given in asked if first[question]]
        assert np.mean(hits) < {"is there": 0.6, "what shape": 0.45}.get(name, 0.4), name


def test_absent_things_have_the_colour_or_the_kind_of_one_that_is_there():
    for i, name, question, given in all_asked():
        if (name, given) == ("is there", "no"):
            colour, kind = question.split()[-2:]
            assert things(scene_of(i), colour=colour) or things(scene_of(i), kind=kind)


def test_a_sample_depends_on_seed_and_index_alone():
    again = ShapesQuestions(1000, seed=6)
    for i in (5, 399):
        assert again[i]["questions"] == samples()[i]["questions"]
        np.testing.assert_array_equal(again[i]["image"], samples()[i]["image"])
    assert data()[-1]["id"] == samples()[399]["id"]
    assert ShapesQuestions(2, seed=7)[0]["questions"] != samples()[0]["questions"]
    with pytest.raises(IndexError):
        data()[400]


def test_options():
    data = ShapesQuestions(20, (40, 50), seed=1, classes=("cross", "star"), max_objects=2)
    assert data.answers[:3] == ("0", "1", "2")
    assert data.answers[-2:] == ("cross", "star")
    assert "crosses" in data.words
    assert "circle" not in data.words
    text = " ".join(question for i in range(20) for question in data[i]["questions"])
    assert "how many crosses are there" in text
    assert data[0]["image"].shape == (40, 50, 3)
    with pytest.raises(ValueError, match="Shapes: need n, max_objects >= 1"):
        ShapesQuestions(0)
