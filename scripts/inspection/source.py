"""The code of a layer: forward, backward, the functions that they call, and the formula of its docstring."""

import inspect
import re
import sys
import textwrap
from pathlib import Path

from nn.summary import _arguments

METHODS = ("forward", "backward", "backward_parameters")
ROOT = Path(__file__).resolve().parents[2]
MOST = 12  # functions shown besides the methods


def kind(layer) -> dict:
    """What the page shows of the class of a layer."""
    owner = type(layer)
    methods = {name: getattr(owner, name) for name in METHODS if hasattr(owner, name)}
    methods = {name: method for name, method in methods.items() if method.__module__ != "nn.layer"}
    return {
        "formula": formula(inspect.getdoc(owner) or ""),
        "doc": inspect.getdoc(owner) or "",
        "code": [code(name, method) for name, method in {**methods, **helpers(methods.values())}.items()],
    }


def formula(doc: str) -> str:
    """The first paragraph of a docstring, and of the next ones those that begin with an equation, their first sentence
    each."""
    first, *more = doc.split("\n\n")
    equations = [re.split(r"(?<=\S)\.(?=\s|$)", part)[0] for part in more if is_equation(part.split("\n")[0])]
    return "\n\n".join([first, *equations[:2]])


def is_equation(line: str) -> bool:
    """Whether a line of a docstring is one: not one of code."""
    return " = " in line and "forward(" not in line and "backward(" not in line


def helpers(methods) -> dict:
    """{name: function} of the functions of layers, or in the same module, that these methods call, and so on."""
    found, left = {}, list(methods)
    while left:
        method = inspect.unwrap(left.pop(0))
        module = sys.modules.get(method.__module__)
        for name in method.__code__.co_names:
            value = getattr(module, name, None)
            near = inspect.isfunction(value) and value.__module__.startswith((method.__module__, "nn.layers."))
            if near and name not in found and len(found) < MOST:
                found[name] = value
                left.append(value)
    return found


def code(name: str, function) -> dict:
    """{name, file, line, text} of a function."""
    function = inspect.unwrap(function)
    try:
        lines, line = inspect.getsourcelines(function)
        path = Path(inspect.getsourcefile(function)).resolve()
    except (OSError, TypeError):
        return {"name": name, "file": "", "line": 0, "text": ""}
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(path.name)
    return {"name": name, "file": str(shown), "line": line, "text": textwrap.dedent("".join(lines)).rstrip()}


def arguments(layer) -> str:
    """Those of the constructor, as repr shows them."""
    return ", ".join(_arguments(layer))
