"""Pose as a task: batches, the share of points that are near enough, tables, JSON, pictures with limbs."""

import time

import numpy as np

from vision.localization.draw_pose import draw_pose
from vision.localization.poser import Poser
from vision.task import TASKS, Task, images_and_speed, known, predicted, shown

TOGETHER = 32  # images in one forward pass of an evaluation
NEAR = 0.2  # of the box: how far off a point may be


def pose_batch(model: Poser, samples: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(images (N, 3, H, W), or features, see Poser; points (N, J, 2) float32 in their pixels, seen (N, J) bool)."""
    images, j = model.preprocess.batch_of(samples), len(model.classes)
    truth = [first(sample, j) for sample in samples]
    images = model.features(images) if model.features else images
    return images, np.stack([each[:, :2] for each in truth]), np.stack([each[:, 2] > 0 for each in truth])


def first(sample: dict, joints: int) -> np.ndarray:
    """(J, 3): the points of the first object; none is seen where there is no object any more."""
    points = sample["keypoints"]
    return points[0] if len(points) else np.zeros((joints, 3), np.float32)


def find_pose(model: Poser, sample: dict) -> dict:
    """points (J, 2), stages (S, J, 2) and names, in the sample's own pixels."""
    return model.pose(sample["image"])


def near(points: np.ndarray, truth: np.ndarray, box: np.ndarray, shorter: bool = False) -> np.ndarray:
    """(..., J) bool: whether points (..., J, 2) are within NEAR of the longer (shorter) side of the person's box.

    Reference: Yang and Ramanan 2013, Articulated human detection with flexible mixtures of parts, sec. 6 (PCK).
    """
    sides = box[2:] - box[:2]
    distance = np.sqrt(((points - truth) ** 2).sum(axis=-1))
    return distance <= NEAR * (sides.min() if shorter else sides.max())


def evaluate_poser(model: Poser, dataset, failed: list[str] | None = None) -> dict:
    """PCK, the share of points that are near (see `near`): after each stage, of each point, and of the mean pose.

    PCK counts by the shorter side of the box, PCK_longer by the longer one. The mean pose is that of the same data,
    as fractions of the box: a pose that looks at no picture, and knows the box. Pictures whose box was dropped, see
    datasets.ObjectImages, do not count. Raises ValueError where there is no other.
    """
    started, rows = time.monotonic(), []

    def poses(samples):
        return model.poses([sample["image"] for sample in samples])

    for sample, found in predicted(dataset, poses, together=TOGETHER, failed=failed):
        if len(sample["boxes"]):
            rows.append((found["stages"], first(sample, len(model.classes)), sample["boxes"][0].astype(float)))
    if not rows:
        raise ValueError("pose: no picture has a box, by which distances are measured")
    seconds = time.monotonic() - started
    stages, truth, boxes = (np.stack(column) for column in zip(*rows))
    seen, sides = truth[..., 2] > 0, (boxes[:, 2:] - boxes[:, :2])[:, None]
    relative = (truth[..., :2] - boxes[:, None, :2]) / sides  # (N, J, 2)
    mean = (relative * seen[..., None]).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)[:, None]
    guesses = np.concatenate([stages, (boxes[:, None, :2] + mean * sides)[:, None]], axis=1)  # (N, S + 1, J, 2)
    kinds = {"PCK": True, "PCK_longer": False}
    good = {
        key: np.stack([near(g, t[:, :2], b, shorter) for g, t, b in zip(guesses, truth, boxes)])
        for key, shorter in kinds.items()
    }
    return {
        **{key: _share(good[key][:, -2], seen) for key in kinds},
        "stages": [{key: _share(good[key][:, s], seen) for key in kinds} for s in range(stages.shape[1])],
        "mean_pose": {key: _share(good[key][:, -1], seen) for key in kinds},
        "classes": {
            name: {
                "points": int(seen[:, j].sum()),
                "PCK": [_share(good["PCK"][:, s, j], seen[:, j]) for s in range(stages.shape[1])],
                "mean_pose": _share(good["PCK"][:, -1, j], seen[:, j]),
            }
            for j, name in enumerate(model.classes)
        },
        "images": len(rows),
        "images_per_second": round(len(rows) / seconds, 2),
    }


def _share(good, counted):
    return known(good[counted].mean() if counted.any() else np.nan)


def pose_table(metrics: dict) -> str:
    """The metrics of evaluate_poser: a line for each point, one for all, and one for all by the longer side."""
    width, count = max(len("longer side"), *map(len, metrics["classes"])), len(metrics["stages"])
    rows = [f"{'PCK@0.2':{width}}  points  mean pose" + "".join(f"  stage {s + 1}" for s in range(count))]
    total = sum(row["points"] for row in metrics["classes"].values())
    lines = [(name, row["points"], row["mean_pose"], row["PCK"]) for name, row in metrics["classes"].items()]
    for name, key in (("all", "PCK"), ("longer side", "PCK_longer")):
        lines.append((name, total, metrics["mean_pose"][key], [stage[key] for stage in metrics["stages"]]))
    for name, points, mean, stages in lines:
        rows.append(f"{name:{width}}  {points:6d}  {shown(mean):>9}" + "".join(f"  {shown(v):>7}" for v in stages))
    return "\n".join([*rows, images_and_speed(metrics)])


def describe_pose(prediction: dict, classes) -> list[dict]:
    """[{point, x, y}]."""
    points = prediction["points"].astype(float).round(2).tolist()
    return [{"point": name, "x": x, "y": y} for name, (x, y) in zip(classes, points)]


def draw_posed(image: np.ndarray, prediction: dict, classes, sample: dict | None = None) -> np.ndarray:
    """The image with the limbs found and, if a sample is given, beside it the same with the true ones."""
    found = draw_pose(image, prediction["points"], classes)
    if sample is None:
        return found
    truth = first(sample, len(classes))
    return np.concatenate([found, draw_pose(image, truth[:, :2], classes, truth[:, 2] > 0)], axis=1)


TASKS["pose"] = Task(
    metric="PCK",
    collate=pose_batch,
    predict=find_pose,
    evaluate=evaluate_poser,
    table=pose_table,
    describe=describe_pose,
    select=lambda prediction, threshold: prediction,
    draw=draw_posed,
)
