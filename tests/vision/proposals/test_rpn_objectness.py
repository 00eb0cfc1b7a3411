"""Proposals of a region proposal network: those of its own model, in the photograph's pixels."""

import numpy as np
import pytest

import vision
from nn.io.checkpoint import write_checkpoint
from vision.proposals import build_proposer
from vision.training.saving import prefixed

SMALL = {"width": 2, "stride": 8, "hidden": 12, "anchor_scales": [16, 32], "short_side": 40, "max_side": 60}
PICTURE = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)


def save(path, model):
    write_checkpoint(path, prefixed("model/", model.state_dict()), {"model": model.config})
    return str(path)


@pytest.fixture
def detector(tmp_path):
    model = vision.build("faster_rcnn_small", ["a"], np.random.default_rng(1), **SMALL)
    return model, save(tmp_path / "a.npz", model)


def test_boxes_are_the_models_own_in_pixels_of_the_photograph(detector):
    model, path = detector
    boxes, scores = build_proposer("rpn", run=path, count=50)(PICTURE)
    images = model.preprocess.batch([model.preprocess.scaled(PICTURE)])
    features = model.backbone(images)
    (s,), (d,) = model.rpn(features)
    anchors = model.rpn.anchors(features)
    own = model.rpn.propose(s, d, anchors, (40, 60), training=False)[: len(boxes)]
    np.testing.assert_allclose(boxes[: len(own)], 2 * own, rtol=0, atol=1e-4)
    assert (np.diff(scores) <= 0).all() and len(boxes) <= 50


def test_another_network_is_another_cache(detector, tmp_path):
    first = build_proposer("rpn", cache=tmp_path / "kept", run=detector[1])
    other = vision.build("faster_rcnn_small", ["a"], np.random.default_rng(2), **SMALL)
    save(tmp_path / "a.npz", other)
    assert build_proposer("rpn", cache=tmp_path / "kept", run=detector[1]).folder != first.folder


def test_refused(tmp_path):
    with pytest.raises(ValueError, match="rpn: give run"):
        build_proposer("rpn")
    with pytest.raises(ValueError, match="nothing: no such file or folder"):
        build_proposer("rpn", run="nothing")
    name = next(name for name, entry in vision.MODELS.items() if "cifar" in name and entry.task == "classification")
    for model in (vision.build(name, ["a", "b"]), vision.build("faster_rcnn_fpn_small", ["a"], width=2, hidden=4)):
        with pytest.raises(ValueError, match="has no region proposal network on one map"):
            build_proposer("rpn", run=save(tmp_path / f"{model.name}.npz", model))
