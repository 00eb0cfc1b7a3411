"""Models in checkpoints: a model built from one, and weights loaded from one."""

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nn.io.checkpoint import read_checkpoint
from nn.io.state import read_metadata, read_state
from nn.random import spawn
from vision.model import Model
from vision.options import as_json, unused
from vision.registry import MODELS, build

LAST, BEST = "last.npz", "best.npz"
KEYS = ("state_dict", "model_state_dict", "model", "net", "weights")  # where files of PyTorch keep their weights
PARALLEL = "module."  # what PyTorch's DataParallel puts before every name
SHOWN = 3  # arrays named in a message


def load_model(path: str | os.PathLike, /, **changes) -> tuple[Model, dict]:
    """The model of a checkpoint, built with its weights, and the checkpoint's meta data.

    changes: options of the model that differ from those of its training, such as crf=True.
    Raises ValueError naming `path` when it is missing, damaged, of a model that is not registered, or does not fit
    the changed model.
    """
    arrays, meta = read_checkpoint(path)
    config = _model_config(path, meta)
    config = _older(config) | _of_use(config) | changes
    if config["model"] not in MODELS:
        missing = f"checkpoint of the model {config['model']!r}, which is not registered"
        raise ValueError(f"{path}: {missing}; a model of your own needs --import FILE, the file that defines it")
    rng = _Bounded(spawn().bit_generator)
    rng.left = 16 * sum(array.size for array in arrays.values())  # some models draw more than they keep
    try:
        model = build(**config, rng=rng)
    except (ValueError, MemoryError, OverflowError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: {error}") from error
    load_state(path, model, arrays, meta | {"model": model.config})  # new options have their defaults
    return model, meta


class _Bounded(np.random.Generator):
    """Draws the first weights of a model, `left` elements at most: a damaged checkpoint may name sizes beyond all
    memory, and weights that it does not hold cannot be meant.
    """

    left: float = math.inf

    def standard_normal(self, size=None, *args, **options):
        return super().standard_normal(self._counted(size), *args, **options)

    def uniform(self, low=0.0, high=1.0, size=None):
        return super().uniform(low, high, self._counted(size))

    def _counted(self, size):
        self.left -= math.prod(size if isinstance(size, tuple) else (size or 1,))
        if self.left < 0:
            raise ValueError("its options name larger arrays than it holds; take another copy")
        return size


def load_state(path: str | os.PathLike, model: Model, arrays: dict, meta: dict):
    """Load the model's arrays of a checkpoint. ValueError naming `path` and each difference to another model."""
    mine, saved = model.config, _model_config(path, meta)
    saved = _defaults(saved["model"]) | _older(saved) | saved  # an option that is newer than the file has its default
    differ = [
        f"{key} {saved.get(key)!r}, not {mine.get(key)!r}" for key in mine | saved if saved.get(key) != mine.get(key)
    ]
    if bad := [name for name, array in arrays.items() if array.dtype.kind in "fc" and not np.isfinite(array).all()]:
        raise ValueError(f"{path}: damaged, {bad[0].removeprefix('model/')} holds NaN or infinity; take another copy")
    if differ:
        differ = differ[:1] if mine["model"] != saved["model"] else differ  # of another model all options differ
        raise ValueError(
            f"{path}: checkpoint of another model: {'; '.join(differ)}; use one of the same model and classes"
        )
    try:
        model.load_state_dict(unprefixed("model/", arrays))
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}; it was written by another version of the model, or with other options"
        ) from error


class Pretrained(NamedTuple):
    """What a file holds for a model. fitting: arrays by the model's names; left_out: lines about those that do not fit,
    and why."""

    fitting: dict[str, np.ndarray]
    left_out: list[str]


def find_pretrained(path: str | os.PathLike, model: Model) -> Pretrained:
    """The weights in a file that fit a model by name and shape: those of a part of it, such as a backbone or a coarser
    net.

    path: .npz, .safetensors, .pth, or a checkpoint of another model; model.pretrained_names gives published arrays
    the model's own names. Of a checkpoint for other classes, arrays whose shapes depend on the classes are left out.
    Raises ValueError naming `path` where nothing fits, or read_state refuses the file.
    """
    arrays, own, fitting, left_out = read_state(path, KEYS), model.state_dict(), {}, []
    arrays = unprefixed("model/", arrays) or arrays
    if arrays and all(name.startswith(PARALLEL) for name in arrays):
        arrays = unprefixed(PARALLEL, arrays)
    renamed = model.pretrained_names(arrays)
    heads = _of_classes(model) if _other_classes(path, model) else set()
    for name in own.keys() & renamed.keys():
        shape, wanted = renamed[name].shape, own[name].shape
        if shape != wanted:
            left_out.append(f"{name} has shape {shape}, wanted {wanted}")
        elif name in heads:
            left_out.append(f"{name} is of other classes")
        else:
            fitting[name] = renamed[name]
    if not fitting:
        raise ValueError(f"{path}: {_why_none(arrays, own, sorted(left_out))}")
    return Pretrained({name: fitting[name] for name in own if name in fitting}, sorted(left_out))


def load_pretrained(path: str | os.PathLike, model: Model) -> list[str]:
    """Load what find_pretrained finds. Returns the names loaded; the others keep their random weights."""
    found = find_pretrained(path, model)
    model.load_state_dict(found.fitting, strict=False)
    return list(found.fitting)


def _other_classes(path, model):
    """Whether a file is a checkpoint of a model for other classes, or the same in another order."""
    meta = read_metadata(path) if Path(path).suffix.lower() == ".npz" else {}
    config = meta.get("model") if isinstance(meta, dict) else None
    return isinstance(config, dict) and "classes" in config and config["classes"] != list(model.classes)


def _defaults(name):
    """The options of a registered model."""
    return as_json(MODELS[name].options()) if name in MODELS else {}


def _older(config):
    """Options of a checkpoint that is older than they are, where they do not have their defaults: see OnAlexNet."""
    options = MODELS[config["model"]].options if config["model"] in MODELS else None
    return options.older(config) if hasattr(options, "older") else {}


def _of_use(config):
    """The options of a checkpoint without those that its model does not use: older ones may have any value of them."""
    options = MODELS[config["model"]].options if config["model"] in MODELS else None
    return {name: value for name, value in config.items() if options is None or name not in unused(options)}


def _of_classes(model):
    """The names of the arrays whose shapes depend on the number of classes: another model is built to see which."""
    if model.name not in MODELS:
        return set()
    options, more = as_json(model.options), [*model.classes, "another class"]
    by_class = [name for name, value in options.items() if isinstance(value, list) and len(value) == len(model.classes)]
    try:
        other = build(model.name, more, **options)
    except ValueError:  # an option with a value a class, such as class_weights
        other = build(model.name, more, **{name: v for name, v in options.items() if name not in by_class})
    own, shapes = model.state_dict(), {name: array.shape for name, array in other.state_dict().items()}
    return {name for name, array in own.items() if shapes.get(name) != array.shape}


def _why_none(arrays, own, left_out):
    """Shapes that do not fit or, where no array has a name of the model's, names of both."""
    if left_out:
        more = f"; and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        return f"none of its arrays fits the model's: {'; '.join(left_out[:SHOWN])}{more}"
    theirs, ours = (", ".join(list(names)[:SHOWN]) for names in (arrays, own))
    return f"none of its arrays ({theirs}, ...) fits the model's ({ours}, ...)"


def find_checkpoint(path: str | os.PathLike) -> Path:
    """The checkpoint of a path: a file, or in a run folder best.npz, or last.npz where there is no best yet."""
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; give a checkpoint (.npz) or the folder of a run")
    if not path.is_dir():
        return path
    for name in (BEST, LAST):
        if (path / name).is_file():
            return path / name
    raise ValueError(f"{path}: holds no checkpoint ({BEST} or {LAST}); give a folder that scripts.train has written to")


def prefixed(prefix: str, arrays: dict) -> dict:
    """{prefix + name: array}."""
    return {prefix + name: array for name, array in arrays.items()}


def unprefixed(prefix: str, arrays: dict) -> dict:
    """The arrays whose names begin with prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _model_config(path, meta):
    config = meta.get("model")
    if not isinstance(config, dict) or not {"model", "classes"} <= config.keys():
        raise ValueError(f"{path}: holds no model; give a checkpoint that scripts.train wrote")
    name, classes = config["model"], config["classes"]
    if not isinstance(name, str) or not isinstance(classes, list) or not all(isinstance(c, str) for c in classes):
        raise ValueError(f"{path}: damaged, it does not say which model and classes it is of; take another copy")
    twice = len(set(classes)) < len(classes) and _closed(name)
    if twice or "" in classes:
        raise ValueError(f"{path}: damaged, its classes must be names, none twice, got {classes!r:.200}")
    if "rng" in config:
        raise ValueError(f"{path}: damaged, {name} has no option 'rng'; take another copy")
    return config


def _closed(name):
    """Whether the classes of a model are kinds of things. A word of a vocabulary may stand there twice."""
    from vision.task import TASKS  # here, since tasks import models

    return name not in MODELS or MODELS[name].task not in TASKS or TASKS[MODELS[name].task].closed
