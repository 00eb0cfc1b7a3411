"""The model contract: a layer with a loss, its backward, predictions, and all that the scripts use of a model."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nn.layer import Layer
from vision.options import as_json
from vision.preprocess import Preprocess
from vision.sampling import Sampling


@dataclass(frozen=True)
class Stage:
    """One stage of training. Most models have one; some train one part after another, such as proposals, then a head.

    recipe: entries that differ from the model's recipe, such as epochs, lr or augmentation. trains: prefixes of the
    names of the parameters that are trained, if they are trainable; the others are held. loss and backward: names of
    the model's methods. begin: name of a method that is called once, before the first step: to copy weights, or reset
    a part.

    fit: name of a method that does the stage instead of gradient steps, such as an SVM's solver:
    fit(samples, rng, start) yields a dict of figures after each round. Its state is in the model's parameters and
    buffers, so it can be resumed after each round; start is the number of rounds already done.

    evaluated: False for a stage after which nobody wants an evaluation, as it is slow.

    reads: False where the loss finds all that it learns from in the folder of the run: it gets None for a batch, no
    sample is read, and there are no losses of validation.
    """

    name: str = "train"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    trains: tuple[str, ...] = ("",)
    loss: str = "loss"
    backward: str = "backward"
    begin: str | None = None
    fit: str | None = None
    evaluated: bool = True
    reads: bool = True


class Model(Layer):
    """Base class of all models. A subclass is a mirrored pair: `backward` follows `loss` in reverse.

    losses, cache = loss(batch, rng): losses is a dict of named values whose sum is minimised. What is sampled or
        chosen (proposals, targets, glimpses) is in cache.sampled. loss(batch, rng, sampled) reuses it: so a gradient
        check holds it constant.
    backward(cache): adds the gradients of the sum of the losses to all parameters.
    predict(*inputs): predictions as the task defines them; inputs are a batch as the network sees it.

    Attributes, with their defaults:
    classes: names, in the order of their labels.
    options: the frozen dataclass of all options; see vision.options.
    preprocess: the Preprocess of photographs, or None for models of text.
    smallest_batch: samples that a training batch needs at least (batch normalisation over 1x1 maps needs two).
    needs_weights: a part is frozen and still random: training needs --pretrained.
    sampling: how batches are drawn where samples belong together, in pairs or classes; None: each on its own.
    name: the registered name by which the model was built.
    folder: that of the run while it is trained, for what does not fit into memory; else None.
    """

    smallest_batch: int = 1
    needs_weights: bool = False
    sampling: Sampling | None = None
    name: str = ""
    folder: Path | None = None

    def __init__(self, classes: Sequence[str], options: Any, preprocess: Preprocess | None = None):
        self.classes, self.options, self.preprocess = tuple(classes), options, preprocess

    @property
    def config(self) -> dict[str, Any]:
        """A JSON-able dict: vision.build(**config) makes the same architecture."""
        return {"model": self.name, "classes": list(self.classes), **as_json(self.options)}

    def loss(self, batch, rng: np.random.Generator, sampled: Any = None) -> tuple[dict[str, float], Any]:
        """(named losses, cache) of a batch made by the task's collate."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def backward(self, cache: Any):
        """Add the gradients of the sum of the losses to all parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def predict(self, *inputs) -> Any:
        """The predictions for a batch as the network sees it."""
        raise NotImplementedError(f"{type(self).__name__} has no predict")

    def dense(self, images) -> dict[str, np.ndarray]:
        """What convolutions make of images (N, 3, H, W), by name: what scripts.export writes to an ONNX file."""
        return {"logits": self(images)}

    def stages(self) -> tuple[Stage, ...]:
        """The stages of training, in order."""
        return (Stage(),)

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Published weights under this model's own names; weights without use here may stay."""
        return arrays


def load(path: str | os.PathLike, fold: bool = False, **changes) -> Model:
    """The trained model of a checkpoint or of a run's folder (its best.npz, else last.npz): `vision.load("runs/mine")`.

    fold: batch normalisation becomes part of the convolutions before it, see vision/fold.py: faster, for inference
    only. changes: options that differ from training, such as crf=True. Raises ValueError naming what is wrong with the
    file, and for a model that cannot be folded.
    """
    from vision.fold import fold_batch_norm  # here, since both import this file
    from vision.training.saving import find_checkpoint, load_model

    model = load_model(find_checkpoint(path), **changes)[0]
    if fold:
        fold_batch_norm(model)
    return model
