"""Fast R-CNN: its mini-batch, the box loss of background, truncated SVD, poolings, two images learned, bad input."""

import numpy as np
import pytest

import nn
import vision
from datasets import Shapes
from nn import Adam, Linear, clip_gradient_norm
from nn.gradcheck import check_model
from tests.vision.backbones.over_pixels import assert_cells_over_pixels
from vision.boxes import iou
from vision.boxes.deformable_pooling import DeformableRegionPool
from vision.detection.metrics import evaluate_detections
from vision.detection.task import detector_batch, evaluate_detector
from vision.detection.truncated import truncated
from vision.proposals import WithProposals, build_proposer

CLASSES = ("circle", "square", "triangle")
SMALL = {"proposals": "sliding_windows count=1000", "width": 6, "stride": 8, "hidden": 48, "short_side": 48}


def small(**options):
    return vision.build("fast_rcnn_small", CLASSES, np.random.default_rng(3), **SMALL | options)


def scenes(model, size=(48, 64), seed=11):
    data = Shapes(2, size, seed=seed)
    return detector_batch(model, [data[0], data[1]])


@pytest.mark.parametrize("options", [{"stride": 4}, {}, {"backbone": "alexnet", "stride": 16}])
def test_cells_lie_over_the_pixels_that_anchors_and_regions_take_them_for(options):
    assert_cells_over_pixels(small(**options).backbone)


def test_a_batch_is_64_regions_of_each_of_two_images_a_quarter_of_them_objects():
    """Sec. 2.3, image-centric: R = 128, N = 2; objects from IoU 0.5 on, background within [0.1, 0.5)."""
    o = vision.MODELS["fast_rcnn"].options()
    assert (vision.MODELS["fast_rcnn"].recipe["batch_size"], o.roi_samples, o.foreground_fraction) == (2, 64, 0.25)
    assert o.background_iou == (0.1, 0.5) and o.foreground_iou == 0.5
    model = small(proposals="sliding_windows count=2000")
    images, targets = scenes(model, size=(120, 160))
    _, cache = model.loss((images, targets), np.random.default_rng(0))
    for n, target in enumerate(targets):
        own = cache.sampled.image_index == n
        labels, overlap = cache.sampled.labels[own], iou(cache.sampled.rois[own], target["boxes"]).max(axis=1)
        assert len(labels) == 64 and 0 < (labels > 0).sum() <= 16
        assert (overlap[labels > 0] >= 0.5).all()
        assert ((overlap[labels == 0] >= 0.1) & (overlap[labels == 0] < 0.5)).all()


def test_class_0_switches_the_box_loss_off():
    """L = L_cls + [u >= 1] L_loc, eq. 1: two regions, one of background; the other is off by 2, so L_loc = 4 x 1.5."""
    model = small()
    outputs = np.zeros((2, 4)), np.zeros((2, 3, 4))
    losses, (dlogits, ddeltas) = model.head.loss(outputs, np.array([0, 2]), np.full((2, 4), 2.0))
    assert losses["cls"] == pytest.approx(np.log(4)) and losses["box"] == pytest.approx(4 * 1.5 / 2)
    assert dlogits.all() and not ddeltas[0].any()
    np.testing.assert_array_equal(ddeltas[1], [[0] * 4, [-0.5] * 4, [0] * 4])  # of the true class alone


@pytest.mark.parametrize("t", [3, 5])
def test_a_truncated_layer_is_the_nearest_of_its_rank(t):
    """By its definition: the sum of the t largest parts s u v'. All of them: the layer itself."""
    rng = np.random.default_rng(0)
    layer = Linear(7, 5, rng=rng).astype(np.float64)
    layer.bias.value[...] = rng.standard_normal(5)
    x, pair = rng.standard_normal((4, 7)), truncated(layer, t)
    u, s, v = np.linalg.svd(layer.weight.value)
    weight = sum(s[i] * np.outer(u[:, i], v[i]) for i in range(t))
    np.testing.assert_allclose(pair(x), x @ weight.T + layer.bias.value, atol=1e-12)
    assert [p.value.shape for p in pair.parameters().values()] == [(t, 7), (5, t), (5,)]
    if t == 5:
        np.testing.assert_allclose(pair(x), layer(x), atol=1e-12)


def test_all_singular_values_give_the_same_detections_and_checkpoints_stay_as_they_are():
    model, exact = small(), small(svd=(48, 48))
    exact.load_state_dict(model.state_dict())
    images, targets = scenes(model)
    proposals = [target["proposals"] for target in targets]
    for one, two in zip(model.predict(images, None, proposals), exact.predict(images, None, proposals)):
        np.testing.assert_allclose(one["scores"], two["scores"], atol=1e-5)
    assert exact.state_dict().keys() == model.state_dict().keys()
    with pytest.raises(ValueError, match="svd is for testing"):
        exact.stages()
    with pytest.raises(ValueError, match="svd must be within 1 .. 48, got 49"):
        small(svd=(49, 8)).predict(images, None, proposals)


@pytest.mark.parametrize(
    ("pooling", "kind"),
    [("pool", nn.RoIPool), ("align", nn.RoIAlign), ("warp", nn.RoIWarp), ("deformable", DeformableRegionPool)],
    ids=lambda x: str(x),
)
def test_regions_are_pooled_in_four_ways(pooling, kind):
    model = small(pooling=pooling, width=2, hidden=6, roi_samples=8)
    assert type(model.roi_pool) is kind
    images, targets = scenes(model, size=(32, 48))
    for name, parameter in model.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.1 * np.random.default_rng(4).standard_normal(parameter.value.shape)
    check_model(model, (images.astype(np.float64), targets), complex_step=True, tolerance=1e-9)


def test_offsets_of_deformable_pooling_move_slowly():
    (stage,) = small(pooling="deformable").stages()
    assert stage.recipe == {"lr_scale": {"roi_pool": 0.01}} and small().stages()[0].recipe == {}


def test_overfits_two_images():
    model = small(stride=4, hidden=64, roi_samples=32, background_iou=(0.0, 0.4))
    batch, steps = scenes(model), 80
    optimiser = Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        model.zero_grad()
        _, cache = model.loss(batch, np.random.default_rng(step))
        model.backward(cache)
        clip_gradient_norm(model.parameters(), 5.0)
        optimiser.step(1 - step / steps)
    for step in range(30):  # running statistics lag behind in so short a run
        model.loss(batch, np.random.default_rng(step))
    found = model.predict(batch[0], None, [target["proposals"] for target in batch[1]])
    assert evaluate_detections(found, batch[1], CLASSES)["mean"] == 1.0


def test_a_frozen_backbone_needs_weights_and_backward_ends_above_conv2():
    model = vision.build("fast_rcnn", CLASSES, hidden=8, stride=16, proposals="sliding_windows count=100")
    assert model.needs_weights
    held = [name for name, p in model.parameters().items() if not p.trainable]
    assert held == [f"backbone.features.{i}.{part}" for i in (0, 2, 5, 7) for part in ("weight", "bias")]
    _, cache = model.loss(scenes(model, size=(32, 48)), np.random.default_rng(0))
    assert cache.backbone.parts[:4] == [None] * 4 and cache.backbone.parts[4] is not None


def test_proposals_come_from_the_data_set_or_are_computed():
    model, data = small(), Shapes(2, (48, 64), seed=11)
    for dataset in (data, WithProposals(data, build_proposer("sliding_windows", count=20))):
        assert evaluate_detector(model, dataset)["images"] == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, b: m.loss((b[0], [t | {"id": "7"} for t in b[1]]), None), "FastRCNN: 7 has no proposals"),
        (lambda m, b: m.predict(b[0]), "predict needs the proposals of each image, got none"),
        (lambda m, b: m.predict(b[0], None, [np.zeros((0, 4))]), "proposals of each image, got 1 for 2 images"),
        (lambda m, b: small(backbone="alexnet"), "stride of alexnet must be 16, got 8"),
        (lambda m, b: small(proposals="selective").proposer, "there is no proposal method 'selective'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(make, message):
    model = small()
    images, targets = scenes(model)
    targets = [{key: value for key, value in target.items() if key != "proposals"} for target in targets]
    with pytest.raises(ValueError, match=message):
        make(model, (images, targets))


def test_no_proposals_and_no_objects():
    model = small()
    images, targets = scenes(model)
    none = np.zeros((0, 4), np.float32)
    empty = {"proposals": none, "boxes": none, "labels": np.zeros(0, np.int64)}
    losses, cache = model.loss((images, [targets[0], targets[1] | empty]), np.random.default_rng(0))
    model.backward(cache)
    assert all(np.isfinite(value) for value in losses.values()) and (cache.sampled.image_index == 0).all()
    assert [len(found["boxes"]) for found in model.predict(images[:1], None, [none])] == [0]
