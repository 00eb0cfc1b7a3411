"""The folder of a training run.

config.json     arguments, model and versions: everything needed to repeat the run
metrics.jsonl   one JSON object per line: of each step lr, losses, gradient_norm, waited; of each epoch validation (the
                losses on unseen data), speed (samples a second), memory (the most bytes so far); of each evaluation
                metrics; of resuming with other arguments what changed
events.out...   the same for TensorBoard, where its package is installed
metrics.csv     the same by epoch: means of the losses, metrics
last.npz        the newest checkpoint, to resume from      best.npz    the model with the best evaluation
proposals/      boxes from elsewhere, for detectors that want them, unless --proposals names another folder
curve.png       losses and headline metric over epochs     pictures/   predictions on validation data
report.html     all of these on one page, written at the end
"""

import json
from pathlib import Path

from nn.io.checkpoint import replacing
from vision.training.log import LOG, read_records
from vision.training.saving import LAST

# Arguments that may be others when a run is resumed: what differs stands in the log.
CHANGEABLE = ("epochs", "lr", "root", "patience", "val_batches")
CONFIG, CURVE, PICTURES, PROPOSALS = "config.json", "curve.png", "pictures", "proposals"


def refuse_to_overwrite(folder: Path):
    """Raise ValueError if `folder` holds a run already, or is a file."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; give --run-dir a folder, new or empty")
    held = [name for name in (CONFIG, LAST, LOG) if (folder / name).exists()]
    if held:
        raise ValueError(
            f"{folder}: holds a run already ({', '.join(held)}); continue it with --resume, or give another --run-dir"
        )


def write_config(folder: Path, config: dict):
    """Create the folder with its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / CONFIG) as file:
        file.write(json.dumps(config, indent=2).encode() + b"\n")


def read_config(folder: Path) -> dict:
    """The config of a run. ValueError naming the file if there is none, or if it is damaged."""
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder}: holds no run to resume (no {CONFIG}); leave out --resume to start one")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        arguments = config["arguments"]
        if isinstance(arguments["model"], str) and set(map(type, arguments.get("typed", ()))) <= {str}:
            return config
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError(f"{path}: damaged, not the config of a run; restore it, or start a new run elsewhere")


def changed(folder: Path, saved: dict, given: dict) -> dict[str, list]:
    """{name: [before, now]} of the arguments of `given` that differ from the run's own and may: see CHANGEABLE.

    Raises ValueError naming each other one that differs.
    """
    given = json.loads(json.dumps(given))  # tuples become lists, as in the file
    differ = [name for name, value in given.items() if name not in saved or saved[name] != value]
    changes = {name: [saved.get(name), given[name]] for name in differ if name in CHANGEABLE}
    if differ := [name for name in differ if name not in CHANGEABLE]:
        shown = "; ".join(
            f"--{n.replace('_', '-')} {_typed(given[n])}, but the run has {_typed(saved.get(n))}" for n in differ
        )
        advice = "leave that out to resume, or start a new run in another --run-dir"
        raise ValueError(f"{folder / CONFIG}: cannot resume with {shown}: {advice}")
    return changes


def read_log(folder: Path) -> list[dict]:
    """The records of metrics.jsonl."""
    return read_records(folder / LOG)


def _typed(value):
    """A value as it would be typed on a command line."""
    if value is None or value == []:
        return "none"
    if not isinstance(value, list):
        return str(value)
    return " ".join("=".join(map(str, item)) if isinstance(item, list) else str(item) for item in value)
