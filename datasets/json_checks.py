"""Checks of what a JSON file holds."""

import math
from os import PathLike


def entries(path: str | PathLike, value: object, name: str, /, **fields: type | tuple[type, ...]) -> list[dict]:
    """`value` if it is a list of objects, each with all the fields in the given types.

    Raises ValueError naming the file, the first wrong entry and its field: id=int takes no text, no 1.0 and no true; a
    text must not be empty.
    """
    if not isinstance(value, list):
        raise ValueError(f"{path}: {name} must be a list, got {kind(value)}")
    for i, entry in enumerate(value):
        for field, types in fields.items():
            types = types if isinstance(types, tuple) else (types,)
            got = entry.get(field) if isinstance(entry, dict) else None
            if type(got) not in types or got == "":
                wanted = " or ".join(kind(each()) for each in types)
                shown = "an empty one" if got == "" else kind(got)
                raise ValueError(f"{path}: {name}[{i}] must have {field!r}, {wanted}, got {shown}")
    return value


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    kinds = {dict: "object", list: "list", str: "text", int: "whole number", float: "number", bool: "true or false"}
    return kinds.get(type(value), "nothing")


def finite(values: object, count: int | None = None) -> list[float] | None:
    """The values as floats if they are a list of finite numbers, `count` of them if given; else None."""
    if not isinstance(values, (list, tuple)) or (count is not None and len(values) != count):
        return None
    if not all(type(value) in (int, float) for value in values):
        return None
    try:
        numbers = [float(value) for value in values]
    except OverflowError:  # an int of hundreds of digits
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
