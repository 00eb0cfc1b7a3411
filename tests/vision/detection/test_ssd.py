"""SSD: the paper's sizes, eq. 1 by loops, gradients, overfitting, detections, bad input."""

import numpy as np
import pytest

import vision
from datasets import Shapes
from nn import Adam
from nn.gradcheck import check_model
from vision.boxes.boxes import encode, iou
from vision.detection.metrics import evaluate_detections
from vision.detection.task import detector_batch

CLASSES = ("circle", "square", "triangle")


def small(**options):
    return vision.build("ssd_small", CLASSES, np.random.default_rng(3), **{"width": 4, "short_side": 64} | options)


def scenes(n=2, size=(64, 64), seed=5, model=None):
    data = Shapes(n, size, seed=seed)
    return detector_batch(model or small(), [data[i] for i in range(n)])


def test_sizes_of_the_papers_networks():
    """8,732 boxes of SSD300, 24,564 of SSD512 (table 7); parameters as torchvision's ssd300_vgg16 with 91 classes."""
    for name, side, boxes in (("ssd300", 300, 8732), ("ssd512", 512, 24564)):
        model = vision.build(name, CLASSES, np.random.default_rng(0), width=2)
        maps, _ = model.forward_maps(np.zeros((1, 3, side, side), np.float32), training=False)
        assert len(model.defaults(maps, (side, side))) == boxes
    cells = [x.shape[2] for x in maps]
    assert cells == [64, 32, 16, 8, 4, 2, 1]
    model = vision.build("ssd300", [f"class {i}" for i in range(90)], np.random.default_rng(0))
    assert sum(p.value.size for p in model.parameters().values()) == 35_641_826


def test_published_vgg16_convolutions_have_their_names():
    model = vision.build("ssd300", CLASSES, np.random.default_rng(0), width=2)
    own = {n.removeprefix("backbone."): a for n, a in model.state_dict().items() if n.startswith("backbone.")}
    assert len(own) == 26  # 13 convolutions
    assert model.pretrained_names(own).keys() >= {f"backbone.{name}" for name in own}


def test_fc6_and_fc7_of_vgg16_are_decimated():
    """Every fourth output; of fc6 rows and columns 0, 3 and 6 of the 7x7, of fc7 every fourth input."""
    model = vision.build("ssd300", CLASSES, np.random.default_rng(0), width=2)  # 16 channels, fc6 and fc7 of 32
    fc6, fc7 = np.arange(128 * 16 * 49).reshape(128, 16 * 49), np.arange(128 * 128).reshape(128, 128)
    arrays = {"classifier.0.weight": fc6, "classifier.3.weight": fc7, "classifier.3.bias": np.arange(128)}
    named, own = model.pretrained_names(arrays), model.state_dict()
    first = fc6.reshape(128, 16, 7, 7)[::4, :, ::3, ::3]
    np.testing.assert_array_equal(named["extras.0.1.weight"], first)
    np.testing.assert_array_equal(named["extras.0.3.weight"][:, :, 0, 0], fc7[::4, ::4])
    np.testing.assert_array_equal(named["extras.0.3.bias"], np.arange(0, 128, 4))
    assert all(own[name].shape == array.shape for name, array in named.items() if name in own)


def test_loss_is_equation_1():
    model, batch = small(), scenes()
    losses, cache = model.loss(batch, np.random.default_rng(0))
    maps, _ = model.forward_maps(batch[0])
    (logits, deltas), _ = model.forward_heads(maps)
    defaults, chosen = model.defaults(maps, (64, 64)), cache.sampled
    n = int((chosen.labels > 0).sum())
    cls = box = 0
    for i in range(2):
        for a in np.flatnonzero(chosen.labels[i] >= 0):
            z = logits[i, a].astype(float)
            cls += np.log(np.exp(z).sum()) - z[chosen.labels[i, a]]
        overlap = iou(defaults, batch[1][i]["boxes"])
        for a in np.flatnonzero(chosen.labels[i] > 0):
            g = np.flatnonzero(batch[1][i]["labels"] == chosen.labels[i, a])
            g = g[overlap[a, g].argmax()]
            d = deltas[i, a] - encode(batch[1][i]["boxes"][g], defaults[a]) / [0.1, 0.1, 0.2, 0.2]
            box += np.where(abs(d) < 1, 0.5 * d * d, abs(d) - 0.5).sum()
    assert n > 0
    assert losses["cls"] == pytest.approx(cls / n, rel=1e-5)
    assert losses["box"] == pytest.approx(box / n, rel=1e-4)
    negatives = (chosen.labels == 0).sum(axis=1)
    assert (negatives == 3 * (chosen.labels > 0).sum(axis=1)).all()


def test_gradients_by_the_complex_step():
    model = small(
        width=3,
        short_side=32,
        ratios=[[2], [2, 3], [2]],
        sizes=[0.2, 0.4, 0.6, 0.8],
        negative_ratio=1e3,
        matching_iou=0.05,
    )
    images, targets = scenes(size=(32, 32), model=model)
    errors = check_model(model, (images.astype(np.float64), targets), complex_step=True, tolerance=1e-8)
    assert errors.keys() == {name for name, p in model.parameters().items() if p.trainable}


def test_a_picture_without_objects_has_no_loss():
    model = small()
    images, targets = scenes()
    empty = [t | {"boxes": t["boxes"][:0], "labels": t["labels"][:0]} for t in targets]
    losses, cache = model.loss((images, empty), np.random.default_rng(0))
    assert losses == {"cls": 0.0, "box": 0.0}
    model.backward(cache)
    assert not any(p.grad.any() for p in model.parameters().values())


def test_objects_without_a_default_box_are_counted():
    """Of four objects about one point only as many have a box as there are boxes there that overlap them."""
    model = small(ratios=[[2], [2]], sizes=[0.2, 0.4, 0.6])
    inside, outside = np.array([[8, 8, 24, 24]], np.float32), np.array([[-90, -90, -80, -80]], np.float32)
    assert model.untrained([inside, inside]) == ""
    assert model.untrained([inside, np.concatenate([outside, inside])]).startswith("1 overlap no default box")


def test_overfits_two_images():
    model = small(width=8)
    batch = scenes(model=model)
    optimiser = Adam(model.parameters(), lr=3e-3)
    for step in range(70):
        model.zero_grad()
        losses, cache = model.loss(batch, np.random.default_rng(step))
        model.backward(cache)
        optimiser.step(1 - step / 70)
    for _ in range(30):  # running statistics lag behind in so short a run
        model.loss(batch, np.random.default_rng(0))
    assert sum(losses.values()) < 0.15
    found = model.predict(batch[0])
    assert evaluate_detections(found, batch[1], CLASSES)["mean"] == 1.0


def test_detections_in_the_photographs_pixels():
    """Wild boxes are clipped to the photograph, best first, at most as many as asked for."""
    model = small(detections_per_image=7, score_threshold=0.0)
    found = model.detect(Shapes(1, (50, 90), seed=1)[0]["image"])
    assert found["boxes"].shape == (7, 4)
    assert (found["boxes"] >= 0).all() and (found["boxes"] <= [90, 50, 90, 50]).all()
    assert (np.diff(found["scores"]) <= 0).all()
    assert set(found["names"]) <= set(CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": [0.1, 0.2]}, "sizes must have one more element than ratios, got 2 sizes and 5 ratios"),
        ({"ratios": [[2]], "sizes": [0.1, 0.2]}, "it has 2 to 5 maps"),
        ({"sizes": [0.1, 0.2, 0.0, 0.5, 0.7, 0.9]}, "sizes and ratios must be positive"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_bad_images():
    with pytest.raises(ValueError, match=r"SSD: images must have shape \(N, 3, H, W\)"):
        small().predict(np.zeros((1, 1, 64, 64), np.float32))
