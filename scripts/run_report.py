"""A run's own page, report.html: curves, table, pictures, settings, versions and the command, in one file.

It is written at the end of scripts.train, and opens without a network.
"""

import base64
import html
import json
from pathlib import Path

from nn.io.checkpoint import replacing
from scripts.command_line import typed_command
from scripts.line_chart import chart
from scripts.pictures import by_epoch
from scripts.run_folder import PICTURES, read_config, read_log
from vision.task import Task

REPORT, TEMPLATE = "report.html", Path(__file__).with_name("run_report.html")
SHOWN = 3  # epochs whose pictures are shown: the first, the middle one, the last
KINDS = {".png": "png", ".gif": "gif"}
PAIRS = ("set", "lr_scale", "mazes")  # arguments that are lists of [name, value]


def write_run_report(folder: Path, task: Task) -> Path:
    """Write the page of a run from what its folder holds; returns its path."""
    config, records = read_config(folder), read_log(folder)
    parts = [
        head(folder, config, records, task),
        curves(records, task),
        table(records, task),
        pictures(folder),
        settings(config),
    ]
    text = TEMPLATE.read_text(encoding="utf-8").replace("{{TITLE}}", escaped(folder.resolve().name))
    page, path = text.replace("{{BODY}}", "\n".join(filter(None, parts))).encode(), folder / REPORT
    if not path.exists() or path.read_bytes() != page:  # a run that is resumed when it is done changes nothing
        with replacing(path) as file:
            file.write(page)
    return path


def escaped(value) -> str:
    """Text for HTML."""
    return html.escape(str(value))


def section(title: str, body: str) -> str:
    """A section, "" without a body."""
    return f"<section><h2>{escaped(title)}</h2>\n{body}\n</section>" if body else ""


def head(folder: Path, config: dict, records: list[dict], task: Task) -> str:
    """The run's name, its best evaluation, and the command."""
    found = evaluations(records, task)
    best = max(found, key=lambda each: each[1], default=None)
    told = f"best {task.metric} {best[1]:.3f} in epoch {best[0]}" if best else "never evaluated"
    seconds = max((record.get("seconds", 0) for record in records), default=0)
    model = escaped(config["arguments"]["model"])
    lines = f"<p>{model} on {escaped(config['arguments']['data'])}: {told}; {seconds / 60:.1f} minutes of training.</p>"
    typed = f"<pre class='wrap'>{escaped(command(config))}</pre>"
    return f"<header><h1>{escaped(folder.resolve().name)}</h1>{lines}{typed}</header>"


def command(config: dict) -> str:
    """The command line that begins this run again: what was typed."""
    arguments, words = config["arguments"], []
    for name in arguments.get("typed", ()):
        value = arguments.get(name)
        if name in ("model", "run_dir", "typed") or value is None or value is False:
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        if name in PAIRS:
            values = [f"{key}={inner if isinstance(inner, str) else json.dumps(inner)}" for key, inner in values]
        words += [f"--{name.replace('_', '-')}", *values]
    return typed_command("scripts.train", "--model", arguments["model"], *words, "--run-dir", "DIR")


def evaluations(records: list[dict], task: Task) -> list[tuple[int, float]]:
    """(epoch, headline metric) of each evaluation."""
    return list(by_epoch(records, task.metric)[2].items())


def curves(records: list[dict], task: Task) -> str:
    """The losses, those of unseen data dashed, and the headline metric."""
    losses, unseen, metric = by_epoch(records, task.metric)
    dashed = {f"{name}, validation": values for name, values in unseen.items() if name in losses}
    charts = [chart("loss, mean over the epoch", losses, dashed)] if losses else []
    charts += [chart(task.metric, {task.metric: metric})] if metric else []
    return section("Curves", f"<div class='charts'>{''.join(charts)}</div>" if charts else "")


def table(records: list[dict], task: Task) -> str:
    """The table of the last evaluation."""
    evaluated = [record for record in records if record.get("metrics")]
    if not evaluated:
        return ""
    text = escaped(task.table(evaluated[-1]["metrics"]))
    return section(f"The last evaluation, after epoch {evaluated[-1].get('epoch', '?')}", f"<pre>{text}</pre>")


def pictures(folder: Path) -> str:
    """Predictions on validation data, after the first, a middle and the last epoch."""
    files = sorted(path for path in (folder / PICTURES).glob("epoch_*") if path.suffix in (*KINDS, ".txt"))
    chosen = files if len(files) <= SHOWN else [files[0], files[len(files) // 2], files[-1]]
    return section(
        "Predictions on validation data",
        f"<div class='pictures'>{''.join(map(figure, chosen))}</div>" if chosen else "",
    )


def figure(path: Path) -> str:
    """A picture or a text of the run."""
    name = f"epoch {int(path.stem.rpartition('_')[2])}"
    if path.suffix == ".txt":
        text = escaped(path.read_text(encoding="utf-8"))
        return f"<figure><pre class='wrap'>{text}</pre><figcaption>{name}</figcaption></figure>"
    data = base64.b64encode(path.read_bytes()).decode()
    source = f"data:image/{KINDS[path.suffix]};base64,{data}"
    return f"<figure><img src='{source}' alt='predictions, {name}'><figcaption>{name}</figcaption></figure>"


def settings(config: dict) -> str:
    """What was typed; on demand all arguments and the model's options; versions."""
    arguments = {name: value for name, value in config["arguments"].items() if name != "typed"}
    typed = {name: arguments[name] for name in config["arguments"].get("typed", ()) if name in arguments}
    body = rows({"model": arguments["model"], **typed})
    every = {"all arguments": arguments, "the model": config.get("model", {})}
    body += "".join(f"<details><summary>{title}</summary>{rows(values)}</details>" for title, values in every.items())
    return section("Settings, as typed", body) + section("Versions", rows(config.get("versions", {})))


def rows(values: dict) -> str:
    """A table of names and values."""
    each = (
        f"<tr><th scope='row'>{escaped(name)}</th><td>{escaped(plain(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(each)}</table>"


def plain(value) -> str:
    """A value as it is read."""
    return value if isinstance(value, str) else json.dumps(value)
