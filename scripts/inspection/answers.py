"""A loss needs a truth, and a photograph has none: the model's own answer stands in for it.

Each function makes the samples of a batch from a photograph, already scaled, and says in words what it took as truth.
"""

import numpy as np

from datasets import horizontal_flip
from vision import Model
from vision.task import task_of

SURE, FEW = 0.5, 3  # scores from which a box is taken; where none is as sure, so many of the best
Samples = tuple[list[dict], str]


def sure(found: dict) -> dict:
    """The objects with a score of at least SURE; where there are none, the FEW best."""
    scores = np.asarray(found["scores"])
    kept = np.flatnonzero(scores >= SURE) if (scores >= SURE).any() else np.argsort(-scores)[:FEW]
    return {key: value[kept] for key, value in found.items() if isinstance(value, np.ndarray)}


def with_area(found: dict) -> dict:
    """The objects whose boxes are at least a pixel wide and high: one of an untrained network may be a line."""
    kept = (found["boxes"][:, 2:] - found["boxes"][:, :2] >= 1).all(axis=1)
    return {key: value[kept] for key, value in found.items() if isinstance(value, np.ndarray)}


def class_answer(model: Model, sample: dict, target: str | None) -> Samples:
    """The most probable class, or the class that is given."""
    if target is not None:
        if target not in model.classes:
            raise ValueError(f"--target {target}: the classes are {', '.join(model.classes)}")
        return [sample | {"label": model.classes.index(target)}], f"the class {target}, as --target says"
    label = int(task_of(model.name).predict(model, sample)["labels"][0])
    return [sample | {"label": label}], f"the model's own answer, {model.classes[label]}"


def box_answer(model: Model, sample: dict, target: str | None) -> Samples:
    """The boxes that the model finds (of localizers too), with masks and points where it has any."""
    found = sure(with_area(task_of(model.name).predict(model, sample)))
    n, (h, w) = len(found["labels"]), sample["image"].shape[:2]
    if not n:  # a class and a box in the middle, so that there is a gradient at all
        found = {"boxes": np.array([[w / 4, h / 4, 3 * w / 4, 3 * h / 4]], np.float32), "labels": np.array([1])}
        found |= {"masks": np.ones((1, h, w), bool)}
    objects = {"boxes": found["boxes"].astype(np.float32), "labels": found["labels"].astype(np.int64)}
    objects |= {key: found[key] for key in ("masks", "keypoints") if key in found}
    words = f"the model's own {n} box{'es' * (n != 1)}" if n else "one box in the middle: the model itself found none"
    return [sample | objects | {"difficult": np.zeros(len(objects["labels"]), bool)}], words


def instance_answer(model: Model, sample: dict, target: str | None) -> Samples:
    """The objects that the model finds; an empty mask becomes its box."""
    (sample,), words = box_answer(model, sample, target)
    for mask, box in zip(sample["masks"], sample["boxes"].astype(int)):
        if not mask.any():
            mask[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
    if hasattr(model, "keypoint_head") and "keypoints" not in sample:
        sample["keypoints"] = np.zeros((len(sample["labels"]), model.options.keypoints, 3), np.float32)
    return [sample], words


def pixel_answer(model: Model, sample: dict, target: str | None) -> Samples:
    """The class that the model gives to each pixel."""
    return [sample | {"segmentation": task_of(model.name).predict(model, sample)["labels"]}], "the model's own labels"


def caption_answer(model: Model, sample: dict, target: str | None) -> Samples:
    """The caption that the model says, or the one that is given."""
    said = target or task_of(model.name).predict(model, sample)["caption"] or model.classes[-1]
    words = f"the caption {said!r}" + (", as --target says" if target else ", the model's own")
    return [sample | {"caption": [said]}], words


def vqa_answer(model: Model, sample: dict, target: str | None) -> Samples:
    """The model's answer to a question: the one that is given, or how many objects there are."""
    question = target or "how many circles are there"
    found = task_of(model.name).predict(model, sample, question)
    said = model.answers[int(np.asarray(found["answers"])[0])]
    return [sample | {"questions": [question], "answers": [said]}], f"{said!r}, the model's own answer to {question!r}"


def pose_answer(model: Model, sample: dict, target: str | None) -> Samples:
    """The points that the model finds."""
    points = task_of(model.name).predict(model, sample)["points"]
    seen = np.concatenate([points, np.full((len(points), 1), 2)], axis=1).astype(np.float32)
    return [sample | {"keypoints": seen[None]}], "the model's own points"


def embedding_answer(model: Model, sample: dict, target: str | None) -> Samples:
    """Two that are alike, the photograph and its mirror image, and two others, turned upside down."""
    mirrored = horizontal_flip(sample, np.random.default_rng(0), probability=1.0)
    others = [each | {"image": np.ascontiguousarray(each["image"][::-1])} for each in (sample, mirrored)]
    pairs = [each | {"label": 0} for each in (sample, mirrored)] + [each | {"label": 1} for each in others]
    return pairs, "that the picture and its mirror image are alike, and unlike the same two upside down"


ANSWERS = {
    "classification": class_answer, "detection": box_answer, "localization": box_answer,
    "instances": instance_answer, "segmentation": pixel_answer, "captioning": caption_answer, "vqa": vqa_answer,
    "pose": pose_answer, "embedding": embedding_answer,
}  # fmt: skip
