"""The whole detector: gradients of every parameter, overfitting two images, and the equations of its losses."""

import numpy as np
import pytest

import nn
import vision
from datasets import Shapes
from nn import Adam, clip_gradient_norm
from nn.gradcheck import check_layer, check_model
from tests.vision.published import shared
from vision.boxes.region_heads import RegionHead
from vision.boxes.rpn import RPN
from vision.detection.faster_rcnn import Options
from vision.detection.metrics import evaluate_detections
from vision.detection.task import detector_batch
from vision.training.saving import load_pretrained

CLASSES = ("circle", "square", "triangle")
VGG16_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
TINY = {
    "width": 4, "stride": 8, "hidden": 12, "anchor_scales": (16, 32), "anchor_samples": 32,
    "roi_samples": 16, "min_size": 2,
}  # fmt: skip


def tiny(**options):
    return vision.build("faster_rcnn_small", CLASSES, np.random.default_rng(3), **TINY | options)


def scenes(model, n=2, size=(48, 64), dtype=np.float64, seed=5):
    data = Shapes(n, size, seed=seed)
    images, targets = detector_batch(model, [data[i] for i in range(n)])
    return images.astype(dtype), targets


def off_the_kinks(model):
    """Biases that are not 0: a ReLU whose inputs are all 0 would be at its kink."""
    rng = np.random.default_rng(4)
    for name, parameter in model.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.1 * rng.standard_normal(parameter.value.shape)
    return model


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3, "rounding": "split", "rpn_beta": 1 / 9}], ids=["", "options"])
def test_every_gradient_of_the_whole_model(options):
    """By the complex step, which has no step error: measured 1e-10 and better, tolerance 1e-6."""
    model = off_the_kinks(tiny(**options))
    errors = check_model(model, scenes(model, size=(32, 48)), complex_step=True, tolerance=1e-9)
    assert set(errors) == set(model.parameters())


def test_every_gradient_by_central_differences():
    """A second opinion, on a case so small that no ReLU or maximum changes within a step."""
    model = off_the_kinks(tiny(width=2))
    check_model(model, scenes(model, size=(32, 48)), complex_step=False, tolerance=1e-6)


def vgg16_variant(**options):
    """All of the paper's layers, narrower."""
    narrow = {"width": 8, "hidden": 8, "rpn_channels": 8, "anchor_scales": (16,), "min_size": 4}
    narrow |= {"anchor_samples": 16, "roi_samples": 8}
    return off_the_kinks(vision.build("faster_rcnn_vgg16", CLASSES, np.random.default_rng(3), **narrow | options))


def test_gradients_of_the_vgg16_variant():
    """On one small image, by the complex step."""
    model = vgg16_variant()
    errors = check_model(model, scenes(model, n=1, size=(32, 32)), complex_step=True, tolerance=1e-9)
    assert errors.keys() == model.parameters().keys()


def test_frozen_stages_get_no_gradient_and_the_others_the_same_bits():
    gradients = {}
    for frozen in (None, "pool4"):
        model = vgg16_variant(frozen=frozen)
        _, cache = model.loss(scenes(model, n=1, size=(32, 32), dtype=np.float32), np.random.default_rng(0))
        model.backward(cache)
        learned = {name: parameter for name, parameter in model.parameters().items() if parameter.trainable}
        assert all(parameter.grad.any() for name, parameter in learned.items())
        assert not any(p.grad.any() for name, p in model.parameters().items() if name not in learned)
        gradients[frozen] = {name: parameter.grad for name, parameter in learned.items()}
    assert len(gradients[None]) - len(gradients["pool4"]) == 20
    for name, gradient in gradients["pool4"].items():
        np.testing.assert_array_equal(gradient, gradients[None][name], err_msg=name)


def test_published_convolutions_are_loaded_and_conv1_and_conv2_cost_no_backward():
    """Sec. 3.1.3: conv3_1 and up are tuned. What is below only infers, and keeps no cache."""
    model = vgg16_variant(width=64, frozen="pool2")
    assert model.needs_weights
    loaded = load_pretrained(shared("weights", "vgg16", "vgg16_features.npz"), model)
    assert loaded == [f"backbone.features.{i}.{part}" for i in VGG16_CONVOLUTIONS for part in ("weight", "bias")]
    held = [name for name, p in model.parameters().items() if not p.trainable]
    assert held == loaded[:8]
    _, cache = model.loss(scenes(model, n=1, size=(32, 32), dtype=np.float32), np.random.default_rng(0))
    assert [part is None for part in cache.backbone.parts] == 4 * [True] + 5 * [False]


def test_overfits_two_images():
    """Loss near 0 and perfect boxes. (A gap between foreground and background leaves out the regions in between.)"""
    model = tiny(width=8, hidden=128, anchor_samples=64, roi_samples=64, background_iou=(0.0, 0.4))
    batch = scenes(model, dtype=np.float32, seed=11)  # two objects and three
    optimiser, steps, totals = Adam(model.parameters(), lr=2e-3), 170, []
    for step in range(steps):
        model.zero_grad()
        losses, cache = model.loss(batch, np.random.default_rng(step))
        model.backward(cache)
        clip_gradient_norm(model.parameters(), 5.0)
        optimiser.step(1 - step / steps)
        totals.append(sum(losses.values()))
    assert totals[0] > 2
    assert np.mean(totals[-20:]) < 0.05  # measured: 0.014
    for step in range(20):  # running statistics lag behind in so short a run
        model.loss(batch, np.random.default_rng(step))
    found, truth = model.predict(batch[0]), batch[1]
    assert evaluate_detections(found, truth, CLASSES, iou_threshold=0.75)["mean"] == 1.0
    for detected, target in zip(found, truth):
        sure = detected["scores"] > 0.5
        assert sorted(detected["labels"][sure]) == sorted(target["labels"])


def test_losses_follow_the_equations():
    """Faster R-CNN eq. 1 and Fast R-CNN eq. 1, written out with loops over anchors and regions."""
    model, rng = tiny(rpn_beta=0.5), np.random.default_rng(1)
    k, h, w = 6, 3, 4
    a, r, c = h * w * k, 5, len(CLASSES)
    scores, deltas = rng.standard_normal((2, a, 2)), rng.standard_normal((2, a, 4))
    logits, box_deltas = rng.standard_normal((r, 1 + c)), rng.standard_normal((r, c, 4))
    anchor_labels, anchor_deltas = rng.integers(-1, 2, (2, a)), rng.standard_normal((2, a, 4))
    roi_labels, roi_deltas = np.array([0, 3, 1, 0, 2]), rng.standard_normal((r, 4))

    def robust(d, beta):
        return sum(0.5 * x * x / beta if abs(x) < beta else abs(x) - 0.5 * beta for x in d)

    def surprise(z, label):
        return -np.log(np.exp(z[label]) / np.exp(z).sum())

    pairs = [(n, i) for n in range(2) for i in range(a)]
    counted = [p for p in pairs if anchor_labels[p] >= 0]
    rpn_cls = sum(surprise(scores[p], anchor_labels[p]) for p in counted) / len(counted)
    rpn_box = sum(robust(deltas[p] - anchor_deltas[p], 0.5) for p in pairs if anchor_labels[p] == 1)
    cls = sum(surprise(logits[i], roi_labels[i]) for i in range(r)) / r
    box = sum(robust(box_deltas[i, label - 1] - roi_deltas[i], 1.0) for i, label in enumerate(roi_labels) if label) / r

    rpn, _ = model.rpn.loss((scores, deltas), anchor_labels, anchor_deltas)
    head, _ = model.head.loss((logits, box_deltas), roi_labels, roi_deltas)
    assert rpn["rpn_cls"] == pytest.approx(rpn_cls, rel=1e-12)
    assert rpn["rpn_box"] == pytest.approx(10 * rpn_box / (2 * h * w), rel=1e-12)  # lambda = 10, N_reg = locations
    assert head["cls"] == pytest.approx(cls, rel=1e-12)
    assert head["box"] == pytest.approx(box, rel=1e-12)


def test_rpn_orders_anchors_as_the_grid_does():
    """Row, column, k: a score at one position of the map is that of this anchor, and its gradient goes back there."""
    rng = np.random.default_rng(0)
    head = RPN(3, 4, Options(rpn_channels=4, anchor_scales=(16, 32), anchor_ratios=(1.0,)), rng=rng)
    (scores, deltas), _ = head.forward(rng.standard_normal((1, 3, 5, 7)).astype(np.float32))
    assert scores.shape == (1, 70, 2)
    assert deltas.shape == (1, 70, 4)
    channels = np.arange(8 * 35, dtype=np.float32).reshape(1, 8, 5, 7)  # 2 anchors x 4 deltas
    rows = head._by_anchor(channels, 4)
    row, column, k = 3, 5, 1
    np.testing.assert_array_equal(rows[0, (row * 7 + column) * 2 + k], channels[0, 4 * k : 4 * k + 4, row, column])
    np.testing.assert_array_equal(head._by_channel(rows, (1, 4, 5, 7)), channels)


@pytest.mark.parametrize("from_scratch", [False, True])
def test_gradients_of_the_heads(from_scratch):
    rng = np.random.default_rng(0)
    sizes = {"rpn_channels": 5, "anchor_scales": (16, 32), "anchor_ratios": (1.0,), "hidden": 7, "dropout": 0.4}
    options = Options(**sizes, from_scratch=from_scratch)
    rpn = RPN(3, 4, options, rng=rng)
    check_layer(rpn, rng.standard_normal((2, 3, 4, 6)), complex_step=True, tolerance=1e-12)
    head = RegionHead(2 * 3 * 4, 3, options, rng=rng)
    check_layer(head, rng.standard_normal((5, 2, 3, 4)), complex_step=True, tolerance=1e-12)
    assert (np.std(rpn.conv.weight.value) > 0.1) == from_scratch
    assert np.std(head.cls_score.weight.value) == pytest.approx(0.01, rel=0.5)
    assert np.std(head.bbox_pred.weight.value) == pytest.approx(0.001, rel=0.5)


def test_images_without_objects_train_and_padded_ones_predict():
    model = tiny()
    images, targets = scenes(model, dtype=np.float32)
    none = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "image_size": (48, 64)}
    losses, cache = model.loss((images, [none, targets[1]]), np.random.default_rng(0))
    assert all(np.isfinite(value) for value in losses.values())
    assert (cache.sampled.roi_labels[cache.sampled.image_index == 0] == 0).all()
    model.backward(cache)

    padded = np.zeros((2, 3, 64, 96), np.float32)
    padded[:, :, :48, :64] = images
    for found in model.predict(padded, image_sizes=[(48, 64), (40, 50)]):
        assert found["boxes"].shape == (len(found["labels"]), 4)
    assert (found["boxes"] <= [50, 40, 50, 40]).all()


@pytest.mark.parametrize("plain", [False, True])
def test_no_regions_give_no_detections_and_head_losses_of_0(plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    model = tiny(min_size=4000)  # no proposal is that large
    images, _ = scenes(model, dtype=np.float32)
    none = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "image_size": (48, 64)}
    losses, cache = model.loss((images, [none, none]), np.random.default_rng(0))
    assert losses["cls"] == losses["box"] == losses["rpn_box"] == 0 < losses["rpn_cls"] and len(cache.sampled.rois) == 0
    model.backward(cache)
    assert not any(p.grad.any() for name, p in model.parameters().items() if name.startswith("head."))
    assert all(np.isfinite(p.grad).all() for p in model.parameters().values())
    assert model.predict(images[:0]) == []
    for found in model.predict(images):
        assert found["boxes"].shape == (0, 4) and found["labels"].shape == found["scores"].shape == (0,)


def test_boxes_that_shrink_to_nothing_are_no_detections():
    model = vision.build("faster_rcnn_small", ["a"])
    model.rpn.bbox_pred.bias.value[2::4] = -20
    (found,) = model.predict(np.zeros((1, 3, 240, 320), np.float32))
    assert {name: array.shape for name, array in found.items()} == {"boxes": (0, 4), "labels": (0,), "scores": (0,)}


@pytest.mark.parametrize("part", ["backbone.", "rpn.", "head.", ""])
def test_weights_of_nan_give_no_detections(part):
    model = tiny()
    for name, parameter in model.parameters().items():
        if name.startswith(part):
            parameter.value[...] = np.nan
    for found in model.predict(scenes(model, dtype=np.float32)[0]):
        assert found["boxes"].shape == (0, 4)


def test_training_is_reproducible_and_sampled_is_reused():
    model = tiny()
    batch = scenes(model)
    model.astype(np.float64)
    first, cache = model.loss(batch, np.random.default_rng(7))
    again, _ = model.loss(batch, np.random.default_rng(7))
    other, _ = model.loss(batch, np.random.default_rng(8))
    repeated, _ = model.loss(batch, np.random.default_rng(8), sampled=cache.sampled)
    assert first == again == repeated
    assert first != other


def test_regions_are_sampled_as_in_the_paper():
    model = tiny(roi_samples=128, anchor_samples=256)
    batch = scenes(model, size=(120, 160))
    kept = model.astype(np.float64).loss(batch, np.random.default_rng(0))[1].sampled
    for n in range(2):
        labels = kept.roi_labels[kept.image_index == n]
        assert len(labels) <= 128
        assert 0 < (labels > 0).sum() <= 32  # at most a quarter foreground; the ground truth is always among it
        sampled = kept.anchor_labels[n][kept.anchor_labels[n] >= 0]
        assert len(sampled) == 256
        assert 0 < sampled.sum() <= 128


def test_the_difference_of_min_size_to_the_authors_code_is_said():
    assert "min_size is in pixels of the resized image" in Options.__doc__


def test_paper_numbers():
    model = vision.build("faster_rcnn_vgg16", [f"c{i}" for i in range(20)], hidden=16)
    assert model.backbone.stride == 16
    assert model.roi_pool.spatial_scale == 1 / 16
    assert len(model.rpn.base_anchors) == 9
    assert model.rpn.conv.weight.value.shape == (512, 512, 3, 3)
    assert model.rpn.cls_logits.weight.value.shape == (18, 512, 1, 1)
    assert model.rpn.bbox_pred.weight.value.shape == (36, 512, 1, 1)
    assert model.head.bbox_pred.weight.value.shape == (80, 16)
    o = model.options
    assert (o.short_side, o.max_side, o.rpn_lambda, o.train_post_nms, o.test_post_nms) == (600, 1000, 10, 2000, 300)


def test_9_anchors_have_54_outputs_at_each_position():
    """Sec. 3.1: 2k scores and 4k coordinates by 1x1 convolutions, k = 3 scales x 3 ratios: 6k = 54."""
    rpn = RPN(16, 16, Options(rpn_channels=16), rng=np.random.default_rng(0))
    (scores, deltas), _ = rpn.forward(np.zeros((1, 16, 38, 63), np.float32))  # an image of 600 x 1000 pixels
    assert (scores.size + deltas.size) / (38 * 63) == 54


def test_both_normalisers_and_lambda_give_both_terms_about_the_same_weight():
    """Eq. 1 by hand: N_cls = 256 anchors, N_reg = 2,400 positions, lambda = 10.

    Scores of 0 cost log 2 each: 256 log 2 / 256. A positive anchor whose four deltas are off by 3 costs
    4 (3 - 0.5) = 10; 24 of them: 10 x 24 x 10 / 2,400 = 1. So the weights of an anchor are 1/256 and 10/2,400 = 1/240.
    """
    rpn = RPN(16, 16, Options(rpn_channels=16), rng=np.random.default_rng(0))
    count = 2400 * 9
    labels, deltas = np.full((1, count), -1), np.zeros((1, count, 4))
    labels[0, :24], labels[0, 24:256], deltas[0, :24] = 1, 0, 3
    outputs = np.zeros((1, count, 2)), np.zeros((1, count, 4))
    losses, (dscores, ddeltas) = rpn.loss(outputs, labels, deltas)
    assert losses["rpn_cls"] == pytest.approx(np.log(2), rel=1e-12)
    assert losses["rpn_box"] == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(dscores[0, :24], [[0.5 / 256, -0.5 / 256]] * 24)
    np.testing.assert_allclose(ddeltas[0, :24], -10 / 2400)
    assert not dscores[0, 256:].any() and not ddeltas[0, 24:].any()


def test_coordinates_are_divided_by_16():
    """A region from 32 to 159 pixels is cells 2 to 10 of conv5_3: 32 / 16 = 2, 159 / 16 = 9.94, rounded 10."""
    pool = vision.build("faster_rcnn_vgg16", ["a"], width=1, hidden=8, rpn_channels=8, pooled_size=1).roi_pool
    features = np.arange(20 * 20, dtype=np.float32).reshape(1, 1, 20, 20)
    pooled = pool(features, np.array([[32, 32, 159, 159]], np.float32), np.zeros(1, np.int64))
    assert pooled.item() == features[0, 0, 10, 10]


def test_vgg16_with_stride_8_has_the_same_weights_on_a_denser_map():
    coarse, dense = (
        vision.build("faster_rcnn_vgg16", ["a"], width=2, hidden=8, rpn_channels=8, stride=stride) for stride in (16, 8)
    )
    images = np.zeros((1, 3, 48, 64), np.float32)
    assert coarse.backbone(images).shape[2:] == (3, 4) and dense.backbone(images).shape[2:] == (6, 8)
    shapes = [{n: a.shape for n, a in model.backbone.state_dict().items()} for model in (coarse, dense)]
    assert shapes[0] == shapes[1] and dense.roi_pool.spatial_scale == 1 / 8
    with pytest.raises(ValueError, match="vgg16: stride must be 8 or 16, got 4"):
        vision.build("faster_rcnn_vgg16", ["a"], hidden=8, stride=4)


def test_config_rebuilds_the_model():
    model = tiny(nms_iou=0.4)
    again = vision.build(**model.config)
    assert again.options == model.options
    again.load_state_dict(model.state_dict())
    images = scenes(model, dtype=np.float32)[0]
    for one, two in zip(model.predict(images), again.predict(images)):
        np.testing.assert_array_equal(one["boxes"], two["boxes"])


def test_summary_counts_everything():
    model = tiny()
    text = nn.summary(model, (1, 3, 48, 64))
    assert f"{sum(p.value.size for p in model.parameters().values()):,}" in text.splitlines()[-1]
    assert "roi_pool" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vision.build("faster_rcnn_small", CLASSES, colour=1), "no option 'colour'; choose from: short_side"),
        (lambda: vision.build("faster_rcnn_small", CLASSES, hidden="many"), "hidden must be a whole number"),
        (lambda: vision.build("faster_rcnn_small", CLASSES, from_scratch="no"), "must be true or false, got .no"),
        (lambda: vision.build("zzz", CLASSES), "no model 'zzz': choose from .*faster_rcnn_small"),
        (lambda: vision.build("faster_rcnn_small", ()), "at least one class"),
        (lambda: vision.register("faster_rcnn_small", "", {}, options=Options)(None), "'faster_rcnn_small' already"),
        (lambda: tiny().predict(np.zeros((3, 48, 64), np.float32)), r"images must have shape \(N, 3, H, W\)"),
        (lambda: tiny().predict(np.zeros((1, 3, 7, 64), np.float32)), r"MaxPool2d: output size \(0, 8\)"),
    ],
)  # fmt: skip
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
