"""A detector that classifies proposals gets them, in the pixels that the network sees."""

from dataclasses import dataclass

import numpy as np
import pytest

from datasets import Shapes, compose, horizontal_flip, resize_to
from nn import Linear
from vision.detection import Detector
from vision.detection.task import detect, detector_batch
from vision.options import ImageOptions
from vision.proposals import WithProposals, build_proposer
from vision.registry import find


@dataclass(frozen=True)
class Options(ImageOptions):
    short_side: int = 20  # pixels of the shorter side
    proposals: str = "sliding_windows count=30"  # method


class Echo(Detector):
    """Finds what is proposed."""

    def __init__(self, options=Options()):
        super().__init__(("a",), options, options.preprocess())
        self.proposals, self.layer = options.proposals, Linear(1, 1, rng=np.random.default_rng(0))

    def predict(self, images, image_sizes=None, proposals=None):
        return [{"boxes": p, "labels": np.ones(len(p), int), "scores": np.ones(len(p))} for p in proposals]


PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def test_detect_scales_proposals_to_the_network_and_back():
    found = Echo().detect(PICTURE)["boxes"]
    np.testing.assert_allclose(found, build_proposer("sliding_windows", count=30)(PICTURE)[0], atol=1e-4)


def test_detect_takes_those_that_are_given():
    boxes = np.array([[2, 4, 12, 30]], np.float32)
    np.testing.assert_array_equal(Echo().detect(PICTURE, boxes)["boxes"], boxes)
    sample = {"image": PICTURE, "proposals": boxes}
    np.testing.assert_array_equal(detect(Echo(), sample)["boxes"], boxes)


def test_a_batch_has_those_of_the_augmented_image():
    model = Echo()
    data = WithProposals(Shapes(1, (40, 60)), lambda image: (np.array([[2, 4, 12, 30]], np.float32), None))
    transform = compose(lambda s, rng: resize_to(s, size=model.preprocess.size), horizontal_flip)
    seeds = [np.random.default_rng(s) for s in range(4)]
    _, targets = detector_batch(model, [transform(data[0], rng) for rng in seeds])
    seen = {tuple(target["proposals"][0].tolist()) for target in targets}
    assert seen == {(1, 2, 6, 15), (24, 2, 29, 15)}


def test_a_batch_without_any_has_them_computed():
    _, ((target),) = detector_batch(Echo(), [Shapes(1, (40, 60))[0]])
    assert target["proposals"].shape == (30, 4)


def test_other_detectors_have_none():
    model = Echo()
    model.proposals = None
    _, (target,) = detector_batch(model, [Shapes(1, (40, 60))[0]])
    assert "proposals" not in target


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="no proposal method 'selective_serch_fast'"):
        Echo(Options(proposals="selective_serch_fast")).detect(PICTURE)


@pytest.mark.parametrize("name", ["rcnn", "spp_net", "fast_rcnn", "faster_rcnn_vgg16", "ssd300", "ssd512", "sds"])
def test_biases_learn_twice_as_fast_where_the_authors_trained_with_caffe(name):
    assert find(name).recipe["bias_rate"] == 2


def test_what_spp_net_and_fpn_have_of_their_own():
    """SPP-net's box regression (its code), and FPN's decay of weights (sec. 5.1)."""
    o = find("spp_net").options()
    assert (o.ridge, o.box_iou) == (4000, 0.5) and find("rcnn").options().box_iou == 0.6
    assert "lr_scale" not in find("spp_net").recipe and find("faster_rcnn_resnet50_fpn").recipe["weight_decay"] == 1e-4
