"""Training of any model that answers loss, backward and predict: steps, log, checkpoints, resuming bit by bit.

    for each epoch:                           # Trainer.run
        for each batch:                       # Trainer.train_epoch
            losses, cache = model.loss(batch, rng)
            model.backward(cache)
            clip, optimiser.step              # Trainer.step
        evaluate, keep the best               # Trainer.finish_epoch

A run that was stopped at any moment and resumed computes the same bits as one that never was, since all that a step
depends on is either a function of (seed, epoch, step), as batch order, augmentation, sampling and learning rate are, or
is in the checkpoint, as weights, buffers, the optimiser's state and the generators of stochastic layers are.
"""

import json
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nn.gpu.device import to_device
from nn.io.checkpoint import read_checkpoint, write_checkpoint
from nn.layer import Layer
from nn.optim.clipping import clip_gradient_norm
from vision.guards import interrupts_wait, memory_explained, overflow_unwarned
from vision.recipe import build_optimiser, build_schedule, complete
from vision.running import Progress, RunningMean, Waiting
from vision.saving import load_state, prefixed, unprefixed

LAST, BEST, LOG = "last.npz", "best.npz", "metrics.jsonl"


class Diverged(ValueError):  # noqa: N818
    """A loss, gradient or weight is no longer finite. The checkpoint before it stays as it is."""


class Stopped(Exception):  # noqa: N818  (no error: it was asked for)
    """Training ended early, by `signal` (Ctrl-C) or time limit (None); str() says up to which step the run is saved."""

    def __init__(self, message: str, signal: int | None = None):
        super().__init__(message)
        self.signal = signal


class Trainer:
    """Trains `model` on `loader` by `recipe` and keeps the run in `folder`: last.npz, best.npz, metrics.jsonl.

    loader: has __len__ (batches in an epoch) and epoch(number, start), as datasets.Loader.
    evaluate: model -> dict of metrics, called after every `evaluate_every` epochs (0: none) and after the last one;
        best.npz holds the model with the highest metrics[metric].
    after_epoch: called with (trainer, metrics or None where it was not evaluated), to report and to draw;
        trainer.running has the losses, trainer.waiting the share of the epoch spent waiting for the loader.
    checkpoint_every: steps between checkpoints; there is one at each epoch's end as well.
    time_limit: seconds of this sitting after which `run` saves and raises Stopped.
    device: "cpu" or "gpu". The model is moved there once, each batch when its turn comes; back come the losses.
        Checkpoints are the same from both, and a run may be resumed on the other one.
    config: JSON-able, kept in every checkpoint.
    unit: what a batch is made of, for the progress bar.
    """

    def __init__(
        self,
        model: Layer,
        loader,
        recipe: dict,
        folder: str | os.PathLike,
        *,
        seed: int = 0,
        evaluate: Callable[[Layer], dict] | None = None,
        metric: str | None = None,
        evaluate_every: int = 1,
        after_epoch: Callable[["Trainer", dict | None], None] | None = None,
        checkpoint_every: int = 100,
        time_limit: float = math.inf,
        device: str = "cpu",
        config: dict | None = None,
        unit: str = "images",
    ):
        self.model, self.loader, self.recipe, self.folder = model.to(device), loader, complete(recipe), Path(folder)
        self.seed, self.device, self.config, self.unit = seed, device, config or {}, unit
        self.evaluate, self.metric, self.evaluate_every = evaluate, metric, evaluate_every
        self.after_epoch, self.checkpoint_every, self.time_limit = after_epoch, checkpoint_every, time_limit
        self.epochs, self.batch_size = self.recipe["epochs"], self.recipe["batch_size"]
        self.total_steps = self.epochs * len(loader)
        self.optimiser = build_optimiser(model, self.recipe)
        self.schedule = build_schedule(self.recipe, self.total_steps)
        self.progress, self.saved_step, self.running, self.waiting = Progress(), None, RunningMean(), Waiting()

    def run(self) -> Progress:
        """Train to the last epoch. Raises Stopped (Ctrl-C, time limit; saved) or Diverged (as it was last saved)."""
        self.started = time.monotonic() - self.progress.seconds
        self.deadline = time.monotonic() + self.time_limit
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / LOG, "ab", buffering=0) as self.log, self._bar() as self.bar, overflow_unwarned():
            self.log.truncate(min(self.progress.log_bytes, self.log.seek(0, os.SEEK_END)))
            if self.saved_step is None:
                self.save()
            try:
                while self.progress.epoch < self.epochs:
                    self.train_epoch()
                    self.finish_epoch()
            except KeyboardInterrupt:  # during an evaluation, or pressed twice
                raise self._stopped(signal.SIGINT) from None
        return self.progress

    def train_epoch(self):
        """The steps that are left of the epoch under way."""
        p = self.progress
        self.running, self.waiting, late = RunningMean(), Waiting(), False
        self.bar.set_description(f"epoch {p.epoch + 1}/{self.epochs}")
        with interrupts_wait() as interrupts:
            for batch in self.waiting.over(self.loader.epoch(p.epoch, start=p.batch)):
                self.running.update(self.step(batch))
                self.bar.set_postfix_str(str(self.running), refresh=False)
                self.bar.update(self.batch_size)
                late = time.monotonic() > self.deadline
                if interrupts or late:
                    break
                if p.step % self.checkpoint_every == 0:
                    self.save()
            if interrupts or late:
                self.save()
                raise self._stopped(*interrupts[:1])

    def step(self, batch) -> dict[str, float]:
        """One update; returns the losses by name. Nothing is updated by a loss or gradient that is not finite."""
        p, rate = self.progress, self.schedule(self.progress.step)
        with memory_explained(self.model):
            self.model.zero_grad()
            losses, cache = self.model.loss(to_device(batch, self.device), step_generator(self.seed, p.step))
            losses = {name: float(value) for name, value in losses.items()}
            self._check_finite(losses)
            self.model.backward(cache)
            norm = clip_gradient_norm(self.model.parameters(), self.recipe["clip_norm"] or math.inf)
            self._check_finite(losses | {"gradient norm": norm})
            self.optimiser.step(rate)
        p.step, p.batch = p.step + 1, p.batch + 1
        waited = round(self.waiting.last, 4)  # seconds, for this batch
        self._write_log(lr=rate * self.recipe["lr"], losses=losses, gradient_norm=norm, waited=waited)
        return losses

    def finish_epoch(self):
        """Evaluate if it is time to, keep the best model, and count the epoch as done."""
        p, metrics = self.progress, None
        if self.evaluate and self._evaluation_is_due():
            self.save()  # an evaluation can take long: resumed, the run goes on here
            metrics = self.evaluate(self.model)
            self._write_log(metrics=metrics)
            self._keep_best(metrics)
        if self.after_epoch:
            self.after_epoch(self, metrics)
        p.epoch, p.batch = p.epoch + 1, 0
        self.save()

    def _evaluation_is_due(self):
        done = self.progress.epoch + 1
        return done == self.epochs or (self.evaluate_every > 0 and done % self.evaluate_every == 0)

    def save(self):
        """Write last.npz: model, optimiser, generators, progress. Raises Diverged sooner than save NaN or infinity."""
        arrays = prefixed("model/", self.model.state_dict()) | prefixed("optimiser/", self.optimiser.state_dict())
        arrays = to_device(arrays, "cpu")
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise Diverged(f"step {self.progress.step}: {name} is not finite; {self._remedy()}")
        os.fsync(self.log.fileno())
        self.progress.log_bytes = self.log.tell()
        self.progress.seconds = self.seconds()
        generators = {name: g.bit_generator.state for name, g in self.model.generators().items()}
        write_checkpoint(self.folder / LAST, arrays, self._meta() | {"generators": generators})
        self.saved_step = self.progress.step

    def resume(self):
        """Go on from last.npz: call before `run`. Raises ValueError if it is missing, damaged or another model's."""
        path = self.folder / LAST
        arrays, meta = read_checkpoint(path)
        if "generators" not in meta:
            raise ValueError(
                f"{path}: holds a model alone, as {BEST} does, not a run; start a new run with its weights"
            )
        load_state(path, self.model, arrays, meta)
        if meta["steps_per_epoch"] != len(self.loader):
            raise ValueError(
                f"{path}: the run had {meta['steps_per_epoch']} batches in an epoch, now there are {len(self.loader)}; "
                "restore the data it was started with, or start a new run"
            )
        self.optimiser.load_state_dict(unprefixed("optimiser/", arrays))
        for name, generator in self.model.generators().items():
            generator.bit_generator.state = meta["generators"][name]
        self.progress = Progress(**meta["progress"])
        self.saved_step = self.progress.step

    def seconds(self) -> float:
        """Seconds spent on the run, all sittings together."""
        return time.monotonic() - self.started

    def _keep_best(self, metrics):
        p, value = self.progress, metrics.get(self.metric)
        if value is not None and math.isfinite(value) and (p.best is None or value > p.best):
            p.best, p.best_epoch = value, p.epoch + 1
            write_checkpoint(self.folder / BEST, prefixed("model/", self.model.state_dict()), self._meta())

    def _meta(self):
        run = {"config": self.config, "steps_per_epoch": len(self.loader)}
        return {"model": self.model.config, "progress": asdict(self.progress)} | run

    def _write_log(self, **record):
        p = self.progress
        place = {"epoch": p.epoch + 1, "step": p.step, "seconds": round(self.seconds(), 3)}
        self.log.write(json.dumps(place | record).encode() + b"\n")

    def _check_finite(self, values):
        if not all(math.isfinite(value) for value in values.values()):
            shown = ", ".join(f"{name} {value:g}" for name, value in values.items())
            raise Diverged(f"step {self.progress.step + 1}: not finite: {shown}; {self._remedy()}")

    def _remedy(self):
        return (
            f"the checkpoint of step {self.saved_step} stays in {self.folder / LAST}; "
            "start a new run with a lower learning rate, a longer warm-up or a lower clip norm"
        )

    def _stopped(self, signal=None):
        why = "time limit reached" if signal is None else "interrupted"
        where = f"at step {self.progress.step} of {self.total_steps}, saved up to step {self.saved_step}"
        return Stopped(f"{why} {where}", signal)

    def _bar(self):
        """Images done in the whole run, with images/s and the time left; no bar where nobody watches (disable=None)."""
        done, total = self.progress.step * self.batch_size, self.total_steps * self.batch_size
        return tqdm(initial=done, total=total, unit=f" {self.unit}", disable=None, dynamic_ncols=True, smoothing=0.05)


def step_generator(seed: int, step: int) -> np.random.Generator:
    """The random numbers of one step: another stream than the loader's, whose seeds are (seed, epoch[, index + 1])."""
    return np.random.default_rng([seed, step, 0, 1])
