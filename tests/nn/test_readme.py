"""nn/README.md: a row for every public name, and signatures as they are."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import nn

README = Path(nn.__file__).with_name("README.md")
ROW = re.compile(r"^\| `(?P<name>[\w.]+)\((?P<signature>.*?)\)` \| (?P<rest>.*)$", re.MULTILINE)
ROWS = {row["name"]: row for row in ROW.finditer(README.read_text())}


def found(name):
    """nn.<name>, or what a dotted name says."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module or "nn"), attribute)


def shown(function, without=()):
    """The signature as the README has it: no types, classes by their names."""

    def default(value):
        if not inspect.isclass(value):
            return repr(value)
        return f"np.{value.__name__}" if value.__module__ == "numpy" else value.__name__

    parts, keyword_only = [], False
    for p in inspect.signature(function).parameters.values():
        if p.name in without:
            continue
        if p.kind is p.KEYWORD_ONLY and not keyword_only and not any(part.startswith("*") for part in parts):
            parts.append("*")
        keyword_only |= p.kind is p.KEYWORD_ONLY
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        parts.append(stars + p.name + ("" if p.default is p.empty else f"={default(p.default)}"))
    return ", ".join(parts)


def is_layer(value):
    return inspect.isclass(value) and issubclass(value, nn.Layer)


def missing_rows(public, rows=ROWS):
    return sorted(set(public) - set(rows))


def wrong_signatures(rows):
    return [f"{n}({shown(found(n))})" for n, row in rows.items() if row["signature"] != shown(found(n))]


def test_every_public_name_has_a_row():
    assert missing_rows(nn.__all__) == []


def test_no_row_is_about_something_that_is_not_public():
    assert [name for name in ROWS if "." not in name and name not in nn.__all__] == []


def test_every_table_line_is_a_row_and_no_name_has_two():
    lines = [line for line in README.read_text().splitlines() if line.startswith("| `")]
    assert len(lines) == len(ROWS)
    assert all(len(re.split(r"(?<!\\)\|", line)) == 6 for line in lines)  # four columns


def test_signatures_are_those_of_the_code():
    assert wrong_signatures(ROWS) == []


@pytest.mark.parametrize("name", [name for name in ROWS if is_layer(found(name))])
def test_calls_with_more_than_x_are_documented(name):
    wanted = shown(found(name).forward, without=("self", "training"))
    calls = re.findall(r"forward\((.*?)\)", ROWS[name]["rest"])
    assert set(calls) <= {wanted}
    assert wanted == "x" or calls == [wanted]


def test_a_missing_row_and_a_wrong_signature_are_noticed():
    assert missing_rows([*nn.__all__, "NewLayer"]) == ["NewLayer"]
    text = README.read_text()
    for before, after in [("momentum=0.1", "momentum=0.9"), ("*, rng=None", "rng=None"), ("kernel_size, ", "")]:
        row = ROW.search(next(line for line in text.splitlines() if before in line).replace(before, after, 1))
        assert wrong_signatures({row["name"]: row}) == [f"{row['name']}({shown(found(row['name']))})"]
