"""Mask R-CNN on published features: their names, what is held, key points."""

import numpy as np
import pytest

import vision
from datasets import Shapes
from tests.vision.backbones.over_pixels import assert_cells_over_pixels
from vision.instances.task import instance_batch
from vision.registry import find
from vision.training.saving import load_pretrained


def build(name, **options):
    return vision.build(name, ("pet",), np.random.default_rng(0), **find(name).tiny.options | options)


@pytest.mark.parametrize("backbone, layers", [("alexnet", 5), ("vgg16", 13)])
def test_weights_of_a_classifier_are_taken(tmp_path, backbone, layers):
    model, rng = build("mask_rcnn_published", backbone=backbone), np.random.default_rng(1)
    own = {name: array for name, array in model.backbone.state_dict().items() if name.endswith("weight")}
    assert len(own) == layers and all(name.startswith("features.") for name in own)
    small = {name: rng.random((len(array), 1, 1, 1)).astype(np.float32) for name, array in own.items()}
    weights = {name: np.broadcast_to(small[name], array.shape) for name, array in own.items()}
    np.savez(tmp_path / "published.npz", **weights | {"classifier.1.weight": np.zeros((2, 2), np.float32)})
    load_pretrained(tmp_path / "published.npz", model)
    for name, array in model.backbone.state_dict().items():
        if name in weights:
            np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize("name", ["mask_rcnn_published", "keypoint_rcnn_published", "mnc_small"])
def test_cells_lie_over_the_pixels_that_anchors_and_regions_take_them_for(name):
    assert_cells_over_pixels(build(name, backbone="alexnet").backbone)


@pytest.mark.parametrize("name", ["mask_rcnn_published", "keypoint_rcnn_published", "mnc_small"])
def test_held_features_have_no_gradient(name):
    model, data = build(name, backbone="alexnet", frozen="conv5"), Shapes(2, (64, 80), classes=["circle"])
    assert model.needs_weights and not build(name, frozen=None).needs_weights
    losses, cache = model.loss(instance_batch(model, [data[0], data[1]]), np.random.default_rng(0))
    model.backward(cache)
    assert not any(p.grad.any() for p in model.backbone.parameters().values())
    masks = model.head.mask if name == "mnc_small" else model.mask_head
    assert any(p.grad.any() for p in masks.parameters().values())
    assert ("keypoint" in losses) == name.startswith("keypoint")
