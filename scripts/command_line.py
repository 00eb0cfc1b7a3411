"""What all scripts share: arguments with their defaults shown, and errors in one line."""

import argparse
import functools
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable
from difflib import get_close_matches
from math import inf
from pathlib import Path

from nn.gpu.device import DEVICES, to_device

# Arguments of vision.build that are no options, and the words of --set for values that are neither number nor text.
NO_OPTIONS = {"model", "classes", "rng"}
WORDS = {"none": None, "null": None, "true": True, "false": False}

CONSOLE = "handwritten-vision"  # the console command, see handwritten_vision.py
ELSEWHERE = {  # what other programs call these arguments
    "--learning-rate": "--lr", "--gpu": "--device", "--cuda": "--device", "--num-workers": "--workers",
    "--dataset": "--data", "--data-dir": "--root", "--output": "--out", "--output-dir": "--run-dir",
    "--conf": "--threshold", "--checkpoint": "--weights",
}  # fmt: skip
started_as = {"console": False}  # whether the scripts are started by it


def program(script: str) -> str:
    """How a script such as "scripts.train" is called on a command line, in the way that this process was."""
    return f"{CONSOLE} {script.removeprefix('scripts.')}" if started_as["console"] else f"python -m {script}"


def without(arguments: list[str], name: str) -> list[str]:
    """The arguments without one of them and its value."""
    if name not in arguments:
        return [each for each in arguments if not each.startswith(f"{name}=")]
    at = arguments.index(name)
    return arguments[:at] + arguments[at + 2 :]


def typed_command(script: str, *arguments) -> str:
    """A whole command line, its arguments quoted for the shell."""
    return f"{program(script)} {shlex.join(map(str, arguments))}"


class Parser(argparse.ArgumentParser):
    """The arguments of a script: help from its docstring, errors in one line, no abbreviations."""

    def __init__(self, script: str, text: str = "", **options):
        text = text.replace("python -m scripts.", f"{CONSOLE} ") if started_as["console"] else text
        head, _, examples = text.partition("\n\n")
        options |= {"prog": program(script), "description": head, "epilog": examples, "allow_abbrev": False}
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def check(self, source, values: dict):
        """ValueError naming `source`, a file, for one of its values that could not have been typed: it is damaged."""
        for action in self._actions:
            if action.dest in values and not _could_be_typed(action, values[action.dest]):
                shown = f"{action.option_strings[-1]} {values[action.dest]!r:.60}"
                raise ValueError(f"{source}: damaged, as {shown} cannot be; restore it, or start a new run elsewhere")

    def parse_args(self, args=None, namespace=None):
        """As of argparse; an argument that there is not is named with the nearest."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown)}")
        return parsed

    def _meant(self, unknown):
        first = unknown[0].partition("=")[0].replace("_", "-")
        if not first.startswith("-"):
            return "; a name with spaces needs quotes around it" if len(unknown) > 1 else ""
        flags = [flag for action in self._actions for flag in action.option_strings]
        near = [flag for flag in flags if flag == ELSEWHERE.get(first) or (len(first) > 3 and flag.startswith(first))]
        near = near or get_close_matches(first, flags, 1)
        return f"; did you mean {' or '.join(near)}?" if near else ""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (--help lists all arguments)\n")


class Group:
    """A titled group of arguments; their defaults come from a dict and are shown in the help."""

    def __init__(self, parser: Parser, title: str, defaults: dict, description: str | None = None):
        self.group, self.defaults = parser.add_argument_group(title, description), defaults

    def add(self, flag: str, kind: Callable, metavar, help: str, **options):
        """An argument with a value of the type `kind`, called `metavar` in the help; no default: None."""
        default = self.defaults.get(flag.removeprefix("--").replace("-", "_"))
        shown = " ".join(map(_as_typed, default)) or "none" if isinstance(default, (list, tuple)) else default
        text = help if default is None else f"{help} (default: {shown})"
        self.group.add_argument(flag, type=kind, metavar=metavar, default=default, help=text, **options)

    def switch(self, flag: str, help: str):
        """An argument without a value: False, or True where it is given."""
        self.group.add_argument(flag, action="store_true", help=help)


def _could_be_typed(action, value) -> bool:
    """Whether an argument has such values, once they are parsed."""
    if value is None or action.nargs == 0:  # a switch
        return isinstance(value, bool) if action.nargs == 0 else action.default is None
    if (action.nargs is not None) != isinstance(value, list):
        return False
    values = value if isinstance(value, list) else [value]
    if len(values) != action.nargs and isinstance(action.nargs, int):
        return False
    try:
        parsed = [(action.type or str)(_as_typed(each)) for each in values]
    except (TypeError, ValueError, argparse.ArgumentTypeError):
        return False
    values = [Path(v) if isinstance(p, Path) else v for p, v in zip(parsed, values)]  # a file of JSON has no paths
    return parsed == values and (not action.choices or set(parsed) <= set(action.choices))


def _as_typed(value) -> str:
    """A value as it would be typed; a pair is NAME=VALUE."""
    if isinstance(value, list):
        name, inner = value
        return f"{name}={inner if isinstance(inner, str) else json.dumps(inner)}"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError("nothing that is typed is of this type")
    return str(value)


def command(main: Callable[[list[str]], int | None]) -> Callable[..., int]:
    """Turn main(arguments) into a command: it returns the exit status.

    Errors that a user can fix (ValueError of our checks, OSError, MemoryError) become one line on stderr and status 2;
    --debug shows the traceback instead. Every other error is a bug in the library and keeps its traceback.
    """

    @functools.wraps(main)
    def run(arguments: list | None = None) -> int:
        arguments = sys.argv[1:] if arguments is None else [str(argument) for argument in arguments]
        logging.basicConfig(format="%(message)s")  # to stderr
        logging.getLogger("vision").setLevel(logging.INFO)
        for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding does not have is no error
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            return main(arguments) or 0
        except (ValueError, OSError, MemoryError) as error:
            if "--debug" in arguments:
                raise
            print("error:", _one_line(error), file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    return run


def list_failed(failed: list[str], what: str, total: int) -> int:
    """Exit status of a command on so many files or samples: 1, and a line each on stderr, where some failed."""
    if failed:
        print(f"could not be {what}: {len(failed)} of {total}", file=sys.stderr)
        for message in failed:
            print(f"  {_one_line(message)}", file=sys.stderr)
    return 1 if failed else 0


def add_device(parser: argparse.ArgumentParser):
    """The argument --device; see make_sure_of."""
    text = "where to compute (default: cpu); gpu needs CuPy and a CUDA device"
    parser.add_argument("--device", choices=DEVICES, default="cpu", help=text)


def make_sure_of(device: str):
    """Raise ValueError, naming what to install, if the device is not available: before long work, not after it."""
    to_device((), device)


def _one_line(error):
    """The text of an error on one line; what is not printable, such as a terminal's commands in a name, is escaped."""
    of_a_file = isinstance(error, OSError) and error.filename is not None
    text = f"{os.fsdecode(error.filename)}: {error.strerror}" if of_a_file else str(error)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


def number(low: float, high: float = inf, *, whole: bool = False, above: bool = False) -> Callable[[str], float]:
    """A type for arguments: a finite number of at least `low` (`above`: greater than it) and at most `high`."""
    wanted = f"a {'whole ' if whole else ''}number {'above' if above else 'from'} {low:g}"
    wanted += f" to {high:g}" if high < inf else ""

    def parse(text):
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}") from None
        if not low <= value <= high or value == inf or (above and value == low):
            raise argparse.ArgumentTypeError(f"must be {wanted}, got {text}")
        return value

    return parse


count = number(1, whole=True)  # 1, 2, 3, ...
count_or_none = number(0, whole=True)  # 0, 1, 2, ...
positive = number(0, above=True)
not_negative = number(0)
fraction = number(0, 1)


def model_option(text):
    """[name, value] of NAME=VALUE, the value as JSON where it is JSON (numbers, lists), else as text.

    none, null, true and false, in lower or upper case, are None, None, True and False.
    """
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"must look like NAME=VALUE, got {text!r}")
    if name in NO_OPTIONS:
        raise argparse.ArgumentTypeError(f"{name} is no option of a model, got {text!r}")
    if value.lower() in WORDS:
        return [name, WORDS[value.lower()]]
    try:
        return [name, json.loads(value)]
    except ValueError:
        return [name, value]
