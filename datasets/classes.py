"""Names of classes: the chosen ones, misspelt ones, and those that are written almost alike."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from .files import composed, shorten


def checked_classes(owner, classes: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple. ValueError unless they are a list of names, at least one, none twice."""
    if isinstance(classes, str) or not classes or len(set(classes)) < len(classes):
        name = type(owner).__name__
        raise ValueError(f"{name}: classes must be a list of names, at least one, none twice, got {classes!r}")
    return tuple(classes)


def chosen(source, kind: str, known: Sequence[str], classes: Sequence[str] | None, absent: bool = False) -> list[str]:
    """The classes given, or all that are known to a file, `source`, as its categories, say.

    Raises ValueError, with the nearest, for one that is not known, or with `absent` only where none is.
    """
    if classes is None:
        if twice := [name for i, name in enumerate(known) if name in known[:i]]:
            raise ValueError(f"{source}: the {kind} {twice[0]!r} comes twice; give each its own name")
        return list(known)
    classes = [composed(name) for name in classes]
    unknown = [name for name in classes if name not in known]
    if not unknown or (absent and len(unknown) < len(classes)):
        return classes
    near = nearest(unknown[0], known)
    raise ValueError(
        f"{source}: has no {kind} {unknown[0]!r}; {f'did you mean {near!r}? ' * bool(near)}there are {shorten(known)}"
    )


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that one is: in another case, or a letter or two away; None where there is none."""
    by_key = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), by_key, 1, 0.75)
    return by_key[near[0]] if near else None


def alike(classes: Sequence[str], counts: dict | None = None) -> list[str]:
    """A line for each two class names that differ in case, white space or separators alone."""
    seen, lines = {}, []
    for name in classes:
        key = re.sub(r"[\s_.\-]+", "", composed(name).casefold())
        if key in seen and key:
            first, second = (f"{each!r}{f' ({counts[each]} times)' if counts else ''}" for each in (seen[key], name))
            lines.append(f"the classes {first} and {second} are written almost alike; are they one?")
        seen.setdefault(key, name)
    return lines
