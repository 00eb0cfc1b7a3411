"""Heads of regions: where published fully connected layers go."""

import numpy as np
import pytest

import vision
from vision.registry import find


@pytest.mark.parametrize("layers", [(0, 3, 6), (1, 4, 6)], ids=["VGG-16", "AlexNet"])
@pytest.mark.parametrize("name, heads", [("fast_rcnn", ["head."]), ("rcnn", ["head."]), ("sds", ["box.", "region."])])
def test_fc6_and_fc7_of_a_published_network_are_the_heads(name, heads, layers):
    model = vision.build(name, ["a", "b"], np.random.default_rng(0), **find(name).tiny.options)
    arrays = {f"classifier.{k}.{what}": np.full(2, k) for k in layers for what in ("weight", "bias")}
    named, own = model.pretrained_names(arrays), model.state_dict()
    for head in heads:
        for what in ("weight", "bias"):
            found = [named.get(f"{head}classifier.{k}.{what}") for k in (0, 3)]
            assert [x is not None and x[0] for x in found] == list(layers[:2])
            assert {f"{head}classifier.{k}.{what}" for k in (0, 3)} <= own.keys()
