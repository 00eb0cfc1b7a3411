"""From a model and samples to the data of the page."""

import platform
from datetime import date
from typing import Any

import numpy as np

from nn.record import arrays_in
from scripts.inspection import pictures, source
from scripts.inspection.facts import Facts, fields_of
from scripts.inspection.numbers import rounded
from scripts.inspection.outputs import followed
from scripts.inspection.passes import Seen, looked_into
from scripts.inspection.recurrent import attention_parts, gates_parts, words_of
from scripts.inspection.regions import boxes_part
from vision import Model
from vision.registry import find
from vision.task import task_of

TRAINING = "as in a step of training: with the statistics of this batch, and with dropout"
TESTING = "as in testing: with running statistics, without dropout"


def report(
    model: Model, samples: list[dict], words: str, about: dict[str, Any], stage: str | None = None, testing=False
):
    """All that the page shows of one pass: see page.js for how it is read.

    samples: scaled, with a truth; words: what the truth is. about: name, command, of the report's head. testing: with
    running statistics and without dropout, not as a step of training.
    """
    batch = task_of(model.name).collate(model, samples)
    fields, parameters = fields_of(model, batch), {id(p): p for p in model.parameters().values()}.values()
    written = {id(layer): source.arguments(layer) for _, layer in model.layers()}
    frozen = sum(p.value.size for p in parameters if not p.trainable)
    with looked_into(model, batch, stage, testing) as seen:
        facts = Facts(seen, fields, written).all()
        data = seen.data_gradient
        whole = {
            "losses": {name: rounded(float(value)) for name, value in seen.losses.items()},
            "stage": seen.stage.name,
            "mode": TESTING if testing else TRAINING,
            "ms": rounded(1e3 * seen.seconds[0]),
            "back_ms": rounded(1e3 * seen.seconds[1]),
            "macs": sum(each["macs"] for each in facts["passes"] if each["leaf"]),
            "parameters": sum(p.value.size for p in parameters),
            "frozen": frozen,
            "pixels": pictures.overlay(data[0]) if data is not None else None,
        }
        outputs, extras = followed(seen), parts(seen, samples[0])
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    entry = find(model.name)
    return {
        **about, "model": model.name, "task": entry.task, "paper": entry.paper, "words": words,
        "input": shown_input(samples[0], batch), "versions": versions, "date": date.today().isoformat(),
        "whole": whole, "outputs": outputs, "extras": extras, **facts,
    }  # fmt: skip


def parts(seen: Seen, sample: dict) -> list[dict[str, Any]]:
    """What only some models have: boxes, gates over time, attention."""
    words = words_of(seen, sample)
    return [*boxes_part(seen, sample), *attention_parts(seen, words), *gates_parts(seen, words)]


def shown_input(sample: dict, batch: tuple) -> dict[str, Any]:
    """The picture that the network sees, with its size in the batch; or the text that it reads."""
    images = next(arrays_in(batch), np.zeros(0))
    size = [int(side) for side in images.shape[-2:]] if images.ndim == 4 else None
    if "image" in sample:
        image = sample["image"]
        h, w = image.shape[:2]
        same = size is not None and images.shape[1] == 3 and size[0] >= h and size[1] >= w
        return {"uri": pictures.photograph(image), "height": h, "width": w, "padded": size if same else None}
    if images.ndim >= 4 and images.shape[-3] == 3:  # what an agent sees first
        first = images.reshape(-1, *images.shape[-3:])[0].transpose(1, 2, 0)
        low, high = float(first.min()), float(first.max())
        image = (255 * (first - low) / max(high - low, 1e-9)).astype(np.uint8)
        return {"uri": pictures.photograph(image), "height": image.shape[0], "width": image.shape[1], "padded": None}
    return {"text": str(sample.get("text", ""))[:500]}
