"""Visual question answering as a task: batches, accuracy by type of question, pictures with answers."""

import time

import numpy as np

from vision.captioning.draw import draw_attention
from vision.detection.draw import grid
from vision.task import TASKS, Task, images_and_speed, predicted, shown
from vision.vqa.stacked_attention import StackedAttentionVQA

TOGETHER = 50  # images in one forward pass of an evaluation
PICTURED = 2  # questions of an image that are drawn: the last, about relations, which take both hops


def vqa_batch(model: StackedAttentionVQA, samples: list[dict]) -> tuple[np.ndarray, list[list[str]], list[list[str]]]:
    """(images (N, 3, H, W) float32, for each image its questions, and their answers)."""
    images = model.preprocess.batch_of(samples)
    return images, [sample["questions"] for sample in samples], [sample["answers"] for sample in samples]


def answer(model: StackedAttentionVQA, sample: dict, question: str = "") -> dict:
    """model.answer for the question given, else for those of the sample."""
    questions = [question] if question or "questions" not in sample else sample["questions"]
    if questions == [""]:
        raise ValueError('a question is needed: --set question="how many circles are there"')
    return model.answer(sample["image"], *questions)


def evaluate_vqa(model: StackedAttentionVQA, dataset, failed: list[str] | None = None) -> dict:
    """Accuracy over all questions and over those of each of dataset.types, and the speed with reading."""
    started, right, images = time.monotonic(), {name: [] for name in dataset.types}, 0

    def answers(samples):
        asked = [sample["questions"] for sample in samples]
        p, _ = model.answer_probabilities([sample["image"] for sample in samples], asked)
        found = iter(model.answers[best] for best in p.argmax(axis=1))
        return [[next(found) for _ in questions] for questions in asked]

    for sample, said in predicted(dataset, answers, together=TOGETHER, failed=failed):
        images += 1
        for name, truth, given in zip(sample["types"], sample["answers"], said, strict=True):
            right[name].append(given == truth)
    questions = sum(map(len, right.values()))
    return {
        "accuracy": sum(map(sum, right.values())) / questions,
        "types": {name: _accuracy(hits) for name, hits in right.items()},
        "questions": questions,
        "images": images,
        "images_per_second": round(images / (time.monotonic() - started), 2),
    }


def _accuracy(hits):
    return {"questions": len(hits), "accuracy": sum(hits) / len(hits) if hits else None}


def vqa_table(metrics: dict) -> str:
    """The metrics of evaluate_vqa, a line per type of question and one for all."""
    width = max(len("question"), *map(len, metrics["types"]))
    rows = [f"{'question':{width}}  number  accuracy"]
    for name, row in [*metrics["types"].items(), ("all", {**metrics})]:
        rows.append(f"{name:{width}}  {row['questions']:6d}  {shown(row['accuracy']):>8}")
    return "\n".join([*rows, images_and_speed(metrics)])


def describe_answers(prediction: dict, classes) -> list[dict]:
    """[{question, answer, score}]."""
    return [
        {"question": str(question), "answer": classes[index], "score": round(float(score), 4)}
        for question, index, score in zip(prediction["questions"], prediction["answers"], prediction["scores"])
    ]


def select_answers(prediction: dict, threshold: float) -> dict:
    """The answers with a score of at least `threshold`."""
    sure = prediction["scores"] >= threshold
    kept = {name: prediction[name][sure] for name in ("questions", "answers", "scores")}
    return {**kept, "attention": prediction["attention"][:, sure]}


def draw_answers(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image and the attention of each hop, for the last questions; below them the answer and the true one."""
    hops = [f"hop {k}" for k in range(1, len(prediction["attention"]) + 1)]
    pictures = []
    for i, found in list(enumerate(describe_answers(prediction, classes)))[-PICTURED:]:
        lines = [f"{found['question']}? {found['answer']} {found['score']:.2f}"]
        if sample is not None:
            lines.append(f"is: {sample['answers'][sample['questions'].index(found['question'])]}")
        pictures.append(draw_attention(image, hops, prediction["attention"][:, i], lines))
    return grid(pictures, columns=1) if pictures else draw_attention(image, [], np.zeros((0, 1, 1)), ["unsure"])


TASKS["vqa"] = Task(
    metric="accuracy",
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
