"""Options of a model: a frozen dataclass. Its fields and comments are the documentation, its types are checked.

    @dataclass(frozen=True)
    class Options(ImageOptions):
        width: int = 64  # channels of the first convolution
        padding: Literal["valid", "same"] = "valid"

`complete` makes one from the values of a command line or a checkpoint, `describe` lists the fields for --help. A field
that a subclass inherits and has no use for comes there again, with its default and a comment that begins "not used".
"""

import inspect
import io
import math
import tokenize
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from vision.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess

T = TypeVar("T")


@dataclass(frozen=True)
class ImageOptions:
    """How photographs are preprocessed; a model's own options are further fields of a subclass."""

    short_side: int = 240  # pixels of the shorter side
    max_side: int = 400  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = IMAGENET_MEAN  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = IMAGENET_STD  # then each channel is divided by this
    per_image: bool = False  # mean and std are each image's own

    def preprocess(self, **changes) -> Preprocess:
        """The Preprocess of these options; changes: fields of it that are not options."""
        sizes = {"short_side": self.short_side, "max_side": self.max_side}
        colours = {"mean": self.mean, "std": self.std, "per_image": self.per_image}
        return Preprocess(**(sizes | colours | changes))


class Field(NamedTuple):
    """One option as --help shows it."""

    name: str
    kind: str
    default: Any
    comment: str


def complete(owner: str, options: type[T], given: Mapping[str, Any]) -> T:
    """An instance of the dataclass `options` with the given values, lists as tuples, and defaults for the others.

    None counts as "none" where that is one of the words to choose from: a command line reads it so.
    Raises ValueError that begins with the owner, for a name that is no field, for a value of another kind, and for one
    that differs from the default where the field is not used.
    """
    hints = get_type_hints(options)
    words = {name for name, hint in hints.items() if "none" in get_args(hint)}
    given = {name: "none" if value is None and name in words else value for name, value in given.items()}
    for name, value in given.items():
        if name not in hints:
            near = get_close_matches(name, hints, 1)
            hint = f"did you mean {near[0]!r}? All" if near else "choose from"
            raise ValueError(f"{owner}: there is no option {name!r}; {hint}: {', '.join(hints)}")
        if not _fits(value, hints[name]):
            raise ValueError(f"{owner}: {name} must be {kind(hints[name])}, got {value!r}")
        if name in unused(options) and _frozen(value) != unused(options)[name].default:
            raise ValueError(f"{owner}: {name} is {unused(options)[name].comment}; leave it out")
    return options(**{name: _frozen(value) for name, value in given.items()})


def check_least(owner: str, options: Any, least: float, *names: str, above: bool = False):
    """ValueError that names the first of these options whose value is below `least` (above: or equal to it).

    Of a tuple all elements count; none is passed over.
    """
    for name in names:
        value = getattr(options, name)
        values = value if isinstance(value, tuple) else (value,)
        if any(v is not None and not (v > least or (v == least and not above)) for v in values):
            wanted = "above" if above else "at least"
            raise ValueError(f"{owner}: {name} must be {wanted} {least:g}, got {_thawed(value)}")


def as_json(options: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as JSON: tuples become lists."""
    return {name: _thawed(value) for name, value in asdict(options).items()}


def describe(options: type) -> list[Field]:
    """All fields in order, each with the comment at the end of its line in the source."""
    hints, comments = get_type_hints(options), {}
    for cls in reversed(options.__mro__):
        comments |= _comments(cls) if hasattr(cls, "__dataclass_fields__") else {}
    return [Field(f.name, kind(hints[f.name]), f.default, comments.get(f.name, "")) for f in fields(options)]


@cache
def unused(options: type) -> dict[str, Field]:
    """The fields that are not used, by their comments."""
    return {field.name: field for field in describe(options) if field.comment.startswith("not used")}


def kind(hint: Any) -> str:
    """A type in words: `int | None` is "a whole number or none"."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(each) for each in get_args(hint)))
    if get_origin(hint) is Literal:
        return " or ".join(repr(value) for value in get_args(hint))
    if get_origin(hint) is tuple:
        each = get_args(hint)
        many = {"a whole number": "whole numbers", "a number": "numbers", "a word": "words"}
        what = many.get(kind(each[0]), f"values, each {kind(each[0])}")
        return f"a list of {what}" if each[-1] is Ellipsis else f"a list of {len(each)} {what}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", type(None): "none"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def _fits(value, hint):
    """Whether the value is of the kind: an int is also a float, a list a tuple; a bool is no number."""
    if get_origin(hint) in (Union, types.UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return any(type(value) is type(each) and value == each for each in get_args(hint))
    if get_origin(hint) is tuple:
        each = get_args(hint)
        if not isinstance(value, (list, tuple)):
            return False
        if each[-1] is Ellipsis:
            return all(_fits(item, each[0]) for item in value)
        return len(value) == len(each) and all(map(_fits, value, each))
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    return isinstance(value, hint)


def _frozen(value):
    return tuple(_frozen(each) for each in value) if isinstance(value, (list, tuple)) else value


def _thawed(value):
    return [_thawed(each) for each in value] if isinstance(value, (list, tuple)) else value


def _comments(cls):
    """{field: comment} of `name: type = default  # comment` in the source of a class; {} where there is no source."""
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return {}
    first, found = {}, {}
    for token in tokenize.generate_tokens(io.StringIO(inspect.cleandoc("\n" + source)).readline):
        if token.type == tokenize.NAME:
            first.setdefault(token.start[0], token.string)
        elif token.type == tokenize.COMMENT and token.start[0] in first:
            found[first[token.start[0]]] = token.string.lstrip("# ")
    return {name: comment for name, comment in found.items() if name in cls.__annotations__}
