"""Mask R-CNN: its loss by hand, gradients by the registry's tiny version, two images learned by heart."""

import numpy as np
import pytest

import vision
from datasets import Shapes
from nn.losses.classification import binary_cross_entropy_with_logits
from tests.vision.instances.by_heart import learn, scenes
from vision.instances.mask_rcnn import MaskHead, Options, mask_grids, mask_loss
from vision.instances.task import instance_batch

CLASSES = ("circle", "square", "triangle")
SMALL = {
    "width": 6, "hidden": 48, "short_side": 64, "max_side": 96, "anchor_scales": (12, 24, 48), "roi_samples": 32,
    "mask_convs": 1, "mask_channels": 16,
}  # fmt: skip


def build(**options):
    return vision.build("mask_rcnn_small", CLASSES, np.random.default_rng(3), **SMALL | options)


def test_only_the_mask_of_the_true_class_is_trained():
    rng = np.random.default_rng(1)
    logits, labels, targets = rng.normal(size=(5, 3, 28, 28)), np.array([1, 3, 2, 2, 1]), rng.random((5, 28, 28)) < 0.5
    value, dlogits = mask_loss(logits, labels, targets.astype(float))
    own = np.stack([logits[p, label - 1] for p, label in enumerate(labels)])
    p = 1 / (1 + np.exp(-own))
    assert value == pytest.approx(-np.where(targets, np.log(p), np.log(1 - p)).mean())
    assert value == pytest.approx(binary_cross_entropy_with_logits(own, targets.astype(float))[0])
    for region, label in enumerate(labels):
        others = [c for c in range(3) if c != label - 1]
        assert not dlogits[region, others].any()
        np.testing.assert_allclose(dlogits[region, label - 1], (p[region] - targets[region]) / targets.size)
    assert mask_loss(logits[:0], labels[:0], targets[:0].astype(float))[0] == 0  # no object in the batch


def test_masks_are_those_of_the_class_that_the_box_branch_chose():
    head = MaskHead(4, 3, Options(mask_channels=6), rng=np.random.default_rng(0)).astype(np.float64)
    y = head(np.random.default_rng(1).normal(size=(2, 4, 14, 14)))
    assert y.shape == (2, 3, 28, 28)
    np.testing.assert_allclose(mask_grids(y, np.array([3, 1])), 1 / (1 + np.exp(-np.stack([y[0, 2], y[1, 0]]))))
    sure = np.array([-1000, 0, 1000], np.float32).reshape(1, 1, 1, 3)  # nothing overflows
    assert mask_grids(sure, np.array([1])).tolist() == [[[0, 0.5, 1]]]


def test_sampled_masks_belong_to_the_objects_of_their_regions():
    data, model = Shapes(2, (64, 80), seed=6), build()
    batch = instance_batch(model, [data[0], data[1]])
    _, cache = model.loss(batch, np.random.default_rng(0))
    regions, fg, masks = cache.sampled
    assert len(fg) == len(masks) and masks.shape[1:] == (28, 28) and (regions.roi_labels[fg] > 0).all()
    assert 0.2 < masks.mean() < 1
    gt = [
        np.flatnonzero((batch[1][n]["boxes"] == box).all(axis=1)) for n, box in zip(regions.image_index, regions.rois)
    ]
    whole = [(k, own[0]) for k, own in enumerate(gt) if len(own) and k in fg]  # the objects' own boxes are regions, too
    for k, own in whole:
        box, n = regions.rois[k], regions.image_index[k]
        share = batch[1][n]["masks"][own].sum() / np.prod(box[2:] - box[:2])
        assert masks[np.flatnonzero(fg == k)[0]].mean() == pytest.approx(share, abs=0.06)
    assert whole


def test_two_images_are_learned_by_heart():
    metrics = learn(build(), scenes(3), steps=60, slower=45)
    assert metrics["mask_AP50"] == 1 and metrics["APr_0.7"] == 1 and metrics["mask_AP"] > 0.7


def test_a_batch_without_objects_and_one_without_detections():
    data, model = Shapes(1, (64, 80)), build()
    keys = ("boxes", "labels", "difficult", "masks")
    empty = data[0] | {key: data[0][key][:0] for key in keys}
    losses, cache = model.loss(instance_batch(model, [empty]), np.random.default_rng(0))
    model.backward(cache)
    assert losses["mask"] == 0
    found = model.segment_objects(np.zeros((70, 50, 3), np.uint8))
    assert found["masks"].shape == (len(found["boxes"]), 70, 50) and found["masks"].dtype == bool
