"""YOLO: the paper's sizes, eq. 3 by loops, a worked example, gradients, overfitting, pretraining, bad input."""

import numpy as np
import pytest

import vision
from datasets import VOC_CLASSES, Shapes
from nn import Adam
from nn.gradcheck import check_model
from vision.boxes.boxes import iou
from vision.detection.metrics import evaluate_detections
from vision.detection.task import detector_batch

CLASSES = ("circle", "square", "triangle")
RNG = np.random.default_rng(0)


def small(**options):
    options = {"width": 4, "short_side": 96, "grid": 3} | options
    return vision.build("yolo_small", CLASSES, np.random.default_rng(3), **options)


def scenes(model, n=2, seed=5):
    data = Shapes(n, (model.options.short_side,) * 2, seed=seed)
    return detector_batch(model, [data[i] for i in range(n)])


@pytest.mark.parametrize("name", ["yolo", "yolo_fast"])
def test_7x7x30_for_the_20_classes_of_voc(name):
    model = vision.build(name, VOC_CLASSES, RNG, width=1, hidden=2)
    assert model(np.zeros((1, 3, 448, 448), np.float32)).shape == (1, 30, 7, 7)
    assert {part: len(values) for part, values in model.parts().items()} == {"box": 8, "confidence": 2, "class": 20}


def test_the_small_network_halves_the_image_down_to_the_grid():
    for grid, stride, channels in ((3, 32, 128), (6, 16, 64), (12, 8, 32)):
        backbone = small(grid=grid).backbone
        assert (backbone.stride, backbone.out_channels) == (stride, channels)


def test_layers_of_the_paper():
    """24 convolutions and 2 connected layers, 9 and 3 in the fast network; strides of 64 at the end."""
    for name, convolutions, connected in (("yolo", 24, 2), ("yolo_fast", 9, 3)):
        model = vision.build(name, VOC_CLASSES, RNG, width=1, hidden=2)
        weights = [p.value.ndim for n, p in model.parameters().items() if n.endswith("weight")]
        assert (weights.count(4), weights.count(2)) == (convolutions, connected)
    assert (model.backbone.stride, model.backbone.out_channels) == (64, 64)


def test_parameters_of_the_paper():
    """Fig. 3 by hand, at an eighth of the width: weights of a convolution, inputs * outputs * kernel^2."""
    figure = [(7, 64), (3, 192), (1, 128), (3, 256), (1, 256), (3, 512), *[(1, 256), (3, 512)] * 4, (1, 512), (3, 1024)]
    figure += [*[(1, 512), (3, 1024)] * 2, *[(3, 1024)] * 4]
    weights, inputs = 0, 3
    for kernel, outputs in figure:
        weights, inputs = weights + inputs * (outputs // 8) * kernel**2, outputs // 8
    model = vision.build("yolo", VOC_CLASSES, RNG, width=8, hidden=1)
    assert len(figure) == 24
    assert sum(p.value.size for p in model.parameters().values() if p.value.ndim == 4) == weights


def test_worked_example_of_the_targets():
    """An object of 32x64 pixels centred at (72, 40) of 96: cell (1, 2), x = 0.25, y = 0.25, sqrt(1/3), sqrt(2/3)."""
    model = small()
    y = np.zeros((1, 13, 3, 3), np.float32)
    y[0, 5:9, 1, 2] = 0.25, 0.25, 0.5, 0.5  # the second box: 24 x 24 pixels about the same centre
    target = {"boxes": np.array([[56, 8, 88, 72]], np.float32), "labels": np.array([3])}
    target, weight = model.assign(y, [target])
    overlap = 24 * 24 / (32 * 64)  # one within the other
    wanted = [0] * 5 + [0.25, 0.25, (1 / 3) ** 0.5, (2 / 3) ** 0.5, overlap, 0, 0, 1]
    np.testing.assert_allclose(target[0, :, 1, 2], wanted, rtol=1e-6)
    np.testing.assert_array_equal(weight[0, :, 1, 2], [0, 0, 0, 0, 0.5, 5, 5, 5, 5, 1, 1, 1, 1])
    target[0, :, 1, 2] = weight[0, :, 1, 2] = 0
    assert not target.any() and weight.sum() == 0.5 * 2 * 8  # the confidences of the other cells


def test_where_no_box_overlaps_the_nearest_one_is_responsible():
    model = small()
    y = np.zeros((1, 13, 3, 3), np.float32)
    y[0, :4, 0, 0] = 0.5, 0.5, 0, 0  # no size: overlaps nothing
    target = {"boxes": np.array([[8, 8, 24, 24]], np.float32), "labels": np.array([1])}
    target, weight = model.assign(y, [target])
    assert weight[0, 0, 0, 0] == 5 and weight[0, 5, 0, 0] == 0 and target[0, 4, 0, 0] == 0


def test_loss_is_equation_3():
    """The five sums, by loops over cells and boxes."""
    model, rng = small(), np.random.default_rng(1)
    images, targets = scenes(model, n=3)
    y = rng.uniform(0.1, 0.9, (3, 13, 3, 3)).astype(np.float32)
    model.forward = lambda x: (y, None)
    losses, cache = model.loss((images, targets), rng)
    predicted, box, confidence, cls = model.boxes(y), 0.0, 0.0, 0.0
    for n, target in enumerate(targets):
        taken = {}
        for g, (x1, y1, x2, y2) in enumerate(target["boxes"].astype(float) / 32):  # in cells
            taken.setdefault((min(int((y1 + y2) / 2), 2), min(int((x1 + x2) / 2), 2)), g)
        for row in range(3):
            for column in range(3):
                values, g = y[n, :, row, column].astype(float), taken.get((row, column))
                if g is None:
                    confidence += 0.5 * (values[4] ** 2 + values[9] ** 2)
                    continue
                overlap = iou(predicted[n, :, row, column], target["boxes"][g : g + 1])[:, 0]
                mine = overlap.argmax()
                x1, y1, x2, y2 = target["boxes"][g].astype(float) / 96
                wanted = (x1 + x2) * 1.5 - column, (y1 + y2) * 1.5 - row, (x2 - x1) ** 0.5, (y2 - y1) ** 0.5
                box += 5 * sum((a - b) ** 2 for a, b in zip(wanted, values[5 * mine :]))
                confidence += (values[5 * mine + 4] - overlap[mine]) ** 2 + 0.5 * values[5 * (1 - mine) + 4] ** 2
                cls += sum((values[10 + c] - (target["labels"][g] == c + 1)) ** 2 for c in range(3))
    for name, wanted in (("box", box), ("confidence", confidence), ("class", cls)):
        assert losses[name] == pytest.approx(wanted / 3, rel=1e-5), name
    assert cache.dy.shape == y.shape


def test_gradients_by_the_complex_step():
    model = small(width=2, short_side=64, grid=2)
    images, targets = scenes(model)
    errors = check_model(model, (images.astype(np.float64), targets), complex_step=True, tolerance=1e-8)
    assert errors.keys() == {name for name, p in model.parameters().items() if p.trainable}


def test_overfits_two_images():
    model = small(width=4)
    batch = scenes(model, seed=10)
    assert model.untrained([t["boxes"] for t in batch[1]]) == ""
    optimiser = Adam(model.parameters(), lr=5e-3)
    for step in range(100):
        model.zero_grad()
        losses, cache = model.loss(batch, RNG)
        model.backward(cache)
        optimiser.step(1 - step / 100)
    for _ in range(40):  # running statistics lag behind in so short a run
        model.loss(batch, RNG)
    assert sum(losses.values()) < 0.5
    assert evaluate_detections(model.predict(batch[0]), batch[1], CLASSES)["mean"] == 1.0


def test_a_picture_without_objects_pulls_all_confidences_to_0():
    model = small()
    images, targets = scenes(model)
    empty = [t | {"boxes": t["boxes"][:0], "labels": t["labels"][:0]} for t in targets]
    losses, cache = model.loss((images, empty), RNG)
    assert losses["box"] == losses["class"] == 0 < losses["confidence"]
    model.backward(cache)


def test_scores_are_probability_times_confidence():
    """Eq. 1; values below 0 and above 1, which nothing prevents, give no score beyond these."""
    model = small(score_threshold=0.05)
    y = np.zeros((1, 13, 3, 3), np.float32)
    y[0, :5, 1, 1] = 0.5, 0.5, 0.5, 0.5, 0.8
    y[0, 10:, 1, 1] = 0.5, -2.0, 3.0
    y[0, 4, 0, 0], y[0, 10, 0, 0] = -1, -1
    model.forward = lambda x, training=True: (y, None)
    (found,) = model.predict(np.zeros((1, 3, 96, 96), np.float32))
    np.testing.assert_allclose(found["scores"], [0.8, 0.4], rtol=1e-6)
    assert found["labels"].tolist() == [3, 1]
    np.testing.assert_allclose(found["boxes"], [[36, 36, 60, 60]] * 2, rtol=1e-6)


def test_objects_that_share_a_cell_are_counted():
    model = small()
    boxes = np.array([[0, 0, 20, 20], [4, 4, 20, 22], [40, 40, 50, 50], [90, 90, 96, 96]], np.float32)
    assert model.untrained([boxes, boxes[:1]]).startswith("1 have their centre in a cell of 3x3 that another one takes")
    targets = [{"boxes": boxes, "labels": np.array([1, 2, 3, 1])}]
    target, _ = model.assign(np.zeros((1, 13, 3, 3), np.float32), targets)
    assert target[0, 10:].sum() == 3 and target[0, 10, 0, 0] == 1  # the first one keeps the cell


def test_the_classifier_trained_at_half_the_size_gives_all_convolutions():
    for detector, classifier in (("yolo", "darknet20"), ("yolo_small", "darknet_small")):
        options = {"width": 1} | ({"hidden": 2} if detector == "yolo" else {})
        model = vision.build(detector, CLASSES, RNG, **options)
        trained = vision.build(classifier, ["cat", "dog"], RNG, width=1)
        assert 2 * trained.options.short_side == model.options.short_side
        own = {n for n in model.state_dict() if n.startswith("backbone.")}
        assert own and own <= set(model.pretrained_names(trained.state_dict()))


def test_detections_in_the_photographs_pixels():
    model = small(detections_per_image=7, score_threshold=0.0)
    found = model.detect(Shapes(1, (50, 90), seed=1)[0]["image"])
    assert (found["boxes"] >= 0).all() and (found["boxes"] <= [90, 50, 90, 50]).all() and len(found["boxes"]) == 7
    assert (np.diff(found["scores"]) <= 0).all()


def test_bad_input():
    with pytest.raises(
        ValueError, match="short_side must be grid times a power of two .the poolings., got short_side 128, "
    ):
        small(short_side=128)
    with pytest.raises(ValueError, match=r"YOLO: images must have shape \(N, 3, 96, 96\)"):
        small().predict(np.zeros((1, 3, 64, 64), np.float32))
    with pytest.raises(ValueError, match=r"YOLO: labels must lie in 1..3, got \[4\]"):
        small().assign(np.zeros((1, 13, 3, 3)), [{"boxes": np.array([[0, 0, 9, 9.0]]), "labels": np.array([4])}])
