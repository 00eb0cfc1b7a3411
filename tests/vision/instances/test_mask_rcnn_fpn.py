"""Mask R-CNN on a pyramid: published sizes and names, checkpoints, overfitting."""

import numpy as np
import pytest

import vision
from datasets import Shapes
from tests.vision.instances.by_heart import learn, scenes
from vision.instances.task import instance_batch
from vision.training.saving import load_pretrained

CLASSES = ("circle", "square", "triangle")
TINY = {"width": 4, "blocks": (1, 1, 1, 1), "pyramid_channels": 6, "hidden": 10, "mask_channels": 6}


@pytest.fixture(scope="module")
def published():
    """The model for 90 classes and the background."""
    return vision.build("mask_rcnn_resnet50_fpn", [f"{i}" for i in range(90)], np.random.default_rng(0))


def test_parameters_are_as_many_as_published(published):
    """torchvision's table of models: 44,401,393, and 41,755,286 for its Faster R-CNN, which is all but the masks."""
    trainable = {name: p.value.size for name, p in published.parameters().items() if p.trainable}
    assert sum(trainable.values()) == 44_401_393
    assert sum(size for name, size in trainable.items() if "mask" not in name) == 41_755_286
    held = [name for name, p in published.parameters().items() if not p.trainable]
    assert held and all(".bn" in name or "downsample.1" in name for name in held)  # frozen batch normalisation


def old_names(state):
    """torchvision's names of before 2022, as its checkpoint on COCO has them."""
    new = {}
    for name, array in state.items():
        name = name.replace("head.conv.0.0.", "head.conv.").replace("num_batches_tracked", "unused")
        for i in range(4):
            name = name.replace(f"mask_head.{i}.0.", f"mask_head.mask_fcn{i + 1}.")
            for blocks in ("inner_blocks", "layer_blocks"):
                name = name.replace(f"fpn.{blocks}.{i}.0.", f"fpn.{blocks}.{i}.")
        if not name.endswith("unused"):
            new[name] = array
    return new


@pytest.mark.parametrize("rename", [dict, old_names], ids=["new names", "old names"])
def test_checkpoints_load_under_both_generations_of_names(tmp_path, rename):
    model, rng = (
        vision.build("mask_rcnn_resnet50_fpn", CLASSES, np.random.default_rng(0), **TINY),
        np.random.default_rng(1),
    )
    state = {name: rng.random(array.shape).astype(array.dtype) for name, array in model.state_dict().items()}
    np.savez(tmp_path / "published.npz", **rename(state))
    load_pretrained(tmp_path / "published.npz", model)
    for name, array in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(array, state[name], err_msg=name)


def test_frozen_batch_normalisation_stays_as_it_is():
    model = vision.build("mask_rcnn_resnet50_fpn", CLASSES, np.random.default_rng(0), **TINY | {"short_side": 64})
    data = Shapes(2, (64, 80))
    before = {name: array.copy() for name, array in model.state_dict().items() if "bn" in name}
    _, cache = model.loss(instance_batch(model, [data[0], data[1]]), np.random.default_rng(0))
    model.backward(cache)
    for name, array in before.items():
        np.testing.assert_array_equal(model.state_dict()[name], array, err_msg=name)


def test_two_images_are_learned_by_heart():
    options = {"width": 8, "blocks": (1, 1, 1, 1), "pyramid_channels": 24, "hidden": 64, "mask_channels": 24}
    options |= {"short_side": 64, "max_side": 96, "anchor_scales": (12, 24, 48, 96, 192), "roi_samples": 32}
    model = vision.build("mask_rcnn_fpn_small", CLASSES, np.random.default_rng(3), **options, mask_convs=1)
    metrics = learn(model, scenes(3), steps=100, slower=75)
    assert metrics["mask_AP50"] == 1 and metrics["mask_AP"] > 0.7
