"""Data for visual question answering: samples with questions and answers."""

from collections.abc import Iterator

from datasets.listing import Listed
from datasets.shapes_questions import TYPES, ShapesQuestions
from scripts.readers.shapes import SEEDS, SPLITS
from vision.sequence import Vocabulary


class Questions:
    """`ShapesQuestions` with the classes that the models need: all answers, then a vocabulary of the words.

    A sample is made once and kept, since drawing it takes a third of the time of a training step; about 15 kB each.
    """

    def __init__(self, questions: ShapesQuestions):
        self.questions, self.made, self.types = questions, {}, TYPES
        self.classes = (*questions.answers, *Vocabulary.build(list(questions.words)).words)

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> dict:
        if index not in self.made:
            self.made[index] = self.questions[index]
        return dict(self.made[index])

    def listing(self) -> Iterator[Listed]:
        """Those of the scenes."""
        return self.questions.listing()


def open_questions(arguments, split: str, classes=None) -> Questions:
    """Generated scenes with questions; each split has its own seed."""
    if split not in SEEDS:
        raise ValueError(f"--data shapes has the splits {', '.join(SEEDS)}; there is no {split!r}")
    if arguments.root:
        raise ValueError(f"--root {arguments.root} does not go with --data shapes, which is generated; leave it out")
    n = arguments.shapes_train if split == "train" else arguments.shapes_val
    data = Questions(ShapesQuestions(n, tuple(arguments.shapes_size), SEEDS[split]))
    if classes and tuple(classes) != data.classes:
        raise ValueError(
            f"--data shapes has its own answers and words as classes: {' '.join(data.classes)}; leave them out"
        )
    return data


READERS = {"shapes": (open_questions, SPLITS)}
