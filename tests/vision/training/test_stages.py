"""Training in stages: trained parameters, recipe and loss of each, a fit, and resuming between and within stages."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from nn import Linear, l2
from nn.io.checkpoint import read_checkpoint
from vision.model import Model, Stage
from vision.training import Trainer
from vision.training.log import LOG
from vision.training.saving import BEST, LAST

RECIPE = {"epochs": 2, "batch_size": 2, "lr": 0.1, "warm_up": 0, "schedule": "constant", "momentum": 0.0}


@dataclass(frozen=True)
class Options:
    pass


class TwoParts(Model):
    """y = head(body(x)): first only the body, then a fit of the centre, then head and body at a lower rate."""

    buffers = ("centre", "rounds")

    def __init__(self, interrupt=lambda *where: None):
        super().__init__(["a"], Options())
        rng, self.name, self.interrupt, self.begun = np.random.default_rng(7), "two_parts", interrupt, []
        self.body, self.head = Linear(3, 2, rng=rng), Linear(2, 2, rng=rng)
        self.centre, self.rounds = np.zeros(3, np.float32), np.zeros((), np.int64)

    def stages(self):
        return (
            Stage("body", {"epochs": 3}, trains=("body",), loss="body_loss", backward="body_backward"),
            Stage("centre", fit="fit_centre"),
            Stage("all", {"lr": 0.01}, begin="copy_body"),
        )

    def body_loss(self, batch, rng, sampled=None):
        x, target = batch
        self.interrupt("body", len(self.begun))
        y, cache = self.body.forward(x)
        value, dy = l2(y, target)
        return {"body": value}, (dy, cache)

    def body_backward(self, cache):
        self.body.backward(*cache)

    def fit_centre(self, loader, rng, start):
        """Five rounds, each of which moves the centre halfway to the mean of a batch."""
        for k in range(start, 5):
            self.interrupt("centre", k)
            x, _ = next(iter(loader.epoch(k)))
            self.centre += 0.5 * (x.mean(axis=0) - self.centre)
            self.rounds += 1
            yield {"distance": float(abs(x.mean(axis=0) - self.centre).max())}

    def copy_body(self):
        self.begun.append("all")
        self.head.weight.value[...] = self.body.weight.value[:, :2]

    def loss(self, batch, rng, sampled=None):
        x, target = batch
        self.interrupt("all", rng.integers(1000))
        hidden, c_body = self.body.forward(x - self.centre)
        y, c_head = self.head.forward(hidden)
        value, dy = l2(y, target)
        return {"all": value}, (dy, c_body, c_head)

    def backward(self, cache):
        dy, c_body, c_head = cache
        self.body.backward(self.head.backward(dy, c_head), c_body)


class Batches:
    def __init__(self, recipe):
        self.recipe = recipe

    def __len__(self):
        return 4

    def epoch(self, number, start=0):
        for i in range(start, 4):
            rng = np.random.default_rng([number, i])
            yield rng.standard_normal((2, 3), np.float32), rng.standard_normal((2, 2), np.float32)


def trainer(folder, interrupt=lambda *where: None, **options):
    return Trainer(TwoParts(interrupt), Batches, RECIPE, folder, checkpoint_every=1, **options)


class Killed(BaseException):
    """In place of kill -9."""


def after(calls, stage):
    """An interrupt that kills at the given call of a stage."""
    left = [calls]

    def interrupt(where, _):
        if where == stage:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

    return interrupt


def test_each_stage_trains_its_part_by_its_own_recipe(tmp_path):
    run = trainer(tmp_path)
    before = {name: p.value.copy() for name, p in run.model.parameters().items()}
    seen = {}
    step = run.step

    def watch(batch):
        losses = step(batch)
        seen.setdefault(run.stage.name, []).append((run.recipe["lr"], run.recipe["epochs"], *losses))
        if run.stage.name == "body":
            np.testing.assert_array_equal(run.model.head.weight.value, before["head.weight"])
        return losses

    run.step = watch
    progress = run.run()
    assert seen == {"body": 12 * [(0.1, 3, "body")], "all": 8 * [(0.01, 2, "all")]}
    assert (progress.stage, progress.step, int(run.model.rounds), run.model.begun) == (3, 20, 5, ["all"])
    assert all(p.trainable for p in run.model.parameters().values())
    records = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [r["stage"] for r in records if "fit" in r] == 5 * ["centre"]


def test_arguments_of_a_user_override_the_stages(tmp_path):
    run = trainer(tmp_path, fixed=("epochs",))
    assert (run.recipe["epochs"], run.recipe["lr"]) == (2, 0.1)


@pytest.mark.parametrize(
    ("stage", "calls"), [("body", 0), ("body", 5), ("centre", 0), ("centre", 3), ("all", 0), ("all", 7)]
)
def test_a_run_killed_in_any_stage_and_resumed_ends_in_the_same_bits(tmp_path, stage, calls):
    trainer(tmp_path / "whole").run()
    with pytest.raises(Killed):
        trainer(tmp_path / "killed", after(calls, stage)).run()
    resumed = trainer(tmp_path / "killed")
    resumed.resume()
    resumed.run()
    (a, _), (b, _) = (read_checkpoint(tmp_path / name / LAST) for name in ("whole", "killed"))
    assert list(a) == list(b)
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_a_run_that_is_done_does_nothing_more(tmp_path):
    trainer(tmp_path).run()
    before = (tmp_path / LAST).read_bytes()
    again = trainer(tmp_path)
    again.resume()
    assert again.run().step == 20
    assert (tmp_path / LAST).read_bytes() == before


def test_the_best_model_is_that_of_the_last_stage(tmp_path):
    values = iter([0.9, 0.8, 0.7, 0.5, 0.1, 0.2])
    run = trainer(tmp_path, evaluate=lambda model: {"score": next(values)}, metric="score")
    progress = run.run()
    assert (progress.best, progress.best_epoch) == (0.2, 2)


def test_an_average_of_the_weights_is_what_is_evaluated_and_kept(tmp_path):
    seen = []

    def evaluate(model):
        seen.append(model.body.weight.value.copy())
        return {"score": len(seen)}

    recipe = RECIPE | {"ema": 0.9}
    run = Trainer(TwoParts(), Batches, recipe, tmp_path, evaluate=evaluate, metric="score")
    run.run()
    best, last = read_checkpoint(tmp_path / BEST)[0], read_checkpoint(tmp_path / LAST)[0]
    np.testing.assert_array_equal(best["model/body.weight"], seen[-1])
    np.testing.assert_array_equal(last["average/body.weight.average"], seen[-1])
    assert (last["model/body.weight"] != seen[-1]).any()


class FromFolder(TwoParts):
    """Its first stage finds what it learns from in a folder."""

    def stages(self):
        body = Stage("body", trains=("body",), loss="stored_loss", backward="body_backward", reads=False)
        return body, Stage("all")

    def stored_loss(self, batch, rng, sampled=None):
        assert batch is None
        return self.body_loss((rng.standard_normal((4, 3)), rng.standard_normal((4, 2))), rng)


class InParts(Batches):
    """Each batch in two parts, and which epochs were asked for."""

    asked: ClassVar[list[int]] = []

    def epoch(self, number, start=0):
        self.asked.append(number)
        return ([(x[:1], t[:1]), (x[1:], t[1:])] for x, t in super().epoch(number, start))


def test_a_stage_that_reads_nothing_gets_no_batches_and_no_validation(tmp_path, monkeypatch):
    validated = []
    monkeypatch.setattr(InParts, "asked", [])

    def validation(recipe):
        return lambda model, stage, device: validated.append(stage.name) or {}

    Trainer(FromFolder(), InParts, RECIPE | {"accumulate": 2}, tmp_path, validation=validation).run()
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["stage"] for line in lines if "losses" in line] == ["body"] * 8 + ["all"] * 8
    assert InParts.asked == [0, 1] and validated == ["all", "all"]
