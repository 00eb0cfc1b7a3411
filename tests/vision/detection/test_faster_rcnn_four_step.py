"""Four-step alternating training: what moves in each step, shared convolutions, resuming, overfitting two images."""

import numpy as np
import pytest

import vision
from datasets import Shapes
from nn import Adam, clip_gradient_norm
from nn.io.checkpoint import read_checkpoint
from vision.detection.metrics import evaluate_detections
from vision.detection.task import detector_batch
from vision.training import Trainer
from vision.training.saving import LAST

CLASSES = ("circle", "square", "triangle")
TINY = {
    "width": 2, "stride": 8, "hidden": 12, "anchor_scales": (16, 32), "anchor_samples": 32,
    "roi_samples": 16, "min_size": 2,
}  # fmt: skip
STEPS = ("rpn", "detector", "rpn_again", "detector_again")
EPOCHS, BATCHES = 2, 2


def tiny(**options):
    return vision.build("faster_rcnn_four_step", CLASSES, np.random.default_rng(3), **TINY | options)


class Batches:
    """Two batches of two scenes an epoch; stop(step) is asked before each."""

    def __init__(self, model, stop=lambda: None):
        data = Shapes(4, (32, 48), seed=5)
        self.batches = [detector_batch(model, [data[i], data[i + 1]]) for i in (0, 2)]
        self.stop = stop

    def __len__(self):
        return BATCHES

    def epoch(self, number, start=0):
        for batch in self.batches[start:]:
            self.stop()
            yield batch


def trainer(folder, stop=lambda: None):
    model, recipe = tiny(), {"epochs": EPOCHS, "batch_size": 2, "lr": 0.01, "warm_up": 0}
    return Trainer(model, Batches(model, stop), recipe, folder, checkpoint_every=1)


def arrays_of(model, part):
    return {name: array.copy() for name, array in model.state_dict().items() if name.startswith(f"{part}.")}


def test_each_step_moves_its_parts_alone_and_shared_convolutions_stay(tmp_path, monkeypatch):
    """Statistics of batch normalisation are among the arrays: in steps 3 and 4 not a bit of backbone changes."""
    run, moved = trainer(tmp_path), {}
    original, addresses = Trainer.run_stage, {name: p.value.ctypes.data for name, p in run.model.parameters().items()}

    def watched(self):
        before = {part: arrays_of(self.model, part) for part in ("rpn_backbone", "rpn", "backbone", "head")}
        name = self.stage.name
        original(self)
        for part, arrays in before.items():
            now = arrays_of(self.model, part)
            if any(now[key].tobytes() != array.tobytes() for key, array in arrays.items()):
                moved.setdefault(name, set()).add(part)

    monkeypatch.setattr(Trainer, "run_stage", watched)
    run.run()
    assert moved == dict(zip(STEPS, ({"rpn_backbone", "rpn"}, {"backbone", "head"}, {"rpn"}, {"head"})))
    assert addresses == {name: p.value.ctypes.data for name, p in run.model.parameters().items()}


def test_from_step_3_on_both_parts_read_the_same_arrays(monkeypatch):
    model, seen = tiny(), []
    batch = Batches(model).batches[0]
    for name in ("backbone", "rpn_backbone"):
        layer = getattr(model, name)
        monkeypatch.setattr(type(layer), "forward", noting(type(layer).forward, seen), raising=True)
    for stage in model.stages():
        if stage.begin:
            getattr(model, stage.begin)()
        seen.clear()
        getattr(model, stage.loss)(batch, np.random.default_rng(0))
        wanted = {"rpn": {model.rpn_backbone}, "detector": {model.rpn_backbone, model.backbone}}
        assert set(seen) == wanted.get(stage.name, {model.backbone})
        seen.clear()
        model.predict(batch[0])
        assert set(seen) == ({model.backbone} if stage.name.endswith("again") else wanted["detector"])


def noting(forward, seen):
    def noted(self, *arguments, **options):
        seen.append(self)
        return forward(self, *arguments, **options)

    return noted


class Killed(BaseException):
    """In place of kill -9."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trainer(folder).run()
    return read_checkpoint(folder / LAST)


@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
def test_killed_within_a_step_and_resumed_the_bits_are_the_same(step, tmp_path, uninterrupted):
    left = [EPOCHS * BATCHES * step + 3]  # batches until the kill: in the second epoch of the step

    def stop():
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    with pytest.raises(Killed):
        trainer(tmp_path, stop).run()
    again = trainer(tmp_path)
    again.resume()
    assert again.stage.name == STEPS[step] and again.model.shared == (step >= 2)
    again.run()
    (arrays, _), (wanted, _) = read_checkpoint(tmp_path / LAST), uninterrupted
    assert {name: array.tobytes() for name, array in arrays.items()} == {n: a.tobytes() for n, a in wanted.items()}


def test_overfits_two_images():
    model = tiny(width=6, hidden=64, anchor_samples=64, roi_samples=32, train_post_nms=100, background_iou=(0.0, 0.4))
    data = Shapes(2, (48, 64), seed=11)
    batch = detector_batch(model, [data[0], data[1]])
    for stage, steps in zip(model.stages(), (60, 90, 30, 60)):
        if stage.begin:
            getattr(model, stage.begin)()
        moved = {name: p for name, p in model.parameters().items() if name.startswith(stage.trains)}
        optimiser = Adam(moved, lr=3e-3)
        for step in range(steps):
            model.zero_grad()
            _, cache = getattr(model, stage.loss)(batch, np.random.default_rng(step))
            getattr(model, stage.backward)(cache)
            clip_gradient_norm(moved, 5.0)
            optimiser.step(1 - step / steps)
    found, truth = model.predict(batch[0]), batch[1]
    assert evaluate_detections(found, truth, CLASSES)["mean"] == 1.0


def test_published_convolutions_go_into_both_networks():
    model = tiny()
    named = model.pretrained_names({"features.0.weight": np.ones((2, 3, 3, 3), np.float32)})
    assert {"backbone.features.0.weight", "rpn_backbone.features.0.weight"} <= named.keys() & model.state_dict().keys()


@pytest.mark.parametrize("name", ["faster_rcnn_small", "faster_rcnn_four_step"])
def test_published_convolutions_may_take_the_place_of_the_narrow_ones(name):
    """AlexNet's, held up to pool2: all losses of all steps learn from conv3 on."""
    wanted = {"backbone": "alexnet", "stride": 16, "frozen": "pool2", "short_side": 96, "max_side": 128, "hidden": 8}
    model = vision.build(name, CLASSES, np.random.default_rng(0), **wanted)
    assert model.needs_weights and model.rpn.stride == 16
    batch = detector_batch(model, [Shapes(1, (96, 128), seed=3)[0]])
    for stage in model.stages():
        losses, cache = getattr(model, stage.loss)(batch, np.random.default_rng(1))
        getattr(model, stage.backward)(cache)
        assert np.isfinite(list(losses.values())).all()
    moved = {name for name, p in model.parameters().items() if p.grad.any() and "backbone" in name}
    own = ["backbone"] if name == "faster_rcnn_small" else ["backbone", "rpn_backbone"]
    assert moved == {f"{b}.features.{i}.{p}" for b in own for i in (6, 8, 10) for p in ("weight", "bias")}
    with pytest.raises(ValueError, match="stride of alexnet must be 16, got 4"):
        vision.build(name, CLASSES, backbone="alexnet")
