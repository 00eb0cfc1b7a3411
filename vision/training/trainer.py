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

import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from vision.model import Model
from vision.training.communicator import Communicator, OtherFailed, evaluated_together
from vision.training.endings import Diverged, with_advice
from vision.training.interruption import interrupts_wait, memory_explained, overflow_unwarned
from vision.training.kept_run import KeptRun
from vision.training.parts import check_same_weights
from vision.training.progress import Progress, RunningMean, Waiting
from vision.training.recipe import with_defaults
from vision.training.run_state import read_run
from vision.training.saving import LAST
from vision.training.update import Update, step_generator
from vision.training.validation import ValidationLoss


class Trainer(KeptRun):
    """Trains `model` by `recipe`, stage after stage, and keeps the run in `folder`.

    last.npz is the newest checkpoint, best.npz the best model, metrics.jsonl the log and metrics.csv its epochs; where
    TensorBoard is installed there are event files. While `run` goes on, no other process may train in the folder.

    loader: the batches: has __len__ (those of an epoch) and epoch(number, start), as datasets.Loader; or a function of
        a stage's complete recipe that makes them, where stages use other data or batch sizes. If it has
        names(number, batch), errors of a batch begin with the names of its samples.
    recipe: see vision.training.recipe. A stage's own recipe overrides it, except for the names in `fixed`: those that
        a user gave by hand.
    validation: a function of a stage's complete recipe that makes a ValidationLoss, whose losses are logged after each
        epoch, or gives None; of a fit there are none.
    evaluate: model -> dict of metrics, called after every `evaluate_every` epochs (0: none) and after the last one;
        best.npz holds the model with the highest metrics[metric].
    patience: a stage ends after so many evaluations in a row without a better metric; 0: never.
    after_epoch: called with (trainer, metrics or None where it was not evaluated), to report and to draw;
        trainer.running has the losses, trainer.summary those of validation, speed and memory, trainer.waiting the
        share of the epoch spent waiting for the loader.
    checkpoint_every: steps between checkpoints; there is also one at the end of each epoch, and before an error.
    time_limit: seconds of this session after which `run` saves and raises Stopped.
    device: "cpu" or "gpu". The model is copied there once, each batch when it is used; only losses are copied back.
        Checkpoints are the same from both, and a run may be resumed on the other one.
    config: JSON-able, kept in every checkpoint.
    data: a JSON-able fingerprint of the data, kept in every checkpoint; a run is resumed on the same data only.
    unit: what a batch consists of, for the progress bar.
    others: the processes that train together. That of rank 0 is a Trainer, the others are vision.training.Followers.
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
        validation: Callable[[dict], ValidationLoss | None] | None = None,
        evaluate: Callable[[Model], dict] | None = None,
        metric: str | None = None,
        evaluate_every: int = 1,
        patience: int = 0,
        after_epoch: Callable[["Trainer", dict | None], None] | None = None,
        checkpoint_every: int = 100,
        time_limit: float = math.inf,
        device: str = "cpu",
        config: dict | None = None,
        data: Any = None,
        unit: str = "images",
        others: Communicator | None = None,
    ):
        super().__init__(model.to(device), folder, config or {}, data)
        self.loader_of, self.common, self.fixed = loader, with_defaults(recipe), fixed
        self.seed, self.device, self.unit, self.validation = seed, device, unit, validation
        self.evaluate, self.metric, self.evaluate_every, self.patience = evaluate, metric, evaluate_every, patience
        self.after_epoch, self.checkpoint_every, self.time_limit = after_epoch, checkpoint_every, time_limit
        self.others = others or Communicator()
        self.trainable = {name: p.trainable for name, p in model.parameters().items()}
        self.running, self.waiting = RunningMean(), Waiting()
        self.prepare_stage()

    @property
    def is_over(self) -> bool:
        """Whether the current stage has done all its epochs, or its patience has run out."""
        p = self.progress
        return p.epoch >= self.epochs or 0 < self.patience <= p.stale

    def prepare_stage(self):
        """Set up the current stage: its recipe, batches, trainable parameters, optimiser, schedule."""
        stage = self.stage
        self.recipe = self.common | {name: value for name, value in stage.recipe.items() if name not in self.fixed}
        self.epochs, self.batch_size = self.recipe["epochs"], self.recipe["batch_size"]
        self.loader = self.loader_of(self.recipe) if callable(self.loader_of) else self.loader_of
        self.total_steps = 0 if stage.fit else self.epochs * len(self.loader)
        for name, parameter in self.model.parameters().items():
            parameter.trainable = self.trainable[name] and name.startswith(stage.trains)
        device, seed = self.device, self.seed
        settings = self.model, stage, self.recipe, self.total_steps, device, seed, self.others
        self.update = None if stage.fit else Update(*settings)
        self.validate = self.validation(self.recipe) if self.validation and stage.reads and not stage.fit else None

    def run(self) -> Progress:
        """Train to the end of the last stage. Raises Stopped (Ctrl-C, time limit; saved) or Diverged.

        Any other error is raised once the steps before it are saved; a ValueError, OSError or MemoryError then says up
        to which one.
        """
        self.started = time.monotonic() - self.progress.seconds
        self.deadline = time.monotonic() + self.time_limit
        try:
            with self.opened(), overflow_unwarned(), self.others.failing():
                self.others.check_equal("batches and data", [len(self.loader), self.data])
                self.log_changes()
                while self.progress.stage < len(self.stages):
                    self.run_stage()
        except KeyboardInterrupt:  # during an evaluation, or pressed twice
            raise self.stopped(signal.SIGINT) from None
        except OtherFailed as error:
            raise with_advice(ValueError(str(error)), self.kept()) from None
        except Diverged as error:
            raise Diverged(f"{error}; {self.remedy()}") from None
        except (ValueError, OSError, MemoryError) as error:
            raise with_advice(error, self.kept()) from error
        for name, parameter in self.model.parameters().items():
            parameter.trainable = self.trainable[name]
        return self.progress

    def run_stage(self):
        """The remaining epochs, or rounds of a fit, of the current stage; then the next stage is prepared."""
        p, stage = self.progress, self.stage
        if not p.begun and stage.begin:
            getattr(self.model, stage.begin)()
        p.begun = True
        with self.progress_bar() as self.bar:
            if self.saved_step is None:
                self.save()
            if stage.fit and not p.epoch:
                self.fit_stage()
            while not stage.fit and not self.is_over:
                self.train_epoch()
                self.finish_epoch()
        p.stage += 1
        if p.stage < len(self.stages):
            p.begin_stage()
            self.prepare_stage()
            self.saved_step = None  # the first checkpoint of a stage holds its new optimiser

    def fit_stage(self):
        """A stage that is a fit: each round is logged and saved."""
        p = self.progress
        rounds = getattr(self.model, self.stage.fit)(self.loader, step_generator(self.seed, p.step), p.stage_step)
        self.bar.set_description(self.title())
        while True:
            with interrupts_wait() as interrupts, memory_explained(self.model):
                if (figures := next(rounds, None)) is None:
                    break
                p.stage_step += 1
                self.write_log(fit={name: float(value) for name, value in figures.items()})
                self.save()
            if interrupts or time.monotonic() > self.deadline:
                raise self.stopped(*interrupts[:1])
        self.finish_epoch()

    def train_epoch(self):
        """The remaining steps of the current epoch."""
        p = self.progress
        self.running, self.waiting, late = RunningMean(), Waiting(), False
        self.bar.set_description(self.title())
        with interrupts_wait() as interrupts, self.saved_on_error():
            for batch in self.waiting.over(self.batches()):
                self.running.update(self.step(batch))
                self.bar.show(self.running.means)
                self.bar.update(self.batch_size)
                late = self.others.any(interrupts or time.monotonic() > self.deadline)
                if late:
                    break
                if p.step % self.checkpoint_every == 0:
                    self.save()
            self.save()  # what follows an epoch can take long: a resumed run continues here
            if interrupts or late:
                raise self.stopped(*interrupts[:1])

    def step(self, batch) -> dict[str, float]:
        """One update; returns the losses by name. A loss or gradient that is not finite updates nothing."""
        p, rate = self.progress, self.update.schedule(self.progress.stage_step)
        with memory_explained(self.model), self.samples_named():
            losses, norm = self.update.gradients(batch, p.step)
            self.whole = False
            self.update.move(rate)
        p.step, p.stage_step, p.batch = p.step + 1, p.stage_step + 1, p.batch + 1
        waited = round(self.waiting.last, 4)  # seconds, for this batch
        self.write_log(lr=rate * self.recipe["lr"], losses=losses, gradient_norm=norm, waited=waited)
        self.whole = True
        return losses

    def finish_epoch(self):
        """Validate, evaluate if it is due, keep the best model, and count the epoch, or the whole fit, as done."""
        p, metrics, due = self.progress, None, self.evaluate and self._evaluation_is_due()
        average = self.update and self.update.average
        with average.swapped() if average else nullcontext():
            self.summarise()
            if due:
                with evaluated_together(self.others):
                    metrics = self.others.broadcast(self.evaluate(self.model))
                self.write_log(metrics=metrics)
                self.keep_best(metrics.get(self.metric))
        self.write_table()
        check_same_weights(self.model, self.others)
        if self.after_epoch:
            self.after_epoch(self, metrics)
        p.epoch, p.batch = p.epoch + 1, 0
        self.save()

    def _evaluation_is_due(self):
        done = self.progress.epoch + 1
        if not self.stage.evaluated:
            return False
        return self.stage.fit or done == self.epochs or (self.evaluate_every > 0 and done % self.evaluate_every == 0)

    def resume(self, changes: Mapping[str, Any] | None = None):
        """Continue from last.npz: call before `run`. Raises ValueError if it is missing, damaged, of another model, or
        of other data.

        changes: what differs from before, such as {"lr": [0.1, 0.01]}, for the log.
        """
        run = read_run(self.folder / LAST)
        self.progress, self.changes = run.progress, dict(changes or {})
        self.progress.stage = min(self.progress.stage, len(self.stages) - 1)  # a finished run has no next stage
        if self.progress.stage:
            self.prepare_stage()
        run.restore(self.state)
        self.saved_step = self.progress.step
