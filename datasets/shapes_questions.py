"""Questions about `Shapes` scenes, with their answers."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from .listing import Listed
from .shapes import Shapes
from .shapes_language import NOUNS, RELATIONS, holds
from .shapes_paint import COLOURS

DOMAIN = 0x0A5C  # keeps these random streams apart from others that are seeded with [seed, index], too
MARGIN = 1.25  # a relation is asked about where it is clear: it holds by so much, or it fails by so much
SPARE = 8  # scenes to choose each one from: the first in which no object is more than half hidden
PILOT = {"n": 1000, "size": (48, 60), "seed": 0xA17}  # scenes by which it is measured how often an answer is possible
RARE = 0.06  # an answer that is possible in a smaller share of the scenes is not asked for
PLURALS = {kind: noun for noun, kind in NOUNS.items() if noun != kind}

Asked = Iterator[tuple[str, str]]  # (question, answer)


def _number_of_things(sample: dict, kinds: Sequence[str]) -> Asked:
    yield "how many things are there", str(len(sample["kinds"]))


def _number_of_kind(sample: dict, kinds: Sequence[str]) -> Asked:
    for kind in kinds:
        yield f"how many {PLURALS[kind]} are there", str((sample["kinds"] == kind).sum())


def _number_of_colour(sample: dict, kinds: Sequence[str]) -> Asked:
    for colour in COLOURS:
        yield f"how many {colour} things are there", str((sample["colours"] == colour).sum())


def _presence(sample: dict, kinds: Sequence[str]) -> Asked:
    """For each absent one there is a present one; absent are those first of which colour and kind are there, apart."""
    things = set(zip(sample["colours"].tolist(), sample["kinds"].tolist()))
    for colour, kind in sorted(things):
        yield f"is there a {colour} {kind}", "yes"
    mixed = [(c, k) for c in COLOURS for k in kinds if c in sample["colours"] and k in sample["kinds"]]
    half = [(c, k) for c in COLOURS for k in kinds if (c in sample["colours"]) != (k in sample["kinds"])]
    for colour, kind in [thing for thing in mixed if thing not in things] or half:
        yield f"is there a {colour} {kind}", "no"


def _colour(sample: dict, kinds: Sequence[str]) -> Asked:
    for kind in kinds:
        if len(colours := sample["colours"][sample["kinds"] == kind]) == 1:
            yield f"what colour is the {kind}", str(colours[0])


def _shape(sample: dict, kinds: Sequence[str]) -> Asked:
    for colour in COLOURS:
        if len(found := sample["kinds"][sample["colours"] == colour]) == 1:
            yield f"what shape is the {colour} thing", str(found[0])


def _beside(sample: dict) -> Iterator[tuple[str, np.ndarray]]:
    """("left of the red circle", objects that are there (K,) bool), where no object is there by a hair's breadth."""
    names = [f"{colour} {kind}" for colour, kind in zip(sample["colours"], sample["kinds"])]
    for i, name in enumerate(names):
        for relation in RELATIONS if names.count(name) == 1 else ():
            sure, perhaps = (
                holds(relation, sample["boxes"], sample["boxes"][i : i + 1], margin)[:, 0]
                for margin in (MARGIN, 1 / MARGIN)
            )
            if (sure == perhaps).all():
                yield f"{relation} the {name}", sure


def _shape_beside(sample: dict, kinds: Sequence[str]) -> Asked:
    for place, there in _beside(sample):
        if there.sum() < 2:
            yield f"what is {place}", str(sample["kinds"][there][0]) if there.any() else "nothing"


def _colour_beside(sample: dict, kinds: Sequence[str]) -> Asked:
    for place, there in _beside(sample):
        if there.sum() == 1:
            yield f"what colour is the thing {place}", str(sample["colours"][there][0])


Form = tuple[str, Callable[[dict, Sequence[str]], Asked]]
FORMS: tuple[Form, ...] = (
    ("how many", _number_of_things),
    ("how many", _number_of_kind),
    ("how many", _number_of_colour),
    ("is there", _presence),
    ("what colour", _colour),
    ("what shape", _shape),
    ("relation", _shape_beside),
    ("relation", _colour_beside),
)
TYPES = tuple(dict.fromkeys(name for name, _ in FORMS))


class ShapesQuestions:
    """n scenes of `Shapes`, each with some questions and their answers, of one word.

    how many     things, circles, red things are there        0, 1, 2, ...
    is there     a red circle                                 yes, no
    what colour  is the circle                                a colour
    what shape   is the red thing                             a kind
    relation     what is left of the red circle               a kind, or nothing
                 what colour is the thing left of it          a colour

    No question is ambiguous: what has an article is there once, every object is seen by more than half, and relations
    (those of `Shapes`' captions) hold or fail clearly. Each line, of "how many" and "relation" each part of it, is
    balanced: within it all answers are wanted equally often, so that without the image none is better than another.
    What is possible in few scenes (four red things) is not asked.

    Sample i depends on (seed, i) and the options only: image (H, W, 3) uint8; id str; questions, answers, types: lists
    of str of equal length, at least one. answers: all possible answers; words: all words of questions, alphabetically.
    """

    def __init__(
        self,
        n: int,
        size: tuple[int, int] = (64, 80),
        seed: int = 0,
        *,
        classes: Sequence[str] = ("circle", "square", "triangle"),
        max_objects: int = 4,
    ):
        self.scenes = Shapes(n * SPARE, size, seed, classes=classes, max_objects=max_objects)
        self.n, self.seed, self.kinds = n, seed, self.scenes.classes
        numbers = map(str, range(max_objects + 1))
        self.answers = (*numbers, "yes", "no", "nothing", *COLOURS, *self.kinds)
        self.words = _words(self.kinds)
        self._chances = _chances(self.answers, self.kinds, max_objects)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict:
        index = range(self.n)[index]  # negative indices count from the end; IndexError beyond
        rng = np.random.default_rng([DOMAIN, self.seed, index])
        scene = self._clear_scene(index)
        asked = [(*chosen, name) for name, form in FORMS for chosen in self._choose(form, scene, rng)]
        questions, answers, types = map(list, zip(*asked))
        return {
            "id": f"shapes-questions-{self.seed}-{index}",
            "image": scene["image"],
            "questions": questions,
            "answers": answers,
            "types": types,
        }

    def listing(self) -> Iterator[Listed]:
        """The id and size of each scene."""
        return (Listed(f"shapes-questions-{self.seed}-{index}", self.scenes.size) for index in range(self.n))

    def _clear_scene(self, index):
        """The first of SPARE scenes without an object that is more than half hidden."""
        for i in range(index * SPARE, (index + 1) * SPARE):
            scene = self.scenes[i]
            if not scene["difficult"].any():
                break
        return scene

    def _choose(self, form, scene, rng):
        """(question, answer) for each answer that its chance favours, any of the questions that have it."""
        possible = defaultdict(list)
        for question, answer in form(scene, self.kinds):
            possible[answer].append(question)
        for answer, questions in possible.items():
            if rng.random() < self._chances[form].get(answer, 0):
                yield questions[rng.integers(len(questions))], answer


@cache
def _chances(answers, kinds, max_objects):
    """{form: {answer: chance to be asked for where it is possible}}: the rarest always, the others as often."""
    scenes, possible = (
        Shapes(**PILOT, classes=kinds, max_objects=max_objects),
        defaultdict(lambda: np.zeros(len(answers))),
    )
    for scene in scenes:
        for _, form in FORMS:
            for answer in {answer for _, answer in form(scene, kinds)}:
                possible[form][answers.index(answer)] += 1 / len(scenes)
    for shares in possible.values():
        for alike in (COLOURS, kinds):  # equally frequent, had one looked at more scenes
            indices = [answers.index(answer) for answer in alike]
            shares[indices] = shares[indices].mean()
    return {
        form: {a: shares[shares >= RARE].min() / share for a, share in zip(answers, shares) if share >= RARE}
        for form, shares in possible.items()
    }


def _words(kinds):
    """All words that questions may have."""
    fixed = "how many things are there is a what colour the shape thing left right of above below".split()
    return tuple(sorted({*fixed, *COLOURS, *kinds, *(PLURALS[kind] for kind in kinds)}))
