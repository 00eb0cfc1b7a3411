"""COCO's metrics against pycocotools, on random and on real data: boxes, masks and key points."""

import os
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from datasets import COCODetection, open_coco
from datasets.rle import encode
from vision.boxes.boxes import area
from vision.boxes.mask_runs import mask_runs, run_iou
from vision.detection.coco_metrics import COCOMetrics

pytest.importorskip("pycocotools")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools itself
DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[5] / "shared" / "data"))
TYPES = {"boxes": "bbox", "masks": "segm", "keypoints": "keypoints"}
NAMES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_1", "AR_10", "AR_100"]
NAMES += ["AR_small", "AR_medium", "AR_large"]


def fields(objects, i, kind):
    """The entry of one object in a COCO file."""
    x1, y1, x2, y2 = map(float, objects["boxes"][i])
    entry = {"category_id": int(objects["labels"][i]), "bbox": [x1, y1, x2 - x1, y2 - y1]}
    if kind == "masks":
        entry["segmentation"] = encode(objects["masks"][i])
    if kind == "keypoints":
        entry["keypoints"] = objects["keypoints"][i].astype(float).ravel().tolist()
        entry["num_keypoints"] = int((objects["keypoints"][i][:, 2] > 0).sum())
    return entry


def pycocotools(pairs, classes, kind):
    """The numbers of COCOeval.summarize, by its own code."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for image, (detected, truth) in enumerate(pairs, 1):
        for i in range(len(truth["labels"])):
            entry = fields(truth, i, kind) | {"id": len(annotations) + 1, "image_id": image}
            entry["area"] = float(truth["area"][i])
            annotations.append(entry | {"iscrowd": int(truth["crowd"][i])})
        for i in range(len(detected["labels"])):
            entry = fields(detected, i, kind) | {"image_id": image, "score": float(detected["scores"][i])}
            if kind != "boxes":
                del entry["bbox"]  # or the size of the box would decide what is small
            results.append(entry)
    coco = COCO()
    images = [{"id": i, "height": 480, "width": 640} for i in range(1, len(pairs) + 1)]
    categories = [{"id": i} for i in range(1, len(classes) + 1)]
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    with redirect_stdout(None):
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), TYPES[kind])
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


def agree(pairs, classes, kind):
    metrics = COCOMetrics(classes, kind)
    for detected, truth in pairs:
        metrics.add(detected, truth)
    ours, theirs = metrics.result(), pycocotools(pairs, classes, kind)
    values = [value for name, value in ours.items() if name != "classes"]
    if kind != "keypoints":
        assert [name for name in ours if name != "classes"] == NAMES
    else:  # COCO has AR50 and AR75 of key points, too
        theirs.stats = theirs.stats[[0, 1, 2, 3, 4, 5, 8, 9]]
    np.testing.assert_allclose(np.nan_to_num(values, nan=-1), theirs.stats, rtol=0, atol=1e-9)
    for k, name in enumerate(classes):
        curve = theirs.eval["precision"][:, :, k, 0, -1]
        wanted = curve[curve > -1].mean() if (curve > -1).any() else np.nan
        np.testing.assert_allclose(ours["classes"][name], wanted, rtol=0, atol=1e-9)
    return ours


def near(rng, boxes, spread):
    """Boxes near the given ones, in halves of pixels: overlaps equal to a threshold, and equal overlaps, occur."""
    moved = np.round(2 * (boxes + rng.normal(0, spread, boxes.shape))) / 2
    corners = np.sort(moved.reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    corners[:, 2:] += 0.5
    return np.clip(corners, 0, [160, 120, 160.5, 120.5]).astype(np.float32)


def random_pair(rng, classes, sizes=(20, 30, 130)):
    """Detections and objects of one image: copies of objects, moved, and others."""
    objects = int(rng.integers(0, 9))
    corner = rng.integers(0, 100, (objects, 2))
    boxes = np.concatenate([corner, corner + rng.integers(4, rng.choice(sizes), (objects, 2))], 1).astype(np.float32)
    labels, crowd = rng.integers(1, classes + 1, objects), rng.random(objects) < 0.15
    truth = {"boxes": boxes, "labels": labels, "crowd": crowd, "area": area(boxes) * rng.uniform(0.5, 1, objects)}
    copies = rng.integers(0, objects, rng.integers(0, 30)) if objects else np.zeros(0, int)
    found = near(rng, np.concatenate([boxes[copies], rng.uniform(0, 120, (rng.integers(1, 6), 4))]), rng.choice([1, 6]))
    own = np.concatenate([labels[copies], rng.integers(1, classes + 1, len(found) - len(copies))])
    scores = rng.integers(0, 12, len(found)) / 12  # many are equal
    return {"boxes": found, "labels": own, "scores": scores}, truth


@pytest.mark.parametrize("seed", range(4))
def test_random_boxes(seed):
    rng = np.random.default_rng(seed)
    agree([random_pair(rng, 4) for _ in range(40)], ["a", "b", "c", "d", "never there"], "boxes")


def test_more_detections_than_count():
    rng, pairs = np.random.default_rng(7), []
    for _ in range(3):
        detected, truth = random_pair(rng, 1)
        found = near(rng, np.tile([20, 20, 90, 80], (250, 1)), 8)
        detected = {"boxes": found, "labels": np.ones(250, np.int64), "scores": rng.random(250).astype(np.float32)}
        pairs.append((detected, truth))
    agree(pairs, ["a"], "boxes")


def test_nothing_found_and_nothing_there():
    rng = np.random.default_rng(1)
    none = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    detected, truth = random_pair(rng, 2)
    empty = none | {"crowd": np.zeros(0, bool), "area": np.zeros(0)}
    agree([(none | {"scores": np.zeros(0)}, truth), (detected, empty), random_pair(rng, 2)], ["a", "b"], "boxes")


def painted(boxes, rng):
    """Masks (K, 120, 160) of boxes with holes and missing corners."""
    masks = np.zeros((len(boxes), 120, 160), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int)):
        mask[y1:y2, x1:x2] = (rng.random(mask.shape) < rng.choice([0.7, 1.0]))[y1:y2, x1:x2]
    return masks


@pytest.mark.parametrize("seed", range(3))
def test_random_masks(seed):
    rng, pairs = np.random.default_rng(seed), []
    for _ in range(25):
        detected, truth = random_pair(rng, 3)
        truth["masks"], detected["masks"] = painted(truth["boxes"], rng), painted(detected["boxes"], rng)
        truth["area"] = truth["masks"].sum(axis=(1, 2)).astype(float)
        pairs.append((detected, truth))
    agree(pairs, ["a", "b", "c"], "masks")


def test_random_key_points():
    rng, pairs = np.random.default_rng(3), []
    for _ in range(30):
        _, truth = random_pair(rng, 1, (40, 130))
        k = len(truth["labels"])
        corners = truth["boxes"].reshape(k, 2, 1, 2)
        at = corners[:, 0] + rng.random((k, 17, 2)) * (corners[:, 1] - corners[:, 0])
        seen = rng.integers(0, 3, (k, 17)) * (rng.random(k) < 0.8)[:, None]  # some objects without any point
        truth["keypoints"] = np.concatenate([at * (seen > 0)[..., None], seen[..., None]], 2).astype(np.float32)
        sources = rng.integers(0, k, 26) if k else np.zeros(0, int)
        spread = rng.choice([1, 4], (len(sources), 1, 1))
        points = truth["keypoints"][sources] + spread * rng.normal(size=(len(sources), 17, 3))
        boxes = np.zeros((len(points), 4), np.float32)
        scores = rng.random(len(points))
        found = {"keypoints": points.astype(np.float32), "labels": np.ones(len(points), np.int64), "scores": scores}
        pairs.append((found | {"boxes": boxes}, truth))
    agree(pairs, ["person"], "keypoints")


def real_pairs(data, rng, images, masks=False):
    """Objects of a real data set, and detections made of them: moved, shrunk, of other classes, missing."""
    pairs = []
    for index in images:
        sample = data[index]
        truth = {key: sample[key] for key in ("boxes", "labels", "crowd", "area", *(["masks"] if masks else []))}
        h, w = sample["image"].shape[:2]
        pick = np.flatnonzero(rng.random(2 * len(truth["labels"])) < 0.7) % max(len(truth["labels"]), 1)
        boxes = truth["boxes"][pick] + rng.normal(0, 3, (len(pick), 4)).astype(np.float32)
        boxes = np.clip(np.sort(boxes.reshape(-1, 2, 2), axis=1).reshape(-1, 4), 0, np.array([w, h, w, h], np.float32))
        wrong = rng.random(len(pick)) < 0.1
        labels = np.where(wrong, rng.integers(1, 1 + len(data.classes), len(pick)), truth["labels"][pick])
        detected = {"boxes": boxes, "labels": labels, "scores": rng.random(len(pick)).astype(np.float32)}
        if masks:
            shifts = rng.integers(-3, 4, (len(pick), 2))
            moved = [np.roll(truth["masks"][i], tuple(shift), (0, 1)) for i, shift in zip(pick, shifts)]
            detected["masks"] = np.stack(moved) if moved else np.zeros((0, h, w), bool)
        pairs.append((detected, truth))
    return pairs


@pytest.mark.parametrize("name, masks", [("coco_open", False), ("coco_det_open", False), ("coco_det_open", True)])
def test_real_data(name, masks):
    if not (DATA / name).is_dir():
        pytest.skip(f"needs {DATA / name}")
    rng = np.random.default_rng(0)
    if name == "coco_open":
        data = open_coco(DATA / name, "val")
    else:
        data = COCODetection(DATA / name / "instances.json", DATA / name / "images", masks=masks)
    pairs = real_pairs(data, rng, range(0, len(data), 2 if masks else 1), masks)
    assert any(truth["crowd"].any() for _, truth in pairs) == (name == "coco_det_open")
    ours = agree(pairs, data.classes, "masks" if masks else "boxes")
    assert 0.1 < ours["AP"] < ours["AP50"] < 1


def test_overlaps_of_masks():
    from pycocotools import mask as reference

    rng = np.random.default_rng(2)
    a, b = rng.random((5, 30, 41)) < 0.4, rng.random((4, 30, 41)) < 0.6
    a[1], b[2] = False, True
    wanted = reference.iou([encode(m) for m in a], [encode(m) for m in b], [0] * 4)
    np.testing.assert_array_equal(run_iou(mask_runs(a), mask_runs(b)), wanted)
