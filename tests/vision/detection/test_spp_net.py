"""SPP-net: its stages on two images, scales, what fine-tuning draws, and bad input."""

import numpy as np
import pytest

import vision
from nn import Adam
from tests.vision.backbones.over_pixels import assert_cells_over_pixels
from tests.vision.detection.test_rcnn import CLASSES, Scenes, fit, mean_ap
from vision.boxes.boxes import iou
from vision.detection.feature_store import IOU, LABEL
from vision.detection.warp import resized

SMALL = {
    "width": 6, "hidden": 32, "short_side": 48, "scales": [96, 192], "region_side": 48, "samples": 64, "capacity": 200,
    "c": 1.0, "ridge": 1.0,
}  # fmt: skip


def small(**options):
    return vision.build("spp_net_small", CLASSES, np.random.default_rng(3), **SMALL | options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Features, fine-tuning on the stored ones, SVMs, boxes."""
    model = small()
    scenes, model.folder = Scenes(model), tmp_path_factory.mktemp("run")
    list(model.fit_features(scenes, np.random.default_rng(0), 0))
    optimiser = Adam(model.head.parameters(), lr=1e-2)
    for step in range(150):
        model.zero_grad()
        losses, cache = model.loss(None, np.random.default_rng(step))
        model.backward(cache)
        optimiser.step(1 - step / 150)
    assert losses["cls"] < 0.1
    fit(model, scenes, model.folder)
    return model, scenes


def test_overfits_two_images(trained):
    """On random convolutions, which stay as they are."""
    model, scenes = trained
    assert mean_ap(model, scenes.batch()) == 1.0
    new = small().state_dict()
    assert all(np.array_equal(new[name], a) for name, a in model.state_dict().items() if name.startswith("backbone"))


def test_fine_tuning_draws_from_the_store(trained):
    model, _ = trained
    sampled, (store, rows) = model.sample_stored(np.random.default_rng(1)), model.rows
    assert sampled.pool5.shape == (64, model.head.widths["pool5"]) and (sampled.labels > 0).sum() == 16
    assert (store.regions[rows[0], IOU] >= 0.5).all() and (store.regions[rows[0], LABEL] > 0).all()
    assert ((store.regions[rows[1], IOU] >= 0.1) & (store.regions[rows[1], IOU] < 0.5)).all()


@pytest.mark.parametrize("backbone", ["small_vgg", "alexnet"])
def test_cells_lie_over_the_pixels_that_regions_take_them_for(backbone):
    assert_cells_over_pixels(small(backbone=backbone).backbone)


def test_a_region_is_seen_at_its_scale():
    """Features of a region are those of the image at this scale alone."""
    model, rng = small(), np.random.default_rng(0)
    image, rois = rng.standard_normal((3, 48, 64)).astype(np.float32), np.array([[4, 4, 14, 14], [0, 0, 40, 40.0]])
    both = model.pool5(image, rois)
    for k, scale in enumerate((192, 96)):  # of 10 x 10 pixels 40 x 40 is nearer to 48 x 48 than 20 x 20
        np.testing.assert_array_equal(both[k], small(scales=[scale]).pool5(image, rois)[k])


def test_resized_keeps_a_constant_and_a_ramp():
    image = np.stack([np.ones((8, 12)), *np.meshgrid(np.arange(12.0), np.arange(8.0))])
    np.testing.assert_allclose(resized(image, (5, 30))[0], 1)
    halves = image[1:].reshape(2, 4, 2, 6, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(resized(image, (4, 6))[1:, 1:-1, 1:-1], halves[:, 1:-1, 1:-1])


def test_bad_input(tmp_path):
    model = small()
    with pytest.raises(ValueError, match="need scales and region_side >= 1"):
        small(scales=[])
    model.folder = tmp_path
    (tmp_path / "features").mkdir()
    with pytest.raises(ValueError, match="holds no store of features"):
        model.loss(None, np.random.default_rng(0))
    (tmp_path / "features").rmdir()
    list(model.fit_features(Scenes(model), np.random.default_rng(0), 0))
    model.backbone.body[0].weight.value *= 2
    with pytest.raises(ValueError, match="of another model"):
        model.loss(None, np.random.default_rng(0))


def test_without_objects_there_is_background_alone(tmp_path):
    model = small()
    scenes, model.folder = Scenes(model), tmp_path
    for sample in scenes.samples:
        sample |= {"boxes": sample["boxes"][:0], "labels": sample["labels"][:0]}
    list(model.fit_features(scenes, np.random.default_rng(0), 0))
    for batch in (None, scenes.batch()):
        _, cache = model.loss(batch, np.random.default_rng(0))
        assert len(cache.sampled.labels) == 64 and not cache.sampled.labels.any()


def test_proposals_are_those_of_the_store(trained):
    model, scenes = trained
    store, own = model.rows[0], scenes.samples[0]
    regions = store.regions[store.of_image(0), :4]
    np.testing.assert_array_equal(regions[-len(own["boxes"]) :], own["boxes"])
    assert iou(regions, own["boxes"]).max(axis=0).min() == 1
