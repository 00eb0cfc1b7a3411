"""The systems that are registered in `vision`, as two tables: names in README.md; paper and figures in docs/systems.md.

example, look at the long one:
  python -m scripts.systems

example, write both, between the marks of each file:
  python -m scripts.systems --write
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from nn.io.checkpoint import replacing
from scripts.command_line import Parser, command
from vision import MODELS
from vision.registry import Entry

BEGIN, END = "<!-- systems: python -m scripts.systems --write -->", "<!-- end of systems -->"
ROOT = Path(__file__).parents[1]
COURSE = (  # the tasks in the order of a course; others follow
    "classification", "localization", "proposals", "detection", "segmentation", "instances", "captioning", "vqa",
    "sequence", "embedding", "navigation",
)  # fmt: skip
UNMEASURED = "every gradient checked; not trained here"


@command
def main(arguments: list[str]) -> int | None:
    parser = Parser("scripts.systems", __doc__)
    parser.add_argument("--write", action="store_true", help="replace the tables of README.md and docs/systems.md")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if not parser.parse_args(arguments).write:
        print(table())
        return
    for path, made in files().items():
        whole = updated(path.read_text(encoding="utf-8"), path, made)
        with replacing(path) as file:
            file.write(whole.encode())


def files() -> dict[Path, Callable[[], str]]:
    """{file: function that makes its table}."""
    return {ROOT / "README.md": overview, ROOT / "docs" / "systems.md": table}


def overview() -> str:
    """A Markdown table with a row for each task: the names of its systems."""
    rows = ["| folder | systems |", "| --- | --- |"]
    for task, groups in tasks().items():
        rows.append(f"| `vision/{task}` | {' · '.join(entries[0].system for entries in groups)} |")
    return "\n".join(rows)


def table() -> str:
    """A Markdown table for each task with a row for each system, sorted by file."""
    lines = []
    for task, groups in tasks().items():
        lines += [f"## {task}", "", "| system | paper | file | measured |", "| --- | --- | --- | --- |"]
        for entries in groups:
            sources = ", ".join(dict.fromkeys(f"`{_path(entry)}`" for entry in entries))
            figures = "; ".join(entry.figures for entry in entries if entry.figures) or UNMEASURED
            lines.append(f"| {entries[0].system} | {_linked(entries[0].paper)} | {sources} | {figures} |")
        lines.append("")
    return "\n".join(lines).strip()


def tasks() -> dict[str, list[list[Entry]]]:
    """The registered models of this package: {task: the systems, each a list of models}."""
    found = {}
    for entry in sorted(MODELS.values(), key=lambda entry: entry.module):
        if entry.module.startswith("vision."):
            task = entry.module.split(".")[1]
            found.setdefault(task, {}).setdefault(entry.system, []).append(entry)
    order = sorted(found, key=lambda task: (COURSE.index(task) if task in COURSE else len(COURSE), task))
    return {task: list(found[task].values()) for task in order}


def updated(text: str, path: Path, made: Callable[[], str]) -> str:
    """The text with the current table between its marks. ValueError naming the path where a mark is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path}: has no marks for the table: add the lines {BEGIN} and {END} where it belongs")
    return f"{before}{BEGIN}\n{made()}\n{END}{after}"


def _path(entry):
    return Path(entry.file).resolve().relative_to(ROOT).as_posix()


def _linked(paper):
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


if __name__ == "__main__":
    sys.exit(main())
