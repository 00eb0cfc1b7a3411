"""The systems that are registered in `vision`, as the table of README.md: one row and one figure per system.

example, look at the table:
  python -m scripts.systems

example, write it to the README, between its two marks:
  python -m scripts.systems --write README.md
"""

import re
import sys
from pathlib import Path

from nn.io.checkpoint import replacing
from scripts.command_line import Parser, command
from vision import MODELS
from vision.registry import Entry

BEGIN, END = "<!-- systems: python -m scripts.systems --write README.md -->", "<!-- end of systems -->"
ROOT = Path(__file__).parents[1]
TASKS = ("classification", "detection", "segmentation", "captioning", "vqa", "language", "translation")
UNMEASURED = "every gradient checked; not trained here"


@command
def main(arguments: list[str]) -> int | None:
    parser = Parser("scripts.systems", __doc__)
    text = "replace the table between the marks of this file"
    parser.add_argument("--write", metavar="FILE", type=Path, help=text)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    path = parser.parse_args(arguments).write
    if path is None:
        print(table())
        return
    whole = updated(path.read_text(encoding="utf-8"), path)
    with replacing(path) as file:
        file.write(whole.encode())


def table() -> str:
    """A Markdown table with a row for each system, sorted by task, then by file."""
    rows = ["| system | paper | file | measured |", "| --- | --- | --- | --- |"]
    for entries in systems():
        files = ", ".join(dict.fromkeys(f"`{_path(entry)}`" for entry in entries))
        figures = "; ".join(entry.figures for entry in entries if entry.figures) or UNMEASURED
        rows.append(f"| {entries[0].system} | {_linked(entries[0].paper)} | {files} | {figures} |")
    return "\n".join(rows)


def systems() -> list[list[Entry]]:
    """The registered models of this package, grouped by system."""
    groups = {}
    for entry in MODELS.values():
        if entry.module.startswith("vision."):
            groups.setdefault((TASKS.index(entry.task), entry.system), []).append(entry)
    return [groups[key] for key in sorted(groups, key=lambda key: (key[0], _path(groups[key][0])))]


def updated(text: str, path: Path) -> str:
    """The text with the current table between its marks. ValueError naming the path where a mark is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path}: has no marks for the table: add the lines {BEGIN} and {END} where it belongs")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _path(entry):
    return Path(entry.file).resolve().relative_to(ROOT).as_posix()


def _linked(paper):
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


if __name__ == "__main__":
    sys.exit(main())
