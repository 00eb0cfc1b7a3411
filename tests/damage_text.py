"""Ways to damage text, JSON and XML. See tests/damage.py."""

import json
import re

from tests.damage import chosen, two, way

ABSURD = [
    0, -1, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64, 10**30, 10**400, 1e308, -1e308, 1e-320, 0.5,
    float("nan"), float("inf"), float("-inf"), 12345678901, 2**15, 2**16 + 1, 10**6, 10**8,
]  # fmt: skip
OTHER_TYPES = [None, True, False, 0, -1, 1.5, "", "a", "\0", "é\u2028", [], [[]], {}, {"a": []}, ["a", 1, None]]
CHARACTERS = ["\ufeff", "\u2028", "\x0c", "\x85", "\0", "\r", "\t", "\u0301", "²", "١", "½", "\u202e", "😀", '"', "'"]
CHARACTERS += ["<", "&", "\\", "/", "../", ",", ":", "#", "[", "{", "- ", "%s", "~", "\xa0", " "]
ENCODINGS = ["utf-16", "utf-32", "latin-1", "cp437", "utf-7", "rot13", "idna", "punycode", "hex", "undefined", "zlib"]
DEEP = [100, 900, 1100, 20_000, 200_000]


def number(rng):
    """An absurd number as JSON, XML or text would have it."""
    value = chosen(rng, ABSURD)
    return value if abs(value) <= 1e300 or isinstance(value, float) else int(value)


# Text ----------------------------------------------------------------------------------------------------------------


def as_text(content):
    return content.decode("utf-8", "surrogateescape")


def as_bytes(text):
    return text.encode("utf-8", "surrogateescape")


@way("text")
def odd_character(content, rng):
    text = as_text(content)
    a, _ = two(text, rng)
    return as_bytes(text[:a] + chosen(rng, CHARACTERS) + text[a:])


@way("text")
def absurd_number(content, rng):
    """Another number in the place of one; rarely in the place of all."""
    text, value = as_text(content), str(chosen(rng, [number(rng), "", "x", "1,5", "0x10", "1_0", "٣", "1e999", "--1"]))
    found = list(re.finditer(r"-?\d+(\.\d+)?", text))
    if not found:
        return content
    if rng.random() < 0.1:
        return as_bytes(re.sub(r"-?\d+(\.\d+)?", lambda _: value, text))
    start, end = chosen(rng, found).span()
    return as_bytes(text[:start] + value + text[end:])


@way("text")
def mixed_lines(content, rng):
    """Lines repeated, removed, exchanged, emptied, or joined to one."""
    lines = content.split(b"\n")
    i, j = rng.integers(0, len(lines), 2).tolist()
    kind = rng.integers(5)
    if kind == 0:
        lines[i:i] = [lines[j]] * int(chosen(rng, [1, 3, 1000]))
    elif kind == 1:
        del lines[i]
    elif kind == 2:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 3:
        lines[i] = chosen(rng, [b"", b" ", b"\t", lines[i] * 3, lines[i][::-1], b"../" + lines[i], b"/" + lines[i]])
    return chosen(rng, [b"\r", b" "]).join(lines) if kind == 4 else b"\n".join(lines)


@way("text")
def other_encoding(content, rng):
    name = chosen(rng, ENCODINGS[:4])
    return as_text(content).encode(name, "replace")


@way("text")
def brackets(content, rng):
    opened = chosen(rng, ["[", "{", '{"a":', "<a>", "(", "[{"]) * int(chosen(rng, DEEP))
    return chosen(rng, [opened.encode(), content + opened.encode(), opened.encode() + content])


# JSON ----------------------------------------------------------------------------------------------------------------


def places(value, path=()):
    """The paths to all values inside a value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from places(each, (*path, key))


def changed_at(value, path, change):
    """Change what is at a path in place; returns the whole."""
    if not path:
        return change(value)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = change(holder[path[-1]])
    return value


def in_json(content, rng, change):
    """The JSON text with one of its values changed."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content
    path = chosen(rng, list(places(value)))
    return json.dumps(changed_at(value, path, change), ensure_ascii=bool(rng.random() < 0.5)).encode(
        errors="surrogatepass"
    )


@way("json")
def other_type(content, rng):
    return in_json(content, rng, lambda _: chosen(rng, OTHER_TYPES))


@way("json")
def absurd_value(content, rng):
    def change(value):
        return [number(rng)] * len(value) if isinstance(value, list) and rng.random() < 0.5 else number(rng)

    return in_json(content, rng, change)


@way("json")
def less_or_more(content, rng):
    """An entry of a list or object removed, repeated, or renamed."""

    def change(value):
        if isinstance(value, list) and value:
            i = int(rng.integers(len(value)))
            return chosen(rng, [value[:i] + value[i + 1 :], [*value, value[i]], value * 50, [], [value]])
        if isinstance(value, dict) and value:
            key = chosen(rng, list(value))
            rest = {name: each for name, each in value.items() if name != key}
            return chosen(rng, [rest, rest | {key.upper(): value[key]}, rest | {"": value[key]}, {key: value}])
        return [value, value]

    return in_json(content, rng, change)


@way("json")
def deep_value(content, rng):
    """Brackets many deep in the place of one value, written as text: json.dumps could not."""
    mark, depth = "@@here@@", int(chosen(rng, DEEP))
    opened, closed = chosen(rng, [("[", "]"), ('{"a":', "}")])
    text = in_json(content, rng, lambda _: mark).decode("utf-8", "replace")
    return text.replace(f'"{mark}"', opened * depth + "1" + closed * depth).encode()


@way("json")
def twice_the_key(content, rng):
    """A key with a second value, of which a reader may keep the first or the last."""
    keys = list(re.finditer(rb'"[^"]+":', content))
    if not keys:
        return content
    at = chosen(rng, keys)
    value = json.dumps(chosen(rng, OTHER_TYPES)).encode()
    return content[: at.start()] + at[0] + value + b"," + content[at.start() :]


# XML -----------------------------------------------------------------------------------------------------------------

ELEMENT = re.compile(rb"<(\w+)>[^<]*</\1>")
LAUGHS = b'<!DOCTYPE a [<!ENTITY l0 "lol">' + b"".join(
    b'<!ENTITY l%d "%s">' % (i, b"&l%d;" % (i - 1) * 10) for i in range(1, 10)
)


@way("xml")
def other_content(content, rng):
    """Another text, or none, in an element."""
    found = list(ELEMENT.finditer(content))
    if not found:
        return content
    at, text = chosen(rng, found), chosen(rng, ["", "x", "  ", str(number(rng)), "\u2028", "1,5", "é", "1\n2", "<a/>"])
    new = b"<%s>%s</%s>" % (at[1], text.encode(), at[1])
    return content[: at.start()] + chosen(rng, [new, b"", at[0] * 2, at[0] * 1000]) + content[at.end() :]


@way("xml")
def nested(content, rng):
    depth = int(chosen(rng, DEEP))
    found = list(ELEMENT.finditer(content))
    at = chosen(rng, found).start() if found else 0
    return content[:at] + b"<object>" * depth + b"</object>" * depth + content[at:]


@way("xml")
def entities(content, rng):
    laughs = LAUGHS + chosen(rng, [b"]>", b'<!ENTITY x SYSTEM "file:///etc/passwd">]>'])
    entity = chosen(rng, [b"&l9;", b"&x;", b"&undefined;", b"&#0;", b"&#xD800;", b"&#1114112;"])
    found = list(ELEMENT.finditer(content))
    if not found:
        return laughs + content
    at = chosen(rng, found)
    return laughs + content[: at.start(0)] + b"<%s>%s</%s>" % (at[1], entity, at[1]) + content[at.end() :]


@way("xml")
def declared(content, rng):
    """An encoding in the declaration, right, wrong or of no text at all."""
    name = chosen(rng, [*ENCODINGS, "gb2312", "big5", "shift_jis", "utf-8-sig", "unicode_escape", "mbcs", "x" * 99])
    body = content
    if rng.random() < 0.5 and name in ENCODINGS[:4]:
        body = as_text(content).encode(name, "replace")
    return b'<?xml version="1.0" encoding="%s"?>' % name.encode() + body


@way("xml")
def namespaces(content, rng):
    name = chosen(rng, [b'<annotation xmlns="a">', b"<a:annotation>", b"<ANNOTATION>", b"<annotation a='1' a='2'>"])
    return content.replace(b"<annotation>", name)
