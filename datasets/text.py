"""Text files, read in one way by all readers.

UTF-8 with or without a byte order mark, or UTF-16 and UTF-32 with one. The text comes in NFC, the composed Unicode
form. A line ends at \\n or \\r\\n and nowhere else: U+2028, U+0085 or a form feed in a caption is a character like any
other (str.splitlines would cut there).
"""

import codecs
import json
import re
from os import PathLike
from pathlib import Path

from .files import composed, missing

MARKS = (  # those of UTF-32 first: one of them begins with one of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

HALF = re.compile(r"\\u[dD][89a-fA-F]")  # in JSON: one of the two code units of a character, or both


def read_text(path: str | PathLike) -> str:
    """The text of a file in NFC, \\r\\n as \\n, without a byte order mark.

    Raises ValueError naming the file, and line and byte, where it is missing or no such text.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give a text file")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise missing(path, advice="give a text file") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error
    return decoded(content, path)


def decoded(content: bytes, path: str | PathLike) -> str:
    """The text that the bytes of a file hold, as read_text returns it. ValueError naming path, line and byte."""
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        name = encoding.removesuffix("-sig").upper()
        raise ValueError(
            f"{path}, line {line}: not a text file in {name} (byte {byte:#04x} at {error.start}); save it as UTF-8"
        ) from error
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise ValueError(f"{path}, line {line}: not a text file (it holds zero bytes); save it as UTF-8")
    return composed(text.replace("\r\n", "\n"))


def lines_of(text: str) -> list[str]:
    """The lines of a text that read_text returned, without their ends; what follows the last end only if it is any."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def read_lines(path: str | PathLike) -> list[str]:
    """The lines of a text file. ValueError as read_text, and for lines that end in \\r alone, as on the first Macs."""
    text = read_text(path)
    if "\n" not in text and "\r" in text.rstrip("\r"):
        raise ValueError(f"{path}: its lines end in carriage returns alone; save it with line ends \\n or \\r\\n")
    return lines_of(text)


def read_json(path: str | PathLike):
    """The value in a JSON file. ValueError naming the file, line and column, where it is missing or no JSON."""
    text = read_text(path)
    try:
        value = json.loads(text)
        if HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(f"{path}: holds {half!a}, half of a character; correct or export it again") from error
    except json.JSONDecodeError as error:
        comma = text[: error.pos].rstrip().endswith(",") or "trailing comma" in str(error)
        hint = "; is there a comma too many before it?" if comma else ""
        raise ValueError(f"{path}: not readable as JSON ({error}{hint}); correct or export it again") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not readable as JSON (nested too deeply)") from error
