"""Models in checkpoints: what belongs to the model inside one, and a model built from one."""

import json
import os

from nn.io.checkpoint import read_checkpoint
from nn.io.state import read_state
from nn.layer import Layer
from vision.registry import MODELS, build


def load_model(path: str | os.PathLike, /, **changes) -> tuple[Layer, dict]:
    """The model of a checkpoint, built anew with its weights loaded, and the checkpoint's meta data.

    changes: options of the model that are to differ from what it was trained with, such as crf=True.
    Raises ValueError naming `path` when it is missing, damaged, or of a model that is not registered in `vision`, or
    does not fit the model as changed.
    """
    arrays, meta = read_checkpoint(path)
    config = _model_config(path, meta) | changes
    if config["model"] not in MODELS:
        raise ValueError(f"{path}: checkpoint of the model {config['model']!r}; registered are {', '.join(MODELS)}")
    model = build(**config)
    load_state(path, model, arrays, meta | {"model": model.config})  # options that are new have their defaults
    return model, meta


def load_state(path: str | os.PathLike, model: Layer, arrays: dict, meta: dict):
    """Load the model's arrays of a checkpoint. ValueError naming `path` and the difference to another model's."""
    mine, saved = json.loads(json.dumps(model.config)), _model_config(path, meta)  # as JSON: tuples have become lists
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


def load_pretrained(path: str | os.PathLike, model: Layer) -> list[str]:
    """Load what fits by name and shape of weights that belong to a part of the model: a backbone, a coarser net.

    path: .npz, .safetensors, .pth, or a checkpoint of another model of ours. The model may have a method
    pretrained_names(arrays) -> arrays, which gives those of others the model's own names. Returns the names loaded;
    the rest keeps its random weights. ValueError naming `path` where nothing fits, or read_state refuses the file.
    """
    arrays, own = read_state(path), model.state_dict()
    arrays = unprefixed("model/", arrays) or arrays
    renamed = model.pretrained_names(arrays) if hasattr(model, "pretrained_names") else arrays
    model.load_state_dict(renamed, strict=False)
    loaded = [name for name, array in own.items() if name in renamed and renamed[name].shape == array.shape]
    if not loaded:
        theirs, ours = (", ".join(list(names)[:3]) for names in (arrays, own))
        raise ValueError(f"{path}: none of its arrays ({theirs}, ...) fits the model's ({ours}, ...)")
    return loaded


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
