"""Patches and canvases of SSD: what stays, where it lies, and which patches are allowed."""

import numpy as np
import pytest

from datasets import Shapes
from datasets.patches import OVERLAPS, expand, sample_patch
from tests.datasets.test_transforms import assert_same

SCENES = Shapes(30, size=(60, 81), seed=3)


def iou(a, b):
    x1, y1, x2, y2 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    both = max(x2 - x1, 0) * max(y2 - y1, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def coordinates(image):
    """An image of the same size whose red and green say where each pixel was."""
    rows, columns = np.indices(image.shape[:2]).astype(np.uint8)
    return np.stack([columns, rows, np.zeros_like(rows)], axis=2)


def test_a_patch_follows_the_papers_rules():
    seen = 0
    for seed in range(200):
        sample = SCENES[seed % len(SCENES)]
        sample["image"] = coordinates(sample["image"])
        new = sample_patch(sample, np.random.default_rng(seed))
        (h, w), (x, y) = new["image"].shape[:2], new["image"][0, 0, :2]
        if (h, w) == sample["image"].shape[:2]:
            continue
        seen += 1
        assert 0.09 <= h * w / (60 * 81) <= 1  # the sides are rounded down
        assert 0.45 <= w / h <= 2.2
        centres = (sample["boxes"][:, :2] + sample["boxes"][:, 2:]) / 2
        inside = [x < cx < x + w and y < cy < y + h for cx, cy in centres]
        assert any(inside)
        wanted = np.clip(sample["boxes"][inside] - [x, y, x, y], 0, [w, h, w, h])
        np.testing.assert_allclose(new["boxes"], wanted, atol=1e-4)
        np.testing.assert_array_equal(new["labels"], sample["labels"][inside])
        assert new["masks"].shape[1:] == (h, w)
    assert seen > 60


def test_the_wanted_overlap_is_reached(monkeypatch):
    for least in OVERLAPS[:-1]:
        monkeypatch.setattr("datasets.patches.OVERLAPS", (least,) * 6)
        for seed in range(40):
            sample = SCENES[seed % len(SCENES)]
            whole, sample["image"] = sample["image"], coordinates(sample["image"])
            new = sample_patch(sample, np.random.default_rng(seed))
            (h, w), (x, y) = new["image"].shape[:2], new["image"][0, 0, :2].astype(int)
            if (h, w) != whole.shape[:2]:
                assert max(iou((x, y, x + w, y + h), box) for box in sample["boxes"]) >= least - 1e-6


def test_a_canvas_holds_the_image_unchanged():
    sizes = set()
    for seed in range(50):
        sample = SCENES[seed % len(SCENES)]
        new = expand(sample, np.random.default_rng(seed), largest=3, probability=1)
        h, w = new["image"].shape[:2]
        assert 60 <= h <= 180 and 81 <= w <= 243
        sizes.add((h, w))
        x, y = (new["boxes"] - sample["boxes"])[0, :2].astype(int)
        np.testing.assert_array_equal(new["image"][y : y + 60, x : x + 81], sample["image"])
        np.testing.assert_allclose(new["boxes"] - sample["boxes"], np.tile([x, y], 2) + 0 * sample["boxes"], atol=1e-4)
        np.testing.assert_array_equal(new["masks"].sum((1, 2)), sample["masks"].sum((1, 2)))
    assert len(sizes) > 40


def test_nothing_to_do():
    sample = SCENES[0]
    empty = {key: value[:0] if key in ("boxes", "labels", "masks") else value for key, value in sample.items()}
    assert_same(sample_patch(empty, np.random.default_rng(0)), empty)
    assert_same(sample_patch(sample, np.random.default_rng(0), probability=0), sample)
    assert_same(expand(sample, np.random.default_rng(0), probability=0), sample)


def test_bad_input():
    with pytest.raises(ValueError, match="sample_patch: the sample must have boxes, got image"):
        sample_patch({"image": SCENES[0]["image"]}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="expand: largest must be at least 1, got 0.5"):
        expand(SCENES[0], np.random.default_rng(0), largest=0.5)
