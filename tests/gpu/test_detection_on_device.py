"""Faster R-CNN on the device: the losses, gradients and detections of the CPU; transfers of a step by name."""

import numpy as np
import pytest

import nn
import vision
from datasets import Shapes
from tests.cupy_stand_in import count_transfers, kernels, no_transfers
from vision.boxes.anchors import base_anchors, grid_anchors
from vision.boxes.boxes import clip, decode, encode, iou
from vision.boxes.matching import anchor_targets, sample_rois
from vision.boxes.rpn import propose
from vision.detection.task import detector_batch

CLASSES = ("circle", "square", "triangle")
TINY = {
    "width": 4, "stride": 8, "hidden": 12, "anchor_scales": (16, 32), "anchor_samples": 32, "roi_samples": 16,
    "min_size": 2, "score_threshold": 0.3,
}  # fmt: skip
TOLERANCES = {np.float32: 1e-5, np.float64: 1e-12}
NAMED = "counts_on_cpu", "positions_on_gpu", "number_kept"  # the only functions with a transfer


def detector(dtype, **options):
    """A small detector with large initial weights of the regression layers."""
    model = vision.build("faster_rcnn_small", CLASSES, np.random.default_rng(3), **TINY | options)
    rng = np.random.default_rng(4)
    for layer in (model.rpn.bbox_pred, model.head.bbox_pred, model.head.cls_score):
        layer.weight.value[...] = 0.05 * rng.standard_normal(layer.weight.value.shape)
    return model.astype(dtype)


def scenes(model, dtype, n=2, size=(48, 64)):
    data = Shapes(n, size, seed=5)
    images, targets = detector_batch(model, [data[i] for i in range(n)])
    return images.astype(dtype), targets


def without_objects(target):
    return target | {"boxes": target["boxes"][:0], "labels": target["labels"][:0]}


def step(model, batch, seed=6):
    """(losses, samples, gradients by parameter and of the images)."""
    kept = []
    model.zero_grad()
    losses, cache = model.loss(batch, np.random.default_rng(seed))
    with pytest.MonkeyPatch.context() as patch:  # in training nobody wants that of the images
        patch.setattr(model.backbone, "backward_parameters", lambda *args: kept.append(model.backbone.backward(*args)))
        model.backward(cache)
    (dx,) = kept
    return losses, cache.sampled, {"images": dx} | {name: p.grad for name, p in model.parameters().items()}


def assert_close(got, wanted, tolerance, least=1e-3):
    got = nn.to_device(got, "cpu")
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    assert abs(got - wanted).max(initial=0) <= tolerance * max(least, abs(wanted).max(initial=0))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("objects", ["everywhere", "in one image", "nowhere"])
def test_a_step_is_that_of_the_cpu(objects, dtype, device):
    """The same choices from the same generator, the same losses and gradients."""
    model = detector(dtype)
    images, targets = scenes(model, dtype)
    if objects != "everywhere":
        targets = [
            without_objects(targets[0]),
            targets[1] if objects == "in one image" else without_objects(targets[1]),
        ]
    wanted = step(model, (images, targets))
    got = step(model.to("gpu"), nn.to_device((images, targets), "gpu"))
    for name, value in wanted[0].items():
        assert type(got[0][name]) is float and abs(got[0][name] - value) <= TOLERANCES[dtype] * max(1, value)
    for name, choice in zip(wanted[1]._fields, wanted[1]):
        own = getattr(got[1], name)
        assert isinstance(own, device.ndarray)
        if choice.dtype.kind == "i":
            np.testing.assert_array_equal(device.asnumpy(own), choice, err_msg=name)
        else:
            assert_close(own, choice, TOLERANCES[dtype])
    largest = {}  # of each layer: the gradient of a bias before a batch normalisation is nothing but rounding error
    for name, gradient in wanted[2].items():
        layer = name.rpartition(".")[0]
        largest[layer] = max(0.01, largest.get(layer, 0), abs(gradient).max(initial=0))
    for name, gradient in wanted[2].items():
        assert_close(got[2][name], gradient, TOLERANCES[dtype], least=largest[name.rpartition(".")[0]])


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("threshold", [0.3, 0.999])
def test_detections_are_those_of_the_cpu(threshold, dtype, device):
    model = detector(dtype, score_threshold=threshold)
    images, _ = scenes(model, dtype)
    wanted = model.predict(images, [(48, 64), (40, 50)])
    assert all(len(found["boxes"]) > 3 for found in wanted) or threshold > 0.9
    got = model.to("gpu").predict(device.asarray(images), [(48, 64), (40, 50)])
    for own, found in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(device.asnumpy(own["labels"]), found["labels"])
        for name in ("boxes", "scores"):
            assert_close(own[name], found[name], TOLERANCES[dtype])


def test_the_transfers_of_a_step_by_name(device):
    """For each image three sets of counts are copied to the CPU, twice drawn positions to the GPU; then four losses."""
    model = detector(np.float32).to("gpu")
    batch = nn.to_device(scenes(model, np.float32), "gpu")
    model.loss(batch, np.random.default_rng(0))  # compiles
    with count_transfers() as counted:
        losses, cache = model.loss(batch, np.random.default_rng(0))
    where = {kind: sum(n for (k, _), n in counted.items() if k == kind) for kind in ("in", "out", "wait")}
    assert where == {"in": 2 * 2, "out": 2 * 3 + len(losses), "wait": 0}, counted
    with no_transfers():
        model.backward(cache)
    with count_transfers() as counted:
        model.predict(batch[0])
    assert {caller.split()[-1]: n for (_, caller), n in counted.items()} == {"number_kept": 2 * 2}


def test_two_runs_end_in_the_same_bits_whatever_the_order_of_threads(device, monkeypatch):
    model, results = detector(np.float32).to("gpu"), []
    batch = nn.to_device(scenes(model, np.float32), "gpu")
    for backwards in (False, True):
        monkeypatch.setattr(kernels, "reversed_threads", backwards)
        results.append({name: device.asnumpy(grad) for name, grad in step(model, batch)[2].items()})
    for name, grad in results[0].items():
        np.testing.assert_array_equal(results[1][name], grad, err_msg=name)


@pytest.mark.parametrize("gt", [0, 3])
def test_targets_of_anchors_and_regions(gt, device):
    """Each function alone, with ties: anchors that overlap a box equally, and a proposal equal to the box."""
    anchors = grid_anchors(base_anchors((16, 32), (0.5, 1, 2)), (6, 8), 8)
    boxes = np.float32([[8, 8, 24, 24], [30, 2, 61, 47], [0, 0, 64, 48]])[:gt]
    labels, rng = np.array([1, 2, 3])[:gt], np.random.default_rng(7)
    proposals = np.concatenate([clip(anchors[rng.permutation(len(anchors))[:60]], (48, 64)), boxes])
    calls = [
        lambda to: anchor_targets(to(anchors), to(boxes), (48, 64), np.random.default_rng(8), samples=40),
        lambda to: anchor_targets(to(anchors), to(boxes), (48, 64), np.random.default_rng(8), border=100, samples=9),
        lambda to: anchor_targets(to(anchors), to(boxes), (4, 4), np.random.default_rng(8)),  # no anchor inside
        lambda to: sample_rois(to(proposals), to(boxes), to(labels), np.random.default_rng(9), num_classes=3),
        lambda to: sample_rois(
            to(proposals[:0]), to(boxes), to(labels), np.random.default_rng(9), num_classes=3, add_ground_truth=False
        ),
    ]

    def moved(a):
        return device.asarray(a)

    for call in calls:
        with no_transfers(*NAMED, "moved"):
            got = call(moved)
        for own, wanted in zip(got, call(np.asarray), strict=True):
            assert isinstance(own, device.ndarray)
            np.testing.assert_allclose(device.asnumpy(own), wanted, rtol=1e-6, atol=1e-6)


def test_proposals_with_none_large_enough_ties_and_nan(device):
    anchors = grid_anchors(base_anchors((16, 32), (0.5, 1, 2)), (6, 8), 8)
    rng = np.random.default_rng(10)
    deltas = (0.3 * rng.standard_normal((len(anchors), 4))).astype(np.float32)
    scores = np.round(rng.standard_normal(len(anchors)), 1).astype(np.float32)
    deltas[::50, 2], scores[7::40] = np.nan, np.nan
    for options in ({"min_size": 8}, {"min_size": 1000}, {"min_size": 4, "pre_nms": 100, "post_nms": 7}):
        moved = [device.asarray(a) for a in (scores, deltas, anchors)]
        with no_transfers("number_kept"):
            got = propose(*moved, (48, 64), **options)
        for own, wanted in zip(got, propose(scores, deltas, anchors, (48, 64), **options)):
            np.testing.assert_allclose(device.asnumpy(own), wanted, rtol=1e-6, atol=1e-5)


def test_boxes(device):
    rng = np.random.default_rng(11)
    a, b = (np.sort(rng.uniform(-5, 60, (n, 2, 2)), axis=1).reshape(n, 4).astype(np.float32) for n in (7, 5))
    a[2] = a[2, [2, 1, 0, 3]]  # inverted
    for function, args in ((iou, (a, b)), (iou, (a, b[:0])), (encode, (b, b[::-1])), (decode, (0.1 * b, b)),
                           (lambda x: clip(x, (30, 40)), (a,))):  # fmt: skip
        moved = [device.asarray(x) for x in args]
        with no_transfers():
            got = function(*moved)
        np.testing.assert_allclose(device.asnumpy(got), function(*args), rtol=1e-6, atol=1e-6)
