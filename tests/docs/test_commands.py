"""The commands on all pages and in the scripts' help: their arguments parse, and their models have the options.

A command ends where its arguments are parsed. Left out are those with an ellipsis, and those of a model of one's own.
"""

import re
import shlex
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import pytest

import vision
from scripts import gradcheck, train_arguments
from scripts.command_line import Parser
from scripts.compare_systems import parse_system
from vision.options import complete

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")), *ROOT.glob("*/README.md")]
SCRIPTS = sorted(ROOT.glob("scripts/*.py"))
# A variable of the shell, that of a loop, or a command; one of a run, in a span of code, may do without "python -m".
PIECES = re.compile(
    r'\b([A-Z])="([^"]*)"|\bfor (\w) in (\w+) [\w ]+;|'
    r"(?:python -m scripts|`scripts(?=\.\w+ [^-]))\.(\w+) ([^\n`]*)"
)
TRAIN = train_arguments.build_parser(None, "")
FENCED = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)


def commands(text: str):
    """(script, arguments) of the commands in a page, in order, with the values of the variables in them."""
    parts = FENCED.split(text)
    parts[::2] = (re.sub("`[^`]+`", lambda span: " ".join(span[0].split()), part) for part in parts[::2])
    variables = {}
    for name, value, of_loop, first, script, rest in PIECES.findall(re.sub(r"\\\n\s*", " ", "".join(parts))):
        value, rest = (re.sub(r"\$(\w)\b", lambda v: variables.get(v[1], v[0]), each) for each in (value, rest))
        if name or of_loop:
            variables[name or of_loop] = first or " ".join(value.split())
        elif rest.strip() and "..." not in rest and "--import" not in rest:
            yield script, shlex.split(re.split(r"\s(?:&&|-->|[|>])(?:\s|$)|;(?:\s|$)", rest)[0], comments=True)


class ParsedError(Exception):
    """In place of what a script does with its arguments."""


@pytest.fixture(autouse=True)
def only_parsing(monkeypatch):
    """Parsers raise ParsedError, but for that of scripts.train, which is asked directly."""
    of_argparse = Parser.parse_args

    def parse(self, arguments=None, namespace=None):
        parsed = of_argparse(self, arguments, namespace)
        if self.prog.endswith("train"):
            return parsed
        raise ParsedError(parsed)

    monkeypatch.setattr(Parser, "parse_args", parse)


def parse(script: str, arguments: list[str]) -> Namespace | None:
    """The arguments as the script's own parser has them; None for --help."""
    try:
        if script == "train":  # its main would read the run that --resume continues
            return None if arguments == ["--models"] else TRAIN.parse_args(arguments)
        import_module(f"scripts.{script}").main(arguments)
    except ParsedError as end:
        return end.args[0]
    except SystemExit as end:
        if end.code:
            raise
    return None


def check(script: str, args: Namespace, arguments: list[str], runs: dict[str, str]):
    """Names that parsing alone does not look at. runs: {folder: its model} of the commands before."""
    after = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    if script == "train":
        runs[args.run_dir] = args.model
    elif script == "compare":
        for system in (parse_system(text, args.task) for text in args.systems):
            given = [*system.arguments(), "--run-dir", "runs", *after, *system.recipe]
            check("train", parse("train", given), given, {})
    elif script == "few_images":
        given = ["--model", "transfer", "--run-dir", "runs", *(["--set", *args.set] if args.set else []), *after]
        check("train", parse("train", given), given, {})
    elif script == "detection_speed":
        assert all(name in runs or "/" in name or parse_system(name, "detection") for name in args.detectors)
    elif script == "gradcheck":
        gradcheck.choose(args.names)
    run = getattr(args, "checkpoint", None) or getattr(args, "run", None)
    model = getattr(args, "model", None) or getattr(args, "published", None) or runs.get(str(run))
    if model and hasattr(args, "set") and script != "predict":  # which has options of its own, for texts
        complete(model, vision.MODELS[model].options, dict(args.set))


@pytest.mark.parametrize("path", [*PAGES, *SCRIPTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_parse(path, capsys):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = (import_module(f"scripts.{path.stem}").__doc__ or "").replace("\\\\\n", "\\\n")
    runs = {}
    for script, arguments in commands(text):
        try:
            if args := parse(script, arguments):
                check(script, args, arguments, runs)
        except (AssertionError, ValueError, SystemExit) as error:
            raise AssertionError(f"{script} {shlex.join(arguments)}: {error} {capsys.readouterr().err}") from error


def test_a_wrong_option_is_found():
    page = "`python -m scripts.train --model ssd_small\n--set short_sides=100 --run-dir r`"
    ((script, arguments),) = commands(page)
    with pytest.raises(ValueError, match="there is no option 'short_sides'"):
        check(script, parse(script, arguments), arguments, {})
    page = 'A="--epoch 2"\npython -m scripts.train --model ssd_small $A --run-dir r  # as said\n'
    ((script, arguments),) = commands(page)
    with pytest.raises(SystemExit):
        parse(script, arguments)


def test_pages_have_commands():
    found = [script for page in PAGES for script, _ in commands(page.read_text(encoding="utf-8"))]
    assert found.count("train") > 80 and {"compare", "evaluate", "predict", "paths", "proposals"} < {*found}
