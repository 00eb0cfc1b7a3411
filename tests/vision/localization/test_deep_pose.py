"""DeepPose: crops around points, simulated errors that are measured, the cascade, its gradients' parts, bad input."""

import numpy as np
import pytest

import vision
from tests.vision.localization.models import batch_of, tiny
from vision.localization.deep_pose import SPREAD, Simulated, diameter

POINTS = np.array([[[10.0, 10], [20, 10], [20, 25], [12, 18]]])


def pose(**options):
    return tiny("deep_pose", **options)


def test_the_diameter_is_that_of_the_points_that_are_seen():
    np.testing.assert_allclose(diameter(POINTS), [np.hypot(10, 15)])
    np.testing.assert_allclose(diameter(POINTS, np.array([[True, True, False, False]])), [10])
    np.testing.assert_allclose(diameter(POINTS, np.zeros((1, 4), bool)), [1])


def test_the_first_loss_is_l2_of_normalised_points_that_are_seen():
    model, data = pose()
    images, points, seen = batch_of(model, data)
    seen = seen.copy()
    seen[0, :3] = False
    predicted, _ = model.networks[0].forward(images)
    wanted = 0
    for n, j in zip(*np.nonzero(seen)):
        target = (points[n, j] / 32 - 0.5) / SPREAD
        wanted += 0.5 * ((predicted[n, j] - target) ** 2).sum()
    assert model.loss((images, points, seen), None)[0]["pose"] == pytest.approx(wanted / seen.sum(), rel=1e-5)


def test_a_crop_shows_the_point_in_its_middle():
    model, _ = pose()
    images = np.zeros((2, 3, 32, 32))
    images[1, :, 9:11, 19:21] = 1  # four pixels around the point (20, 10)
    crops = Simulated(np.array([1, 1]), np.array([0, 2]), np.array([[20.0, 10], [24, 10]]), np.array([16.0, 16]))
    middle, left = model.cut(images, crops)[:, 0]
    assert middle.shape == (32, 32)
    centre = [np.average(np.arange(32) + 0.5, weights=middle.sum(axis=axis)) for axis in (0, 1)]
    np.testing.assert_allclose(centre, [16, 16])
    # the crop is 8 pixels to each side of x = 24, enlarged twice: the point is at 2 * (20 - 16)
    assert np.average(np.arange(32) + 0.5, weights=left.sum(axis=0)) == pytest.approx(8)


def test_simulated_estimates_have_the_errors_that_were_measured():
    model, _ = pose(crops=1)
    model.advance()
    model.errors_mean[0] = [[0.2, 0], [0, 0.1], [0, 0], [-0.1, 0]]
    model.errors_std[0] = 0.05
    many, seen = POINTS.repeat(6000, axis=0), np.tile([True, True, True, False], (6000, 1))
    drawn = model.simulate(many, seen, np.random.default_rng(0))
    assert len(drawn.image) == 6000 and set(drawn.point) == {0, 1, 2}
    errors = (drawn.centre - POINTS[0, drawn.point]) / np.hypot(10, 15)
    for j in range(3):
        own = errors[drawn.point == j]
        np.testing.assert_allclose(own.mean(axis=0), model.errors_mean[0, j], atol=0.005)
        np.testing.assert_allclose(own.std(axis=0), 0.05, atol=0.004)
    np.testing.assert_allclose(drawn.side, model.options.sigma * np.hypot(10, 15), rtol=1e-6)
    seen[1:, 1:3] = False  # one point alone has no size
    seen[0] = seen[1] = [True, True, False, False]
    assert model.simulate(many, seen, np.random.default_rng(0)).image.tolist() == [0, 1]


class Loader:
    def __init__(self, *batches):
        self.batches = batches

    def epoch(self, number):
        return iter(self.batches)


def test_measure_by_hand():
    """Errors relative to the diameter, of the points that are seen, over all batches."""
    model, _ = pose()
    model.advance()
    truth = np.array([[[0.0, 0], [8, 0], [8, 6], [0, 6]]])  # a diameter of 10
    off = [np.array([1.0, -2]), np.array([3.0, 0])]
    seen = np.array([[True, True, True, False]])
    model.estimates = lambda images, stages: (truth + next(calls))[:, None]
    batch = np.zeros((1, 3, 32, 32), np.float32), truth, seen
    alone = batch[0], truth, np.array([[True, False, False, False]])  # a point without a size
    calls = iter([*off, np.array([9.0, 9])])
    (figures,) = model.measure(Loader(batch, batch, alone), None, 0)
    assert list(model.measure(Loader(), None, 1)) == []
    np.testing.assert_allclose(model.errors_mean[0, :3], np.tile([0.2, -0.1], (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(model.errors_std[0, :3], np.tile([0.1, 0.1], (3, 1)), rtol=1e-6)
    assert figures["error_mean"] == pytest.approx((6 * 0.15) / 8)


def test_a_perfect_refinement_puts_every_point_right():
    """Networks that know the truth: whatever the first stage says, the second moves each point to it (eq. 6)."""
    model, _ = pose()
    model.advance()
    truth = np.array([[10.0, 8], [20, 12], [16, 25], [5, 14]])
    images = np.zeros((1, 3, 32, 32))
    model.networks[0].forward = lambda x, training: (np.full((1, 4, 2), 0.3) * [[[1], [2], [-1], [0]]], None)
    cut, seen = model.cut, []

    def watch(images, crops):
        seen.append(crops)
        return cut(images, crops)

    def knows(x, training):
        crops = seen[-1]
        offset = (truth[crops.point] - crops.centre) / crops.side[:, None] / SPREAD
        return offset[:, None].repeat(4, axis=1), None

    model.cut, model.networks[1].forward = watch, knows
    stages = model.predict(images)
    assert stages.shape == (1, 2, 4, 2)
    np.testing.assert_allclose(stages[0, 0, 0], 32 * (0.3 * SPREAD + 0.5) * np.ones(2))
    np.testing.assert_allclose(stages[0, 1], truth, atol=1e-5)


def test_a_person_in_a_photograph():
    model, data = pose()
    picture = np.zeros((100, 120, 3), np.uint8)
    picture[20:60, 40:80] = data[0]["image"].repeat(2, axis=0)[:40].repeat(2, axis=1)[:, :40]
    found = model.pose(picture, box=(44, 24, 76, 56))  # grows by a quarter: the 40 x 40 pixels
    alone = model.pose(picture[20:60, 40:80])
    np.testing.assert_allclose(found["points"], alone["points"] + [40, 20], rtol=1e-5)
    assert found["names"] == ["top", "right", "bottom", "left"] and found["stages"].shape == (1, 4, 2)
    for box, message in (((5, 5, 5, 9), "x2 > x1"), ((1, 2, 3), "x2 > x1"), ((500, 5, 600, 9), "outside")):
        with pytest.raises(ValueError, match=message):
            model.pose(picture, box=box)


def test_stages_and_published_weights_for_each_network():
    model, _ = pose(cascade=3)
    assert [stage.name for stage in model.stages()] == [
        "person", "errors of stage 1", "refinement 1", "errors of stage 2", "refinement 2",
    ]  # fmt: skip
    renamed = model.pretrained_names({"0.weight": 1, "networks.1.score.bias": 2})
    assert {f"networks.{s}.trunk.backbone.0.weight" for s in range(3)} < set(renamed)
    assert renamed["networks.1.score.bias"] == 2


def test_the_cnn_of_each_stage_moves_slowly_however_many_there_are():
    model, _ = pose(cascade=4)
    own = [stage for stage in model.stages() if not stage.fit]
    assert [stage.recipe["lr_scale"] for stage in own] == [{f"networks.{s}.trunk": 0.1} for s in range(4)]
    assert [stage.recipe.get("epochs") for stage in own] == [None, 8, 8, 8]


@pytest.mark.parametrize("name", ["deep_pose", "localizer", "overfeat"])
def test_what_is_frozen_needs_weights(name):
    frozen = {"frozen": "conv4" if name == "overfeat" else "conv1"}
    assert tiny(name, **frozen)[0].needs_weights and not tiny(name, frozen=None)[0].needs_weights


@pytest.mark.parametrize(
    ("options", "message"), [({"cascade": 0}, "cascade"), ({"sigma": 0.0}, "sigma"), ({"crop": 0}, "crop")]
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        pose(**options)


def test_one_point_has_no_cascade():
    options = vision.MODELS["deep_pose"].tiny.options | {"cascade": 1}
    assert len(vision.build("deep_pose", ["nose"], **options).networks) == 1
    with pytest.raises(ValueError, match="one point has no diameter .* set cascade=1"):
        vision.build("deep_pose", ["nose"], **options | {"cascade": 2})


def test_a_batch_in_which_nothing_is_seen_is_named():
    model, data = pose()
    images, points, seen = batch_of(model, data)
    model.advance()
    with pytest.raises(ValueError, match="at least 2 points that are seen"):
        model.refine_loss((images, points, seen & False), np.random.default_rng(0))
    with pytest.raises(ValueError, match="images must have shape"):
        model.predict(images[:, :, :20])


class Stub(vision.localization.Poser):
    """Two stages: the first is 10 pixels too far right, the second is right."""

    def poses(self, photographs):
        return [
            {"points": TRUTH, "stages": np.stack([TRUTH + np.array([10, 0]), TRUTH]), "names": list(self.classes)}
            for _ in photographs
        ]


TRUTH = np.array([[5.0, 5], [15, 25]])


class Two(list):
    classes = ("left_shoulder", "left_elbow")


def test_pck_by_hand():
    """The box is 20 x 100: 10 pixels are more than a fifth of its shorter side, less than one of its longer side."""
    image = np.zeros((110, 40, 3), np.uint8)
    points = np.concatenate([TRUTH, [[2], [0]]], axis=1)[None]  # the second point is absent
    data = Two([{"id": "a", "image": image, "boxes": np.array([[0, 0, 20, 100.0]]), "keypoints": points}])
    data.append(data[0] | {"boxes": np.zeros((0, 4)), "keypoints": np.zeros((0, 2, 3))})  # its box was dropped
    task, model = vision.TASKS["pose"], Stub(Two.classes, None)
    metrics = task.evaluate(model, data)
    with pytest.raises(ValueError, match="no picture has a box"):
        task.evaluate(model, Two(data[1:]))
    assert metrics["stages"] == [{"PCK": 0.0, "PCK_longer": 1.0}, {"PCK": 1.0, "PCK_longer": 1.0}]
    assert metrics["PCK"] == 1 and metrics["mean_pose"] == {"PCK": 1.0, "PCK_longer": 1.0}
    assert metrics["classes"]["left_elbow"] == {"points": 0, "PCK": [None, None], "mean_pose": None}
    table = task.table(metrics).splitlines()
    assert table[3].split() == ["all", "1", "1.000", "0.000", "1.000"]
    found = model.poses([image])[0]
    assert task.describe(found, Two.classes)[1] == {"point": "left_elbow", "x": 15.0, "y": 25.0}
    one, two = task.draw(image, found, Two.classes), task.draw(image, found, Two.classes, data[0])
    assert two.shape == (one.shape[0], 2 * one.shape[1], 3) and one.any()
    assert (one == [255, 159, 28]).all(axis=2).sum() > 50  # the limb of the left side


def test_flips_of_training_exchange_left_and_right():
    from argparse import Namespace

    from scripts.augmentation import training_transform
    from scripts.data import DEFAULTS

    model, data = pose()
    changes = {"flip_horizontal": 1.0, "jitter": 0.0}
    transform = training_transform(model.preprocess, Namespace(**DEFAULTS | changes), data.horizontal_order)
    before, after = data[0]["keypoints"][0], transform(data[0], np.random.default_rng(0))["keypoints"][0]
    np.testing.assert_allclose(after[1], before[3] * [-1, 1, 1] + [32, 0, 0])  # the right point was the left one
    np.testing.assert_allclose(after[0], before[0] * [-1, 1, 1] + [32, 0, 0])
