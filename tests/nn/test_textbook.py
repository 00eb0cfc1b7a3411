"""The textbook, nn.config.plain = True: it gives what the default gives, and runs without a line of nn/cpu and nn/gpu.

Rules of a textbook file, nn/layers/*.py and nn/losses/*.py, are checked on its syntax.
"""

import ast
import importlib
import inspect
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import nn
from nn.cases import LAYERS, LOSSES
from nn.gpu import kernels
from tests.registered import compare, parameters, results

HERE = Path(nn.__file__).parent
FAST = tuple(str(HERE / room) + "/" for room in ("cpu", "gpu"))
BOOK = [path for room in ("layers", "losses") for path in sorted((HERE / room).glob("[!_]*.py"))]
TOLERANCES = {np.float32: 5e-6, np.float64: 1e-13}  # measured: 1.9e-6 and 2.4e-15, a GRU of three layers


def stem(path):
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("owner, case", parameters(LAYERS | LOSSES))
def test_the_textbook_gives_what_the_default_gives(owner, case, dtype, monkeypatch):
    found = {}
    for plain in (False, True):
        monkeypatch.setattr(nn.config, "plain", plain)
        found[plain] = results(owner, case, dtype)
    compare(found[True], found[False], TOLERANCES[dtype])


@contextmanager
def entered(names):
    """Adds to the set `names` each function of nn/cpu and nn/gpu that is called meanwhile."""

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(FAST):
            names.add(f"{Path(frame.f_code.co_filename).relative_to(HERE)} {frame.f_code.co_name}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize("owner", LAYERS | LOSSES)
def test_the_textbook_enters_no_fast_version(owner, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", True)
    names = set()
    for case in (LAYERS | LOSSES)[owner].values():
        results(owner, case, np.float32, watch=lambda: entered(names))
    assert names == set()


def test_a_function_of_a_fast_version_that_is_entered_is_noticed():
    names = set()
    with entered(names):
        kernels.use_kernels(np.zeros(1))
    assert names == {"gpu/kernels.py use_kernels"}


def twins():
    """(textbook module, fast module of the same last name), by name."""
    for book in map(stem, BOOK):
        for room in ("cpu", "gpu"):
            if (HERE / room / f"{Path(book).stem}.py").exists():
                yield f"nn.{book.replace('/', '.')}", f"nn.{room}.{Path(book).stem}"


def functions_of(module, also=()):
    """{name: function} of its public functions, and of those named in `also` that it has from elsewhere."""
    functions = {name: value for name, value in vars(module).items() if inspect.isfunction(value)}
    own = {name for name, f in functions.items() if f.__module__ == module.__name__ and not name.startswith("_")}
    return {name: f for name, f in functions.items() if name in own or name in also}


def words(function):
    """Its parameters without their types."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def differences(book, fast):
    """What is wrong with the functions of a fast module, as its textbook has them."""
    wanted = functions_of(book)
    rows = [] if callable(getattr(fast, "takes", None)) else ["takes is missing"]
    for name, function in functions_of(fast, also=wanted).items():
        if name == "takes":
            continue
        if name not in wanted:
            rows.append(f"{name} is not a function of the textbook")
        elif words(function) != words(wanted[name]):
            rows.append(f"{name}{inspect.signature(function)} is {inspect.signature(wanted[name])} in the textbook")
    return rows


@pytest.mark.parametrize("book, fast", list(twins()), ids=lambda name: name)
def test_a_fast_version_has_the_functions_of_its_textbook(book, fast):
    assert differences(importlib.import_module(book), importlib.import_module(fast)) == []


def breaks(tree):
    """What a textbook file must not have: fast versions, threads, closures, out=, views by strides."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None) or ""
            for name in [module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)]:
                if name.startswith(("nn.cpu", "nn.gpu", "threading", "concurrent")):
                    yield f"{node.lineno}: imports {name}"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = [n.name for n in ast.walk(node) if n is not node and isinstance(n, ast.FunctionDef)]
            yield from (f"{node.lineno}: {name} inside {node.name}" for name in inner)
        elif isinstance(node, ast.keyword) and node.arg == "out":
            yield f"{node.value.lineno}: out="
        elif "as_strided" in (getattr(node, "id", ""), getattr(node, "attr", "")):
            yield f"{node.lineno}: as_strided"


@pytest.mark.parametrize("path", BOOK, ids=stem)
def test_a_textbook_file_keeps_the_rules(path):
    assert list(breaks(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "from nn.cpu.parallel import matmul",
        "from nn import gpu",
        "import threading",
        "np.exp(x, out=x)",
        "np.lib.stride_tricks.as_strided(x)",
        "def f(x):\n    def g(): ...",
    ],
)
def test_a_break_of_the_rules_is_noticed(line):
    assert len(set(breaks(ast.parse(line)))) >= 1
