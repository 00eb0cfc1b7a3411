import json
import os
import signal
import time
from dataclasses import dataclass

import numpy as np
import pytest

from nn import Dropout, Linear, Sequential
from nn.io.checkpoint import read_checkpoint, write_checkpoint
from nn.losses.regression import l2
from vision.model import Model
from vision.training.endings import Diverged, Stopped
from vision.training.log import LOG
from vision.training.progress import RunningMean
from vision.training.saving import BEST, LAST
from vision.training.trainer import Trainer
from vision.training.update import step_generator

RECIPE = {
    "epochs": 3,
    "batch_size": 2,
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "warm_up": 3,
    "clip_norm": 1.0,
}


@dataclass(frozen=True)
class Sizes:
    sizes: tuple[int, ...] = (3, 5, 2)


class Regression(Model):
    """Has everything that a checkpoint must hold: weights, a buffer, a layer with a generator; loss samples."""

    buffers = ("running_mean",)

    def __init__(self):
        super().__init__(["a"], Sizes())
        rng, self.name = np.random.default_rng(7), "regression"
        self.net = Sequential(Linear(3, 5, rng=rng), Dropout(0.3, rng=rng.spawn(1)[0]), Linear(5, 2, rng=rng))
        self.running_mean = np.zeros(3, np.float32)

    def loss(self, batch, rng):
        x, target = batch
        self.running_mean += 0.1 * (x.mean(axis=0) - self.running_mean)
        y, cache = self.net.forward(x - self.running_mean)
        rows = rng.permutation(len(x))[:1]
        weights = np.zeros((len(x), 1), np.float32)
        weights[rows] = 1
        value, dy = l2(y, target, weights)
        return {"fit": value}, (dy, cache)

    def backward(self, cache):
        return self.net.backward(*cache)


class Batches:
    """A stateless loader of 4 batches per epoch. `on_batch(epoch, index)` is called before each."""

    def __init__(self, on_batch=lambda epoch, index: None, n=4):
        self.on_batch, self.n = on_batch, n

    def __len__(self):
        return self.n

    def epoch(self, number, start=0):
        for i in range(start, self.n):
            self.on_batch(number, i)
            rng = np.random.default_rng([100, number, i])
            yield rng.standard_normal((2, 3), np.float32), rng.standard_normal((2, 2), np.float32)


def trainer(folder, loader=None, recipe=(), **options):
    return Trainer(Regression(), loader or Batches(), RECIPE | dict(recipe), folder, seed=5, **options)


def same_arrays(folder, other):
    (a, meta_a), (b, meta_b) = read_checkpoint(folder / LAST), read_checkpoint(other / LAST)
    assert list(a) == list(b)
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)
    assert meta_a["generators"] == meta_b["generators"]


def log(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def logged_steps(folder):
    return [record["step"] for record in log(folder) if "losses" in record]


class Killed(BaseException):
    """In place of kill -9: no handler of the trainer may save anything."""


def at(epoch, index, act):
    """An on_batch that calls act once, before that batch."""
    pending = [True]

    def on_batch(e, i):
        if pending and (e, i) == (epoch, index):
            pending.clear()
            act()

    return on_batch


def kill():
    raise Killed


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_run_is_the_plain_loop_written_out(tmp_path):
    """Two parameter groups (weights decayed, biases not), momentum, clipping, step schedule and warm-up, by hand."""
    trainer(tmp_path).run()
    model, velocity = Regression(), {}
    step = 0
    for epoch in range(3):
        for x, target in Batches().epoch(epoch):
            model.zero_grad()
            _, cache = model.loss((x, target), step_generator(5, step))
            model.backward(cache)
            parameters = model.parameters()
            norm = np.sqrt(sum((p.grad.astype(np.float64) ** 2).sum() for p in parameters.values()))
            rate = 0.1 * 0.1 ** ((step >= int(0.7 * 12)) + (step >= int(0.9 * 12)))
            rate *= min(1, 0.001 + 0.999 * step)  # a warm-up of 3 steps, but a tenth of 12 at most
            for name, p in parameters.items():
                g = p.grad * min(1, 1 / norm) + (0.01 * p.value if p.value.ndim > 1 else 0)
                velocity[name] = 0.9 * velocity[name] + g if name in velocity else g
                p.value -= rate * velocity[name]
            step += 1
    saved = read_checkpoint(tmp_path / LAST)[0]
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(saved[f"model/{name}"], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("checkpoint_every", [1, 3, 100])
def test_killed_before_any_step_and_resumed_gives_the_same_bits(tmp_path, checkpoint_every):
    options = {"checkpoint_every": checkpoint_every, "evaluate": lambda model: {"score": 0.5}, "metric": "score"}
    trainer(tmp_path / "whole", **options).run()
    for epoch in range(3):
        for index in range(4):
            folder = tmp_path / f"{epoch}-{index}"
            with pytest.raises(Killed):
                trainer(folder, Batches(at(epoch, index, kill)), **options).run()
            resumed = trainer(folder, **options)
            resumed.resume()
            resumed.run()
            same_arrays(folder, tmp_path / "whole")
            assert logged_steps(folder) == list(range(1, 13))
            assert [r["metrics"]["score"] for r in log(folder) if "metrics" in r] == [0.5] * 3


def test_killed_during_an_evaluation_only_the_evaluation_is_done_again(tmp_path):
    def die(model):
        raise Killed

    with pytest.raises(Killed):
        trainer(tmp_path / "a", evaluate=die, metric="score").run()
    assert read_checkpoint(tmp_path / "a" / LAST)[1]["progress"]["step"] == 4
    options = {"evaluate": lambda model: {"score": 1.0}, "metric": "score"}
    seen = []
    resumed = trainer(tmp_path / "a", Batches(lambda e, i: seen.append((e, i))), **options)
    resumed.resume()
    resumed.run()
    assert seen[0] == (1, 0)
    trainer(tmp_path / "whole", **options).run()
    same_arrays(tmp_path / "a", tmp_path / "whole")
    assert [r["step"] for r in log(tmp_path / "a") if "metrics" in r] == [4, 8, 12]


def test_a_torn_last_line_of_the_log_is_cut_off(tmp_path):
    with pytest.raises(Killed):
        trainer(tmp_path, Batches(at(1, 1, kill)), checkpoint_every=2).run()
    with open(tmp_path / LOG, "a") as file:
        file.write('{"epoch": 2, "st')
    resumed = trainer(tmp_path)
    resumed.resume()
    resumed.run()
    assert logged_steps(tmp_path) == list(range(1, 13))


def test_ctrl_c_finishes_the_step_saves_and_resumes_exactly(tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match="interrupted at step 6 of 12, saved up to step 6") as stopped:
        trainer(tmp_path / "a", Batches(at(1, 1, interrupt))).run()
    assert stopped.value.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = trainer(tmp_path / "a")
    resumed.resume()
    resumed.run()
    trainer(tmp_path / "whole").run()
    same_arrays(tmp_path / "a", tmp_path / "whole")


def test_ctrl_c_twice_stops_at_once_with_the_last_checkpoint(tmp_path):
    def twice():
        interrupt()
        interrupt()

    with pytest.raises(Stopped, match="at step 5 of 12, saved up to step 4"):
        trainer(tmp_path, Batches(at(1, 1, twice)), checkpoint_every=4).run()
    assert read_checkpoint(tmp_path / LAST)[1]["progress"]["step"] == 4


def test_ctrl_c_during_an_evaluation(tmp_path):
    with pytest.raises(Stopped, match="at step 4 of 12, saved up to step 4"):
        trainer(tmp_path, evaluate=lambda model: interrupt()).run()
    assert os.listdir(tmp_path)
    assert not list(tmp_path.glob("*.tmp"))


def test_ctrl_c_after_an_epoch_that_is_not_evaluated_loses_none_of_its_steps(tmp_path):
    with pytest.raises(Stopped, match="at step 4 of 12, saved up to step 4"):
        trainer(tmp_path / "a", after_epoch=lambda *_: interrupt()).run()
    resumed = trainer(tmp_path / "a")
    resumed.resume()
    resumed.run()
    trainer(tmp_path / "whole").run()
    same_arrays(tmp_path / "a", tmp_path / "whole")


def test_time_limit_stops_and_saves_and_every_session_makes_progress(tmp_path):
    trainer(tmp_path / "whole").run()
    for sitting in range(12):
        run = trainer(tmp_path / "a", time_limit=0)
        if sitting:
            run.resume()
        with pytest.raises(Stopped, match=f"time limit reached at step {sitting + 1} of 12") as stopped:
            run.run()
        assert stopped.value.signal is None
    last = trainer(tmp_path / "a")
    last.resume()
    assert last.run().epoch == 3
    same_arrays(tmp_path / "a", tmp_path / "whole")


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_values_that_are_not_finite_stop_before_the_update(tmp_path, what):
    steps = []

    class Bad(Regression):
        def loss(self, batch, rng):
            losses, cache = super().loss(batch, rng)
            steps.append(len(steps) + 1)
            return losses | {"other": np.float32("nan" if what == "loss" and steps[-1] == 7 else 0)}, cache

        def backward(self, cache):
            super().backward(cache)
            if what == "gradient" and steps[-1] == 7:
                self.net[2].bias.grad[0] = np.inf

    run = Trainer(Bad(), Batches(), RECIPE, tmp_path, seed=5, checkpoint_every=5)
    wanted = "other nan" if what == "loss" else "gradient norm inf"
    with pytest.raises(
        Diverged, match=f"step 7: not finite: .*{wanted}; the checkpoint of step 5 stays in .*lower learning"
    ):
        run.run()
    arrays, meta = read_checkpoint(tmp_path / LAST)
    assert meta["progress"]["step"] == 5
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert logged_steps(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_weights_that_overflow_in_an_update_are_not_saved(tmp_path):
    """The learning rate makes them infinite, while loss and gradient of that step are finite."""
    with pytest.raises(Diverged, match=r"step 1: model/net\.0\.weight is not finite; the checkpoint of step 0 stays"):
        trainer(tmp_path, recipe={"lr": 3e38, "warm_up": 0, "clip_norm": 0}, checkpoint_every=1).run()
    assert all(np.isfinite(array).all() for array in read_checkpoint(tmp_path / LAST)[0].values())


def test_the_best_model_is_kept(tmp_path):
    scores = [0.3, float("nan"), 0.7, 0.7, None, 0.5]
    weights = []

    def evaluate(model):
        weights.append(model.net[0].weight.value.copy())
        return {"score": scores[len(weights) - 1]}

    progress = trainer(tmp_path, recipe={"epochs": 6}, evaluate=evaluate, metric="score").run()
    assert (progress.best, progress.best_epoch) == (0.7, 3)
    best, meta = read_checkpoint(tmp_path / BEST)
    np.testing.assert_array_equal(best["model/net.0.weight"], weights[2])
    assert not any(name.startswith("optimiser/") for name in best)
    assert meta["progress"]["step"] == 12


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (0, [5])])
def test_evaluation_is_periodic_and_at_the_end(tmp_path, every, epochs):
    reports = []
    trainer(
        tmp_path,
        recipe={"epochs": 5},
        evaluate=lambda model: {"score": 1},
        evaluate_every=every,
        after_epoch=lambda run, metrics: reports.append((run.progress.epoch + 1, metrics)),
    ).run()
    assert [e for e, _ in reports] == [1, 2, 3, 4, 5]
    assert [e for e, metrics in reports if metrics] == epochs
    assert [r["epoch"] for r in log(tmp_path) if "metrics" in r] == epochs


def test_a_new_run_replaces_the_log_and_a_finished_one_stays(tmp_path):
    trainer(tmp_path).run()
    trainer(tmp_path).run()
    assert logged_steps(tmp_path) == list(range(1, 13))
    before = (tmp_path / LAST).read_bytes()
    done = trainer(tmp_path)
    done.resume()
    done.run()
    assert (tmp_path / LAST).read_bytes() == before


def test_content_of_log_lines(tmp_path):
    trainer(tmp_path, recipe={"schedule": "constant", "warm_up": 0}).run()
    first = log(tmp_path)[0]
    assert set(first) == {"epoch", "step", "seconds", "lr", "losses", "gradient_norm", "waited"}
    assert (first["epoch"], first["step"], first["lr"]) == (1, 1, 0.1)
    assert log(tmp_path)[-1]["seconds"] >= first["seconds"] >= 0


def test_seconds_add_up_over_sessions(tmp_path):
    with pytest.raises(Stopped):
        trainer(tmp_path, Batches(lambda e, i: time.sleep(0.05)), time_limit=0).run()
    resumed = trainer(tmp_path)
    resumed.resume()
    assert resumed.run().seconds >= 0.05


def test_resuming_names_what_differs(tmp_path):
    with pytest.raises(ValueError, match=r"last\.npz: no such checkpoint file"):
        trainer(tmp_path).resume()
    trainer(tmp_path, evaluate=lambda model: {"score": 1}, metric="score").run()
    with pytest.raises(ValueError, match="the run had 4 batches in an epoch, now there are 5"):
        trainer(tmp_path, Batches(n=5)).resume()
    other = trainer(tmp_path)
    other.model.classes = ("b",)
    with pytest.raises(ValueError, match=r"checkpoint of another model: classes \['a'\], not \['b'\]"):
        other.resume()
    os.replace(tmp_path / BEST, tmp_path / LAST)
    with pytest.raises(ValueError, match=r"last\.npz: holds a model alone, as best\.npz does, not a run"):
        trainer(tmp_path).resume()


def test_step_generator_differs_from_the_streams_of_the_loader():
    """For NumPy [5], [5, 0] and [5, 0, 0] are one seed: the loader's (seed, epoch[, index + 1]) must differ."""
    loader = {np.random.default_rng(s).random() for e in range(9) for s in ([5, e], *([5, e, i] for i in range(9)))}
    steps = {step_generator(5, step).random() for step in range(9)}
    assert len(steps) == 9
    assert not steps & loader


def test_running_mean():
    running = RunningMean()
    for value in (1, 2, 3):
        running.update({"a": value})
    assert str(running) == "a 2.000"
    for _ in range(500):
        running.update({"a": 10})
    assert running.means["a"] == pytest.approx(10, abs=0.01)


def test_time_spent_waiting_for_data_is_in_the_log_and_for_the_report(tmp_path):
    """The second batch of each epoch is slow; the computation itself takes almost no time."""
    shares = []
    slow = Batches(lambda epoch, index: time.sleep(0.05 * (index == 1)))
    trainer(tmp_path, slow, after_epoch=lambda trainer, metrics: shares.append(trainer.waiting.share)).run()
    waited = [record["waited"] for record in log(tmp_path) if "losses" in record]
    assert len(waited) == 12
    assert min(waited[1::4]) >= 0.05
    assert np.median([w for i, w in enumerate(waited) if i % 4 != 1]) < 0.04
    assert len(shares) == 3 and all(0.2 < share <= 1 for share in shares)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"progress": 3}, "damaged, it does not say how far the run is"),
        ({"progress": {"epoch": "1"}}, "damaged, it does not say how far the run is"),
        ({"progress": {"epoch": -1}}, "damaged, it does not say how far the run is"),
        ({"progress": {"era": 1}}, "damaged, it does not say how far the run is"),
        ({"progress": {"batch": 9}}, "the run had 4 batches in an epoch, now there are 4"),
        ({"generators": {}}, "damaged, it lacks the state of a generator"),
        ({"generators": {"net.1": 5}}, "damaged, it lacks the state of a generator"),
        ({"steps_per_epoch": None}, "the run had None batches in an epoch"),
    ],
)
def test_a_damaged_checkpoint_of_a_run_is_named(tmp_path, change, message):
    trainer(tmp_path).run()
    arrays, meta = read_checkpoint(tmp_path / LAST)
    write_checkpoint(tmp_path / LAST, arrays, meta | change)
    with pytest.raises(ValueError, match=rf"last\.npz: {message}"):
        trainer(tmp_path).resume()


def test_a_checkpoint_without_the_optimisers_state_is_named(tmp_path):
    trainer(tmp_path).run()
    arrays, meta = read_checkpoint(tmp_path / LAST)
    kept = {name: array for name, array in arrays.items() if not name.startswith("optimiser/")}
    write_checkpoint(tmp_path / LAST, kept, meta)
    with pytest.raises(ValueError, match=r"last\.npz: SGD: the state does not fit .* by a run of another kind"):
        trainer(tmp_path).resume()
