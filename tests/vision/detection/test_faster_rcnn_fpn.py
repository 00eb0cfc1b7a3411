"""Faster R-CNN on a pyramid: published size and names, levels by area, overfitting two images."""

import numpy as np

import vision
from datasets import Shapes
from nn import Adam, clip_gradient_norm
from vision.boxes.pyramid import PyramidAlign
from vision.detection.faster_rcnn_fpn import Options
from vision.detection.metrics import evaluate_detections
from vision.detection.task import detector_batch
from vision.registry import find

CLASSES = ("circle", "square", "triangle")
SMALL = {"width": 8, "blocks": (1, 1, 1, 1), "pyramid_channels": 24, "hidden": 64, "roi_samples": 32}


def small(**options):
    return vision.build("faster_rcnn_fpn_small", CLASSES, np.random.default_rng(3), **SMALL | options)


def scenes(model):
    data = Shapes(2, (64, 80), seed=6, max_objects=3)
    return detector_batch(model, [data[0], data[1]])


def test_parameters_are_as_many_as_published():
    """torchvision's table of models: 41,755,286 for 90 classes and the background."""
    model = vision.build("faster_rcnn_resnet50_fpn", [f"{i}" for i in range(90)], np.random.default_rng(0))
    assert sum(p.value.size for p in model.parameters().values() if p.trainable) == 41_755_286


def test_a_region_of_224_pixels_is_pooled_from_p4_and_one_of_half_its_side_from_p3():
    """k = floor(4 + log2(sqrt(w h) / 224)), eq. 1, within P2 .. P5: by area, whatever the shape."""
    align = PyramidAlign(7, (4, 8, 16, 32), 2, Options().canonical)
    sizes = np.array([(224, 224), (112, 112), (111, 112), (448, 112), (448, 448), (900, 900), (56, 56), (16, 16)])
    rois = np.concatenate([np.zeros_like(sizes), sizes], axis=1).astype(np.float32)
    assert (align.level(rois) + 2).tolist() == [4, 3, 2, 4, 5, 5, 2, 2]


def test_each_level_has_the_anchors_of_one_scale():
    model = vision.build("faster_rcnn_fpn_small", ("a",))
    maps = model.backbone(np.zeros((1, 3, 64, 96), np.float32))
    assert [x.shape[2:] for x in maps] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    anchors, start = model.rpn.anchors(maps), 0
    for x, scale in zip(maps, model.options.anchor_scales):
        count = 3 * x.shape[2] * x.shape[3]  # three ratios
        sides = anchors[start : start + count, 2:] - anchors[start : start + count, :2]
        np.testing.assert_allclose(sides.prod(axis=1), scale**2, rtol=1e-5)
        start += count
    assert start == len(anchors)


def test_new_layers_of_the_rpn_are_small_gaussians_but_from_scratch():
    for from_scratch, std in ((False, 0.01), (True, (2 / (9 * 24)) ** 0.5)):
        head = small(from_scratch=from_scratch).rpn.head
        assert abs(head.conv[0][0].weight.value.std() / std - 1) < 0.05
        assert abs(head.bbox_pred.weight.value.std() / 0.01 - 1) < 0.2
    assert not find("faster_rcnn_resnet50_fpn").options().from_scratch


def test_weights_of_a_resnet_are_those_of_the_body():
    model = small()
    arrays = {name.removeprefix("backbone.body."): array for name, array in model.state_dict().items()}
    named = model.pretrained_names({"conv1.weight": arrays["conv1.weight"], "fc.weight": np.zeros((2, 2))})
    assert list(named) == ["backbone.body.conv1.weight", "fc.weight"]


def test_overfits_two_images():
    model = small(short_side=64, max_side=96, anchor_scales=(12, 24, 48, 96, 192), canonical=28.0)
    batch, steps = scenes(model), 60
    optimiser = Adam(model.parameters(), lr=0.003)
    for step in range(steps):
        model.zero_grad()
        _, cache = model.loss(batch, np.random.default_rng(step))
        model.backward(cache)
        clip_gradient_norm(model.parameters(), 10)
        optimiser.step(1 - step / steps)
    assert evaluate_detections(model.predict(batch[0]), batch[1], CLASSES)["mean"] == 1.0


def test_images_without_objects_train():
    model = small()
    images, targets = scenes(model)
    none = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    losses, cache = model.loss((images, [target | none for target in targets]), np.random.default_rng(0))
    model.backward(cache)
    assert losses["box"] == losses["rpn_box"] == 0 and all(
        np.isfinite(p.grad).all() for p in model.parameters().values()
    )
