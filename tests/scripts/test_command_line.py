import argparse
import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from scripts.command_line import (
    Group,
    Parser,
    command,
    count,
    fraction,
    not_negative,
    number,
    positive,
    started_as,
    typed_command,
)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (count, {"1": 1, "20": 20}, ["0", "-1", "1.5", "x", ""]),
        (positive, {"1e-9": 1e-9, "3": 3.0}, ["0", "-1", "nan", "inf", "x"]),
        (not_negative, {"0": 0.0, "0.5": 0.5}, ["-1e-9", "nan", "inf"]),
        (fraction, {"0": 0.0, "1": 1.0, "0.25": 0.25}, ["-0.1", "1.1", "nan"]),
        (number(32, whole=True), {"32": 32}, ["31"]),
    ],
)
def test_numbers(kind, good, bad):
    for text, value in good.items():
        assert kind(text) == value
        assert type(kind(text)) is type(value)
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f"must be a .*number .*, got '?{re.escape(text)}'?$"):
            kind(text)


def test_defaults_are_those_of_the_dict_and_in_the_help(capsys):
    parser = Parser("scripts.x", "What it does.\n\nexample: run it")
    group = Group(parser, "things", {"some_size": [3, 4]})
    group.add("--some-size", int, ("H", "W"), "size", nargs=2)
    group.add("--other", int, "N", "another")
    group.switch("--flag", "a switch")
    assert vars(parser.parse_args([])) == {"some_size": [3, 4], "other": None, "flag": False}
    assert parser.parse_args(["--flag"]).flag
    text = " ".join(parser.format_help().split())
    assert "usage: python -m scripts.x" in text
    assert "What it does." in text
    assert "--some-size H W size (default: 3 4)" in text
    assert "--other N another --flag a switch" in text
    assert text.endswith("example: run it")


def test_status_and_messages(capsys):
    outcomes = {
        "fine": None,
        "three": 3,
        "mendable": ValueError("first line\nsecond line"),
        "ctrl-c": KeyboardInterrupt(),
        "disk": OSError(28, "No space left on device"),
    }

    @command
    def main(arguments):
        outcome = outcomes[arguments[0]]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    assert [main([name]) for name in outcomes] == [0, 3, 2, 130, 2]
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["error: first line second line", "interrupted", "error: [Errno 28] No space left on device"]
    with pytest.raises(ValueError, match="first line"):
        main(["mendable", "--debug"])
    with pytest.raises(KeyError):
        main(["what"])


def test_hints_can_be_pasted_into_a_shell(monkeypatch):
    typed = typed_command("scripts.train", "--run-dir", Path("my runs/it's"), "--lr", 0.1)
    assert shlex.split(typed) == ["python", "-m", "scripts.train", "--run-dir", "my runs/it's", "--lr", "0.1"]
    monkeypatch.setitem(started_as, "console", True)
    assert typed_command("scripts.train", "--run-dir", "a b") == "handwritten-vision train --run-dir 'a b'"


def test_names_that_a_terminal_cannot_show(capsys):
    @command
    def main(arguments):
        raise ValueError("a\x1b[2J\u202e\udcff é😀: damaged") if arguments else FileNotFoundError(2, "No file", b"\xff")

    assert main([]) == main(["x"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: \\udcff: No file", "error: a\\x1b[2J\\u202e\\udcff é😀: damaged",
    ]  # fmt: skip


def test_what_the_encoding_of_a_terminal_does_not_have_is_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, "ascii"))
    assert command(lambda arguments: print("é \udcff"))([]) == 0
    sys.stdout.flush()
    assert written.getvalue() == b"\\xe9 \\udcff\n"
