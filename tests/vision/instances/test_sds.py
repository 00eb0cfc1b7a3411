"""SDS: what both CNNs see, its three variants, the stages on two images, refinement by hand."""

from dataclasses import replace

import numpy as np
import pytest

import vision
from datasets import Shapes
from nn import Adam
from nn.gradcheck import check_model
from scripts.gradcheck import off_the_kinks, tiny_batch, tiny_data
from vision.detection.feature_store import IOU, OBJECT, TRUTH
from vision.instances.pathway import region_crops
from vision.instances.refinement import Refiner, Rows
from vision.instances.task import evaluate_instances, instance_batch
from vision.proposals.segments import Segments
from vision.registry import find

CLASSES = ("circle", "square", "triangle")
SMALL = {"width": 4, "hidden": 32, "size": 20, "padding": 2, "samples": 32, "capacity": 200, "short_side": 64, "c": 1.0}


def planted(sample):
    """Superpixels: a 9x9 grid of blocks, cut by the objects. Regions: each object, each with much more, single ones."""
    h, w = sample["image"].shape[:2]
    blocks = np.arange(h)[:, None] * 9 // h * 9 + np.arange(w) * 9 // w
    owner = (sample["masks"] * np.arange(1, 1 + len(sample["masks"]))[:, None, None]).sum(axis=0)
    _, superpixels = np.unique(blocks + 81 * owner, return_inverse=True)
    superpixels = superpixels.reshape(h, w)
    single = np.eye(superpixels.max() + 1, dtype=bool)
    objects = np.array([np.bincount(superpixels[m], minlength=len(single)) > 0 for m in sample["masks"]])
    ragged = objects.copy()
    for row in ragged:
        row[np.flatnonzero(~row)[:20]] = True
    return Segments(superpixels, np.concatenate([objects, ragged, single]))


class Planted:
    """Two scenes with planted regions, as a data set and as a loader."""

    def __init__(self, model):
        data = Shapes(2, (64, 80), seed=2, max_objects=3)
        self.classes, self.samples = data.classes, [data[0], data[1]]
        regions = {each["image"].tobytes(): planted(each) for each in self.samples}
        model.segments = lambda image: regions[image.tobytes()]
        self.model = model

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.samples[index]

    def epoch(self, number, start=0):
        return (instance_batch(self.model, [sample]) for sample in self.samples[start:])


def small(**options):
    return vision.build("sds_small", CLASSES, np.random.default_rng(3), **SMALL | options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    model = small()
    model.folder, data = tmp_path_factory.mktemp("run"), Planted(model)
    batch, optimiser = instance_batch(model, data.samples), Adam(model.parameters(), lr=0.01)
    for step in range(40):
        model.zero_grad()
        _, cache = model.loss(batch, np.random.default_rng(step))
        model.backward(cache)
        optimiser.step(1 - step / 40)
    for step in range(20):  # running statistics lag behind in so short a run
        model.loss(batch, np.random.default_rng(step))
    for name in ("fit_features", "fit_svms", "fit_refinement"):
        list(getattr(model, name)(data, np.random.default_rng(0), 0))
    return model, data


def test_two_images_are_learned_by_heart(trained):
    metrics = evaluate_instances(*trained)
    assert metrics["APr_0.5"] == metrics["APr_0.7"] == 1


def test_no_score_is_too_low_to_be_a_detection(trained):
    """What is high differs by class; AP^r looks at the order alone."""
    model, data = trained
    other = small()
    other.load_state_dict(model.state_dict())
    other.segments = model.segments
    other.svm.bias.value -= 100
    assert evaluate_instances(other, data)["APr_0.5"] == 1
    other.options = replace(other.options, score_threshold=-1.0)
    assert not len(other.segment_objects(data[0]["image"])["scores"])


def test_objects_give_way_to_their_best_region(trained):
    model, data = trained
    store = model.store(data)
    for c in range(3):
        rows = model.positives(store, c)
        truth = store.regions[:, TRUTH] == c + 1
        assert len(rows) == truth.sum() and not truth[rows].any() and (store.regions[rows, IOU] > 0.5).all()
        assert sorted(map(tuple, store.regions[rows, OBJECT])) == sorted(map(tuple, store.regions[truth, OBJECT]))


def test_fits_resume_between_rounds(trained):
    """What a round leaves is in the state: the next one, in a new model, gives the same bits."""
    model, data = trained
    again, fitted = small(), ("svm.", "refiner.", "mined", "fitted")
    state = {name: array for name, array in model.state_dict().items() if not name.startswith(fitted)}
    again.load_state_dict(again.state_dict() | state)  # the CNNs are trained, nothing is fitted
    for name in ("fit_svms", "fit_refinement"):
        for start in (0, 1):
            saved, again = again.state_dict(), small()
            again.load_state_dict(saved)
            again.folder, again.segments = model.folder, model.segments
            next(getattr(again, name)(data, np.random.default_rng(0), start))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, again.state_dict()[name], err_msg=name)


@pytest.mark.parametrize("features", ["box", "region"])
def test_svms_may_see_one_feature_alone(trained, features):
    """The same store serves all choices, and the weights of the other feature stay 0."""
    model, data = trained
    other = small(features=features)
    other.load_state_dict(model.state_dict())
    other.folder, other.segments, other.fitted[0] = model.folder, model.segments, False
    list(other.fit_svms(data, np.random.default_rng(0), 0))
    half = np.split(other.svm.weight.value, 2, axis=1)
    assert half[features == "region"].any() and not half[features == "box"].any()


def test_the_region_cnn_sees_no_background():
    rng = np.random.default_rng(0)
    image, masks = rng.normal(size=(3, 30, 40)), np.zeros((1, 30, 40), bool)
    masks[0, 8:20, 10:30] = True
    masks[0, 8:14, 10:20] = False
    crops, alone = region_crops(image, masks, np.array([[10.0, 8, 30, 20]]), small().options)
    assert crops.shape == alone.shape == (1, 3, 20, 20)
    assert not alone[0, :, :9, :9].any() and not alone[0, :, -1].any()  # a corner of the box; what is around it
    np.testing.assert_allclose(alone[0, :, 12:17, 12:17], crops[0, :, 12:17, 12:17])


@pytest.mark.parametrize("variant, losses", [("A", {"box"}), ("B", {"box", "region"}), ("C", {"both"})])
def test_variants(variant, losses):
    model = small(variant=variant)
    data = Planted(model)
    batch = instance_batch(model, data.samples)
    assert model.loss(batch, np.random.default_rng(0))[0].keys() == losses
    features = model.features(batch[0][0], *model.regions_of(batch[1][0])[:2])
    assert features["box"].shape == features["region"].shape
    whole = (features["box"] == features["region"]).all(axis=1)
    assert not whole.all()  # also of A, whose one network sees two crops


def test_the_gradient_of_variant_a():
    tiny = find("sds_small").tiny
    data = tiny_data("sds_small", tiny)
    model = off_the_kinks(
        vision.build("sds", data.classes, np.random.default_rng(3), **tiny.options | {"variant": "A"})
    )
    for name, parameter in model.parameters().items():
        parameter.trainable = name.startswith(("box", "score"))
    assert max(check_model(model, tiny_batch(model, data, tiny.scenes), tolerance=1e-6).values()) < 1e-6


def test_refinement_by_hand():
    """Objects fill the left half of their boxes; regions lack a superpixel of it and have one too many."""
    superpixels = np.arange(20)[:, None] // 10 * 4 + np.arange(40) // 10  # 2 x 4 blocks
    masks = np.zeros((1, 20, 40), bool)
    masks[0, :, :20] = True
    members = np.zeros((1, 8), bool)
    members[0, [0, 1, 4, 6]] = True  # without 5, with 6
    segments, rows = Segments(superpixels, members), Rows(np.ones((1, 3)), members, np.array([[0.0, 0, 40, 20]]), masks)
    refiner = Refiner(3, 2, rng=np.random.default_rng(0)).astype(np.float64)
    refiner.fit_coarse(1, [rows], penalty=1e-3)
    x, y = refiner.examples(1, segments, rows)
    np.testing.assert_array_equal(y[:, 0].reshape(2, 4), [[1, 1, 0, 0]] * 2)
    np.testing.assert_array_equal(x[:, 1], members[0])
    assert (x[y[:, 0] == 1, 0].min() > 0.6) and (x[y[:, 0] == 0, 0].max() < 0.4)
    refiner.fit_fine(1, [(x, y)])
    np.testing.assert_array_equal(refiner.masks(1, segments, rows), masks)
    assert not refiner.coarse.weight.value[:100].any()  # of the other class


def test_bad_input(tmp_path):
    model = small()
    for options, message in (({"count": 0}, "SDS: count must be"), ({"c": 0.0}, "SDS: c and penalty must be above 0")):
        with pytest.raises(ValueError, match=message):
            small(**options)
    with pytest.raises(ValueError, match="SDS: predict needs the segments of each image, got none"):
        model.predict(np.zeros((1, 3, 40, 40), np.float32))
    model.folder, data = tmp_path, Planted(model)
    list(model.fit_features(data, np.random.default_rng(0), 0))
    strict = small(refine_iou=1.01)
    strict.load_state_dict(model.state_dict())
    strict.folder, strict.segments = tmp_path, model.segments
    with pytest.raises(ValueError, match=r"sds_small: no region has an IoU of 1.01 with a \w+: set a lower refine_iou"):
        list(strict.fit_refinement(data, np.random.default_rng(0), 0))


def test_an_image_without_objects():
    model = small()
    data = Planted(model)
    empty = data[0] | {key: data[0][key][:0] for key in ("boxes", "labels", "difficult", "masks")}
    losses, cache = model.loss(instance_batch(model, [empty]), np.random.default_rng(0))
    model.backward(cache)
    assert np.isfinite(losses["both"]) and not cache.sampled.region_labels.any()


def test_an_image_without_regions():
    nothing = Segments(np.zeros((30, 40), np.int64), np.zeros((0, 1), bool))
    (found,) = small().predict(np.zeros((1, 3, 30, 40), np.float32), None, [nothing])
    assert found["masks"].shape == (0, 30, 40) and found["boxes"].shape == (0, 4)
