"""Gradients of all models of this room: the losses of all their stages, by central differences and complex steps."""

import pytest

import vision
from scripts.gradcheck import check_tiny_model, pairs_of
from tests.vision.localization.models import tiny
from vision.registry import find

NAMES = sorted(name for name, entry in vision.MODELS.items() if "vision.localization" in entry.module)


@pytest.mark.parametrize("complex_step", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_gradients(name, complex_step):
    check_tiny_model(name, find(name).tiny, complex_step)


def test_every_loss_is_among_them():
    losses = {name: {loss for loss, _ in pairs_of(tiny(name)[0])} for name in NAMES}
    two_steps = {"class_loss", "box_loss"}
    assert losses == {
        "localizer": {"loss"}, "localizer_alexnet": {"loss"}, "localizer_small": two_steps, "localizer_cells": {"loss"},
        "deep_pose": {"loss", "refine_loss"}, "deep_pose_small": {"loss", "refine_loss"},
        "deep_pose_maps": {"loss", "refine_loss"},
        "overfeat": {"loss"}, "overfeat_small": two_steps, "overfeat_detector_small": two_steps,
    }  # fmt: skip


def test_an_error_in_the_cascade_is_found():
    """The check trains the second network in its own stage: it would not see an error in a stage that never begins."""
    entry = find("deep_pose")

    def wrong(classes, options, rng):
        model = entry.make(classes, options, rng)
        own = model.refine_backward
        model.refine_backward = lambda cache: own(cache._replace(dpoints=2 * cache.dpoints))
        return model

    vision.MODELS["wrong"] = entry._replace(name="wrong", make=wrong)
    try:
        with pytest.raises(AssertionError, match="the derivative along a random direction of networks.1"):
            check_tiny_model("wrong", entry.tiny, True)
    finally:
        del vision.MODELS["wrong"]
