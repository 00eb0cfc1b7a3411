"""Visual question answering, as the scripts see it."""

import time
from itertools import islice

import numpy as np
from scripts.tasks.task import SHAPES_SEEDS, Task, on_its_device, shown, watched

from datasets import detection_batch, resize
from datasets.shapes_questions import TYPES, ShapesQuestions
from nn.layer import Layer
from vision.captioning.draw import draw_attention
from vision.detection.draw import grid
from vision.sequence import Vocabulary

TOGETHER = 50  # images in one forward pass of an evaluation
PICTURED = 2  # questions of an image that are drawn: the last, about relations, which take both hops


class Questions:
    """`ShapesQuestions` with the classes that the models want: all answers, then a vocabulary of the words.

    A sample is made once and kept, as to draw it takes a third of the time of a training step; about 15 kB each.
    """

    def __init__(self, questions: ShapesQuestions):
        self.questions, self.made = questions, {}
        self.classes = (*questions.answers, *Vocabulary.build(list(questions.words)).words)

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> dict:
        if index not in self.made:
            self.made[index] = self.questions[index]
        return dict(self.made[index])


def open_questions(arguments, split: str, classes=None) -> Questions:
    """Generated scenes with questions; each split has a seed of its own."""
    if split not in SHAPES_SEEDS:
        raise ValueError(f"--data shapes has the splits {', '.join(SHAPES_SEEDS)}; there is no {split!r}")
    if arguments.root:
        raise ValueError(f"--root {arguments.root} does not go with --data shapes, which is generated; leave it out")
    n = arguments.shapes_train if split == "train" else arguments.shapes_val
    data = Questions(ShapesQuestions(n, tuple(arguments.shapes_size), SHAPES_SEEDS[split]))
    if classes and tuple(classes) != data.classes:
        raise ValueError(
            f"--data shapes has its own answers and words as classes: {' '.join(data.classes)}; leave them out"
        )
    return data


def vqa_batch(samples: list[dict], preprocess: dict) -> tuple[np.ndarray, list[list[str]], list[list[str]]]:
    """(images (N, 3, H, W) float32, for each image its questions, and their answers)."""
    images, _ = detection_batch(samples, preprocess["mean"], preprocess["std"])
    return images, [sample["questions"] for sample in samples], [sample["answers"] for sample in samples]


def answer(model: Layer, sample: dict, question: str = "") -> dict:
    """questions, answers (a place in the model's list) and scores, each (M,), and attention (hops, M, h, w).

    Answered is the question given, or else those of the sample.
    """
    questions = [question] if question or "questions" not in sample else sample["questions"]
    if questions == [""]:
        raise ValueError('a question is needed: --set question="how many circles are there"')
    probabilities, attention = _ask(model, [{**sample, "questions": questions, "answers": []}])
    best = probabilities.argmax(axis=1)
    return {
        "questions": np.array(questions),
        "answers": best,
        "scores": probabilities[np.arange(len(best)), best],
        "attention": attention,
    }


def _ask(model, samples):
    """(probabilities, attention) of the questions of samples of one size."""
    sizes = {name: model.preprocess[name] for name in ("short_side", "max_side")}
    images, questions, _ = vqa_batch([resize(sample, **sizes) for sample in samples], model.preprocess)
    return on_its_device(model, model.predict, images, questions)


def evaluate_vqa(model: Layer, dataset: Questions) -> dict:
    """Accuracy, over all questions and over those of each type, and the speed, drawing of scenes included."""
    started, samples, right = time.monotonic(), iter(watched(dataset, "evaluating")), {name: [] for name in TYPES}
    while batch := list(islice(samples, TOGETHER)):
        found = [model.answers[best] for best in _ask(model, batch)[0].argmax(axis=1)]
        wanted = [item for sample in batch for item in zip(sample["types"], sample["answers"])]
        for (name, truth), said in zip(wanted, found, strict=True):
            right[name].append(said == truth)
    questions = sum(map(len, right.values()))
    return {
        "accuracy": sum(map(sum, right.values())) / questions,
        "types": {name: _accuracy(hits) for name, hits in right.items()},
        "questions": questions,
        "images": len(dataset),
        "images_per_second": round(len(dataset) / (time.monotonic() - started), 2),
    }


def _accuracy(hits):
    return {"questions": len(hits), "accuracy": sum(hits) / len(hits) if hits else None}


def vqa_table(metrics: dict) -> str:
    """The metrics of evaluate_vqa, a line per type of question and one for all."""
    width = max(len("question"), *map(len, metrics["types"]))
    rows = [f"{'question':{width}}  number  accuracy"]
    for name, row in [*metrics["types"].items(), ("all", {**metrics})]:
        rows.append(f"{name:{width}}  {row['questions']:6d}  {shown(row['accuracy']):>8}")
    return "\n".join([*rows, f"{metrics['images']} images, {metrics['images_per_second']:.1f} images/s"])


def describe_answers(prediction: dict, classes) -> list[dict]:
    """[{question, answer, score}]."""
    return [
        {"question": str(question), "answer": classes[place], "score": round(float(score), 4)}
        for question, place, score in zip(prediction["questions"], prediction["answers"], prediction["scores"])
    ]


def select_answers(prediction: dict, threshold: float) -> dict:
    """Only the answers that score at least `threshold`."""
    sure = prediction["scores"] >= threshold
    kept = {name: prediction[name][sure] for name in ("questions", "answers", "scores")}
    return {**kept, "attention": prediction["attention"][:, sure]}


def draw_answers(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image and where each hop looked, for the last questions; below them the answer, and the true one."""
    hops = [f"hop {k}" for k in range(1, len(prediction["attention"]) + 1)]
    pictures = []
    for i, found in list(enumerate(describe_answers(prediction, classes)))[-PICTURED:]:
        lines = [f"{found['question']}? {found['answer']} {found['score']:.2f}"]
        if sample is not None:
            lines.append(f"is: {sample['answers'][sample['questions'].index(found['question'])]}")
        pictures.append(draw_attention(image, hops, prediction["attention"][:, i], lines))
    return grid(pictures, columns=1) if pictures else draw_attention(image, [], np.zeros((0, 1, 1)), ["unsure"])


VQA = Task(
    metric="accuracy",
    data={"shapes": open_questions},
    splits={"shapes": ("train", "val")},
    collate=vqa_batch,
    predict=answer,
    evaluate=evaluate_vqa,
    table=vqa_table,
    describe=describe_answers,
    select=select_answers,
    draw=draw_answers,
    closed=False,
    options={"question": ""},
)
