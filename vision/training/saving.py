"""Models in checkpoints: a model built from one, and weights loaded from one."""

import os
from pathlib import Path

from nn.io.checkpoint import read_checkpoint
from nn.io.state import read_state
from vision.model import Model
from vision.registry import MODELS, build

LAST, BEST, LOG = "last.npz", "best.npz", "metrics.jsonl"


def load_model(path: str | os.PathLike, /, **changes) -> tuple[Model, dict]:
    """The model of a checkpoint, built with its weights, and the checkpoint's meta data.

    changes: options of the model that differ from those of its training, such as crf=True.
    Raises ValueError naming `path` when it is missing, damaged, of a model that is not registered, or does not fit
    the changed model.
    """
    arrays, meta = read_checkpoint(path)
    config = _model_config(path, meta) | changes
    if config["model"] not in MODELS:
        missing = f"checkpoint of the model {config['model']!r}, which is not registered"
        raise ValueError(f"{path}: {missing}; a model of your own needs --import FILE, the file that defines it")
    model = build(**config)
    load_state(path, model, arrays, meta | {"model": model.config})  # new options have their defaults
    return model, meta


def load_state(path: str | os.PathLike, model: Model, arrays: dict, meta: dict):
    """Load the model's arrays of a checkpoint. ValueError naming `path` and each difference to another model."""
    mine, saved = model.config, _model_config(path, meta)
    differ = [
        f"{key} {saved.get(key)!r}, not {mine.get(key)!r}" for key in mine | saved if saved.get(key) != mine.get(key)
    ]
    if differ:
        raise ValueError(
            f"{path}: checkpoint of another model: {'; '.join(differ)}; use one of the same model and classes"
        )
    try:
        model.load_state_dict(unprefixed("model/", arrays))
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}; it was written by another version of the model, or with other options"
        ) from error


def load_pretrained(path: str | os.PathLike, model: Model) -> list[str]:
    """Load the weights that fit by name and shape: those of a part of the model, such as a backbone or a coarser net.

    path: .npz, .safetensors, .pth, or a checkpoint of another model; model.pretrained_names gives published arrays
    the model's own names. Returns the names loaded; the others keep their random weights. Raises ValueError naming
    `path` where nothing fits, or read_state refuses the file.
    """
    arrays, own = read_state(path), model.state_dict()
    arrays = unprefixed("model/", arrays) or arrays
    renamed = model.pretrained_names(arrays)
    model.load_state_dict(renamed, strict=False)
    loaded = [name for name, array in own.items() if name in renamed and renamed[name].shape == array.shape]
    if not loaded:
        theirs, ours = (", ".join(list(names)[:3]) for names in (arrays, own))
        raise ValueError(f"{path}: none of its arrays ({theirs}, ...) fits the model's ({ours}, ...)")
    return loaded


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
    return config
