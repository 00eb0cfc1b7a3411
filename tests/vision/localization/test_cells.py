"""A class and a box at every cell: targets by hand, the mean over cells and views, training, bad options."""

import numpy as np
import pytest

import vision
from datasets import Shapes
from nn import softmax
from vision.localization.cells import UNIT
from vision.localization.task import localization_batch

TINY = {"backbone": "small_cnn", "width": 2, "last": "conv2", "whole": None, "hidden": 8, "short_side": 32}


def build(**options):
    return vision.build("localizer_cells", ["a", "b"], np.random.default_rng(0), **TINY | options)


def test_targets_by_hand():
    """Cells of 8 pixels in an image of 32; the object (4, 8, 28, 24) has its core at x 10 to 22, y 12 to 20."""
    model, y = build(), np.zeros((2, 7, 4, 4), np.float32)
    boxes = np.array([[4, 8, 28, 24.0]] * 2, np.float32)
    cells = model.cells(np.array([1, 1]), boxes, np.array([0, 1]), y)
    wanted = [[0, 0, 0, 0], [-1, 2, 2, -1], [-1, 2, 2, -1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(cells.labels, [wanted, wanted])  # symmetric: its mirror image is itself
    np.testing.assert_allclose(cells.sides[0, :, 1, 1] * UNIT, [4 - 12, 8 - 12, 28 - 12, 24 - 12])
    off = model.cells(np.array([0]), np.array([[0, 0, 6, 6.0]]), np.array([1]), y[:1])
    assert np.argwhere(off.labels[0] == 1).tolist() == [[0, 3]]  # at the right in the mirror image


def test_sure_cells_give_the_box_of_both_views():
    model = build()
    p = np.array([[[0.1, 0.8]], [[0.1, 0.2]]])  # classes, 1 row, 2 columns: sure 0.2 and 1.0
    found = model.decided(p, np.arange(8.0).reshape(4, 1, 2))
    assert found["labels"].tolist() == [1] and found["scores"][0] == pytest.approx(0.8)
    np.testing.assert_allclose(found["boxes"], [[1, 3, 5, 7]])


def test_a_mirrored_photograph_has_the_mirrored_box():
    model, image = build(), Shapes(1, (32, 32))[0]["image"]
    one, other = (model.locate(each) for each in (image, np.ascontiguousarray(image[:, ::-1])))
    x1, y1, x2, y2 = other["boxes"][0]
    np.testing.assert_allclose(one["boxes"][0], np.clip([32 - x2, y1, 32 - x1, y2], 0, 32), atol=1e-4)
    assert one["labels"] == other["labels"]


def test_both_views_are_computed_once_and_one_is_taken():
    model, data = build(), Shapes(3, (32, 32), classes=["circle", "square"], max_objects=1)
    batch = localization_batch(model, [data[i] for i in range(3)])
    assert batch[0].shape[:2] == (3, 2) and len(model.features.known) == 3
    model.features.encoder.see = None  # not needed again
    localization_batch(model, [data[0]])
    _, cache = model.loss(batch, np.random.default_rng(0))
    model.backward(cache)
    assert set(cache.sampled) <= {0, 1} and abs(model.head[-1].weight.grad).max() > 0


def test_the_whole_photograph_tells_the_class():
    """Cells tell any object from none; the class is that of the means of the later map, of both views."""
    model, image = build(whole="conv3"), np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    assert model.head[-1].bias.value.shape == (6,)  # none, object, four sides
    boxes = np.array([[4, 8, 28, 24.0]] * 2, np.float32)
    cells = model.cells(np.array([1, -1]), boxes, np.array([0, 0]), np.zeros((2, 6, 4, 4), np.float32))
    assert np.unique(cells.labels[0]).tolist() == [-1, 0, 1] and np.unique(cells.labels[1]).tolist() == [-1, 0]
    seen = model.features(model.preprocess.batch([image]))
    x, means = model.views.split(seen[:, 1])
    maps, _ = model.views.backbone.forward_stages(model.preprocess.batch([image[:, ::-1]]), False, ("conv2", "conv3"))
    np.testing.assert_allclose(x, maps[0], atol=1e-5)
    np.testing.assert_allclose(means, maps[1].mean(axis=(2, 3)), atol=1e-5)
    logits = np.stack([model.classifier(model.views.split(seen[:, view])[1])[0] for view in (0, 1)])
    p = softmax(logits, axis=1).mean(axis=0)
    (found,) = model.predict(seen)
    assert found["labels"] == [p.argmax() + 1] and found["scores"][0] == pytest.approx(p.max())


def test_the_whole_is_seen_after_the_cells():
    with pytest.raises(ValueError, match="whole must be a stage after conv2, got conv1"):
        build(whole="conv1")


@pytest.mark.parametrize("options", [{"objects": 2}, {"core": 0.0}, {"surest": 1.5}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="need objects=1, core and surest in"):
        build(**options)
