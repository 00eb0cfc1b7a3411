"""Ways to damage a file, for tests.fuzz: each takes the file's bytes and a generator, and returns other bytes.

WAYS has them by kind: bytes (all files) here; text, json and xml in tests/damage_text.py; npz, pickle and png in
tests/damage_formats.py. FOLDER has ways to damage a folder.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

Way = Callable[[bytes, np.random.Generator], bytes]
WAYS: dict[str, list[Way]] = {}
FOLDER: list[Callable[[Path, np.random.Generator], None]] = []


def way(kind: str):
    """Enter a function under a kind."""

    def enter(function):
        WAYS.setdefault(kind, []).append(function)
        return function

    return enter


def chosen(rng, items):
    """One of the items, whatever their types."""
    return items[int(rng.integers(len(items)))]


def two(content, rng):
    """Two positions in order."""
    return sorted(rng.integers(0, len(content) + 1, 2).tolist())


# Bytes ---------------------------------------------------------------------------------------------------------------


@way("bytes")
def truncate(content, rng):
    return content[: int(rng.integers(0, len(content) + 1))]


@way("bytes")
def flip_bits(content, rng):
    data = bytearray(content)
    for at in rng.integers(0, max(len(data), 1), rng.integers(1, 9)) if data else ():
        data[at] ^= 1 << rng.integers(8)
    return bytes(data)


@way("bytes")
def swap_chunks(content, rng):
    a, b = two(content, rng)
    n = int(rng.integers(1, 33))
    return content[:a] + content[b : b + n] + content[a + n : b] + content[a : a + n] + content[b + n :]


@way("bytes")
def repeat_chunk(content, rng):
    a, b = two(content, rng)
    return content[:b] + content[a:b] * int(chosen(rng, [1, 2, 50])) + content[b:]


@way("bytes")
def remove_chunk(content, rng):
    a, b = two(content, rng)
    return content[:a] + content[b:]


@way("bytes")
def insert_chunk(content, rng):
    a, _ = two(content, rng)
    return content[:a] + chosen(rng, [rng.bytes(16), b"\0" * 64, b"\xff" * 8, b"\n", b"\r\n\r\n"]) + content[a:]


@way("bytes")
def absurd_integer(content, rng):
    """Two, four or eight bytes as a size would stand there."""
    form = chosen(rng, ["<H", ">H", "<I", ">I", "<Q", ">Q"])
    most = 256 ** struct.calcsize(form) - 1
    value = struct.pack(form, chosen(rng, [0, 1, most, most // 2, most // 2 + 1, 65536 & most]))
    a, _ = two(content, rng)
    return content[:a] + value + content[a + len(value) :]


# Folders -------------------------------------------------------------------------------------------------------------


def folder(function):
    FOLDER.append(function)
    return function


@folder
def remove_file(path, rng):
    path.unlink()


@folder
def empty_file(path, rng):
    path.write_bytes(b"")


@folder
def folder_for_file(path, rng):
    path.unlink()
    path.mkdir()


@folder
def other_name(path, rng):
    name = chosen(rng, [path.name.upper(), path.name + ".txt", path.stem, "." + path.name, "é" + path.name, "a b.jpg"])
    path.rename(path.with_name(name))


@folder
def second_file(path, rng):
    ending = chosen(rng, [".png", ".JPG", ".txt", ".xml", ".json", ".npz", ""])
    path.with_name(path.stem + "2" + ending).write_bytes(path.read_bytes())
    path.with_name("._" + path.name).write_bytes(b"\0\5\x16\7")


@folder
def link_around(path, rng):
    path.with_name("loop").symlink_to(path.parent)


@folder
def dead_link(path, rng):
    path.unlink()
    path.symlink_to("nowhere")


# Together ------------------------------------------------------------------------------------------------------------

KINDS = {  # by the ending of a file
    ".npz": ("npz", "npz", "bytes"),
    ".pth": ("pickle", "pickle", "npz", "bytes"),
    ".safetensors": ("bytes", "text"),
    ".json": ("json", "json", "text", "bytes"),
    ".jsonl": ("text", "bytes"),
    ".xml": ("xml", "xml", "text", "bytes"),
    ".png": ("png", "bytes", "bytes"),
}
TEXTS = {".txt", ".yaml", ".csv", ".tsv"}


def damaged(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """The bytes, damaged in a way of this kind."""
    return chosen(rng, WAYS[kind])(content, rng)


def damage(path: Path, rng: np.random.Generator) -> None:
    """Damage a file in place, in one way or two."""
    if rng.random() < 0.05:
        chosen(rng, FOLDER)(path, rng)
        return
    kinds = KINDS.get(path.suffix.lower(), ("text", "bytes") if path.suffix.lower() in TEXTS else ("bytes",))
    for _ in range(1 + int(rng.random() < 0.2)):
        path.write_bytes(damaged(path.read_bytes(), chosen(rng, kinds), rng))
