"""Training of any model: stages, steps, log, checkpoints, bit-exact resuming.

    for each stage:                               # Trainer.run; most models have one
        for each epoch:
            for each batch:                       # Trainer.train_epoch
                losses, cache = model.loss(batch, rng)
                model.backward(cache)
                clip, optimiser.step              # Trainer.step
            evaluate, keep the best               # Trainer.finish_epoch

A run that was stopped at any moment and resumed computes the same bits as an uninterrupted one. Everything that a step
depends on is either a function of (seed, epoch, step): batch order, augmentation, sampling and learning rate; or is in
the checkpoint: weights, buffers, the optimiser's state and the generators of stochastic layers.
"""

import json
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nn.gpu.device import to_device
from nn.io.checkpoint import read_checkpoint, write_checkpoint
from nn.optim.clipping import clip_gradient_norm
from vision.model import Model, Stage
from vision.training.interruption import interrupts_wait, memory_explained, overflow_unwarned
from vision.training.progress import Progress, RunningMean, Waiting
from vision.training.recipe import build_average, build_optimiser, build_schedule, with_defaults
from vision.training.saving import BEST, LAST, LOG, load_state, prefixed, unprefixed


class Diverged(ValueError):  # noqa: N818
    """A loss, gradient or weight is no longer finite. The checkpoint before it is kept."""


class Stopped(Exception):  # noqa: N818  (not an error: it was asked for)
    """Training ended early, by `signal` (Ctrl-C) or time limit (None); str() says up to which step the run is saved."""

    def __init__(self, message: str, signal: int | None = None):
        super().__init__(message)
        self.signal = signal


class Trainer:
    """Trains `model` by `recipe`, stage after stage, and keeps the run in `folder`: last.npz, best.npz, metrics.jsonl.

    loader: the batches: has __len__ (those of an epoch) and epoch(number, start), as datasets.Loader; or a function of
        a stage's complete recipe that makes them, where stages use other data or batch sizes.
    recipe: see vision.training.recipe. A stage's own recipe overrides it, except for the names in `fixed`: those that
        a user gave by hand.
    evaluate: model -> dict of metrics, called after every `evaluate_every` epochs (0: none) and after the last one;
        best.npz holds the model with the highest metrics[metric].
    after_epoch: called with (trainer, metrics or None where it was not evaluated), to report and to draw;
        trainer.running has the losses, trainer.waiting the share of the epoch spent waiting for the loader.
    checkpoint_every: steps between checkpoints; there is also one at the end of each epoch.
    time_limit: seconds of this session after which `run` saves and raises Stopped.
    device: "cpu" or "gpu". The model is copied there once, each batch when it is used; only losses are copied back.
        Checkpoints are the same from both, and a run may be resumed on the other one.
    config: JSON-able, kept in every checkpoint.
    unit: what a batch consists of, for the progress bar.
    """

    def __init__(
        self,
        model: Model,
        loader,
        recipe: Mapping,
        folder: str | os.PathLike,
        *,
        fixed: tuple[str, ...] = (),
        seed: int = 0,
        evaluate: Callable[[Model], dict] | None = None,
        metric: str | None = None,
        evaluate_every: int = 1,
        after_epoch: Callable[["Trainer", dict | None], None] | None = None,
        checkpoint_every: int = 100,
        time_limit: float = math.inf,
        device: str = "cpu",
        config: dict | None = None,
        unit: str = "images",
    ):
        self.model, self.loader_of, self.folder = model.to(device), loader, Path(folder)
        self.common, self.fixed, self.stages = with_defaults(recipe), fixed, model.stages()
        self.seed, self.device, self.config, self.unit = seed, device, config or {}, unit
        self.evaluate, self.metric, self.evaluate_every = evaluate, metric, evaluate_every
        self.after_epoch, self.checkpoint_every, self.time_limit = after_epoch, checkpoint_every, time_limit
        self.trainable = {name: p.trainable for name, p in model.parameters().items()}
        self.progress, self.saved_step, self.running, self.waiting = Progress(), None, RunningMean(), Waiting()
        self.prepare_stage()

    @property
    def stage(self) -> Stage:
        """The current stage."""
        return self.stages[self.progress.stage]

    def prepare_stage(self):
        """Set up the current stage: its recipe, batches, trainable parameters, optimiser, schedule."""
        stage = self.stage
        own = {name: value for name, value in stage.recipe.items() if name not in self.fixed}
        self.recipe = self.common | own
        self.epochs, self.batch_size = self.recipe["epochs"], self.recipe["batch_size"]
        self.loader = self.loader_of(self.recipe) if callable(self.loader_of) else self.loader_of
        self.total_steps = 0 if stage.fit else self.epochs * len(self.loader)
        for name, parameter in self.model.parameters().items():
            parameter.trainable = self.trainable[name] and name.startswith(stage.trains)
        if stage.fit:
            self.optimiser = self.schedule = self.average = None
            return
        self.optimiser = build_optimiser(self.model, self.recipe)
        self.schedule = build_schedule(self.recipe, self.total_steps)
        self.average = build_average(self.model, self.recipe)

    def run(self) -> Progress:
        """Train to the end of the last stage. Raises Stopped (Ctrl-C, time limit; saved) or Diverged."""
        self.started = time.monotonic() - self.progress.seconds
        self.deadline = time.monotonic() + self.time_limit
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / LOG, "ab", buffering=0) as self.log, overflow_unwarned():
            self.log.truncate(min(self.progress.log_bytes, self.log.seek(0, os.SEEK_END)))
            try:
                while self.progress.stage < len(self.stages):
                    self.run_stage()
            except KeyboardInterrupt:  # during an evaluation, or pressed twice
                raise self._stopped(signal.SIGINT) from None
        for name, parameter in self.model.parameters().items():
            parameter.trainable = self.trainable[name]
        return self.progress

    def run_stage(self):
        """The remaining epochs, or rounds of a fit, of the current stage; then the next stage is prepared."""
        p, stage = self.progress, self.stage
        if not p.begun and stage.begin:
            getattr(self.model, stage.begin)()
        p.begun = True
        with self._bar() as self.bar:
            if self.saved_step is None:
                self.save()
            if stage.fit and not p.epoch:
                self.fit_stage()
            while not stage.fit and p.epoch < self.epochs:
                self.train_epoch()
                self.finish_epoch()
        p.stage += 1
        if p.stage < len(self.stages):
            p.epoch, p.batch, p.stage_step, p.begun, p.best, p.best_epoch = 0, 0, 0, False, None, None
            self.prepare_stage()
            self.saved_step = None  # the first checkpoint of a stage holds its new optimiser

    def fit_stage(self):
        """A stage that is a fit: each round is logged and saved."""
        p = self.progress
        rounds = getattr(self.model, self.stage.fit)(self.loader, step_generator(self.seed, p.step), p.stage_step)
        self.bar.set_description(self._title())
        while True:
            with interrupts_wait() as interrupts, memory_explained(self.model):
                if (figures := next(rounds, None)) is None:
                    break
                p.stage_step += 1
                self._write_log(fit={name: float(value) for name, value in figures.items()})
                self.save()
            if interrupts or time.monotonic() > self.deadline:
                raise self._stopped(*interrupts[:1])
        self.finish_epoch()

    def train_epoch(self):
        """The remaining steps of the current epoch."""
        p = self.progress
        self.running, self.waiting, late = RunningMean(), Waiting(), False
        self.bar.set_description(self._title())
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
        """One update; returns the losses by name. A loss or gradient that is not finite updates nothing."""
        p, stage = self.progress, self.stage
        rate = self.schedule(p.stage_step)
        with memory_explained(self.model):
            self.model.zero_grad()
            batch, rng = to_device(batch, self.device), step_generator(self.seed, p.step)
            losses, cache = getattr(self.model, stage.loss)(batch, rng)
            losses = {name: float(value) for name, value in losses.items()}
            self._check_finite(losses)
            getattr(self.model, stage.backward)(cache)
            norm = clip_gradient_norm(self.model.parameters(), self.recipe["clip_norm"] or math.inf)
            self._check_finite(losses | {"gradient norm": norm})
            self.optimiser.step(rate)
            if self.average:
                self.average.update()
        p.step, p.stage_step, p.batch = p.step + 1, p.stage_step + 1, p.batch + 1
        waited = round(self.waiting.last, 4)  # seconds, for this batch
        self._write_log(lr=rate * self.recipe["lr"], losses=losses, gradient_norm=norm, waited=waited)
        return losses

    def finish_epoch(self):
        """Evaluate if it is due, keep the best model, and count the epoch, or the whole fit, as done."""
        p, metrics = self.progress, None
        if self.evaluate and self._evaluation_is_due():
            self.save()  # an evaluation can take long: a resumed run continues here
            with self.average.swapped() if self.average else nullcontext():
                metrics = self.evaluate(self.model)
                self._write_log(metrics=metrics)
                self._keep_best(metrics)
        if self.after_epoch:
            self.after_epoch(self, metrics)
        p.epoch, p.batch = p.epoch + 1, 0
        self.save()

    def _evaluation_is_due(self):
        done = self.progress.epoch + 1
        return self.stage.fit or done == self.epochs or (self.evaluate_every > 0 and done % self.evaluate_every == 0)

    def save(self):
        """Write last.npz: model, optimiser, generators, progress. Raises Diverged instead of saving NaN or infinity."""
        arrays = prefixed("model/", self.model.state_dict())
        for name, part in (("optimiser/", self.optimiser), ("average/", self.average)):
            arrays |= prefixed(name, part.state_dict()) if part else {}
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
        """Continue from last.npz: call before `run`. Raises ValueError if it is missing, damaged or another model's."""
        path = self.folder / LAST
        arrays, meta = read_checkpoint(path)
        if "generators" not in meta:
            raise ValueError(
                f"{path}: holds a model alone, as {BEST} does, not a run; start a new run with its weights"
            )
        load_state(path, self.model, arrays, meta)
        self.progress = Progress(**meta["progress"])
        self.progress.stage = min(self.progress.stage, len(self.stages) - 1)  # a finished run has no next stage
        if self.progress.stage:
            self.prepare_stage()
        if meta["steps_per_epoch"] != len(self.loader):
            raise ValueError(
                f"{path}: the run had {meta['steps_per_epoch']} batches in an epoch, now there are {len(self.loader)}; "
                "restore the data it was started with, or start a new run"
            )
        for name, part in (("optimiser/", self.optimiser), ("average/", self.average)):
            if part:
                part.load_state_dict(unprefixed(name, arrays))
        for name, generator in self.model.generators().items():
            generator.bit_generator.state = meta["generators"][name]
        self.saved_step = self.progress.step

    def seconds(self) -> float:
        """Seconds spent on the run, over all sessions."""
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
        position = {"epoch": p.epoch + 1, "step": p.step, "seconds": round(self.seconds(), 3)}
        position |= {"stage": self.stage.name} if len(self.stages) > 1 else {}
        self.log.write(json.dumps(position | record).encode() + b"\n")

    def _title(self):
        stage = f"{self.stage.name}, " if len(self.stages) > 1 else ""
        return f"{stage}epoch {self.progress.epoch + 1}/{self.epochs}"

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
        stage = f" of stage {self.stage.name}" if len(self.stages) > 1 else ""
        where = f"at step {self.progress.stage_step} of {self.total_steps}{stage}, saved up to step {self.saved_step}"
        return Stopped(f"{why} {where}", signal)

    def _bar(self):
        """Images done in the stage, with images/s and the time left; no bar without a terminal (disable=None)."""
        done, total = self.progress.stage_step * self.batch_size, self.total_steps * self.batch_size
        return tqdm(initial=done, total=total, unit=f" {self.unit}", disable=None, dynamic_ncols=True, smoothing=0.05)


def step_generator(seed: int, step: int) -> np.random.Generator:
    """The random numbers of one step: another stream than the loader's, with seeds (seed, epoch[, index + 1])."""
    return np.random.default_rng([seed, step, 0, 1])
