"""Ways to damage files that are no text: .npz, pickles of PyTorch, PNG. See tests/damage.py."""

import io
import pickletools
import struct
import zipfile
import zlib
from itertools import pairwise

from tests.damage import chosen, damaged, way
from tests.nn.pth_bytes import zip_file

# Zip archives: .npz and .pth -----------------------------------------------------------------------------------------


def unzipped(content):
    """[(name, bytes)], [] for no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # damaged before
        return []


def zipped(entries, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, compression, compresslevel=1)
    return file.getvalue()


def header_of(shape, dtype="<f4", version=b"\x01\x00"):
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}}}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


@way("npz")
def deflate_bomb(content, rng):
    """An entry of many zeros, deflated to a thousandth: as an array, as the metadata, or as anything."""
    entries = unzipped(content)
    size = int(chosen(rng, [1 << 20, 1 << 26, 1 << 28]))
    name = chosen(rng, [name for name, _ in entries] or ["a.npy"])
    data = chosen(rng, [header_of((size,), "|u1"), b""]) + bytes(size)
    return zipped([*((n, d) for n, d in entries if n != name), (name, data)], zipfile.ZIP_DEFLATED)


@way("npz")
def absurd_shape(content, rng):
    entries = unzipped(content)
    shape = chosen(rng, [(2**40,), (-1,), (2**31, 2**31), (0, 2**62), (1,) * 70, (3.5,), "x", (2**63,), (10**30,), ()])
    dtype = chosen(rng, ["<f4", "|O", "<f16", "|S9999999999", "<M8[s]", "|V8", "xyz", ("<f4", (2, 2))])
    version = chosen(rng, [b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"])
    name = chosen(rng, [name for name, _ in entries] or ["a.npy"])
    return zipped([(n, header_of(shape, dtype, version) + d[-64:] if n == name else d) for n, d in entries])


@way("npz")
def other_entries(content, rng):
    """Entries renamed, exchanged, removed or damaged, with the right checksum."""
    entries = unzipped(content)
    if not entries:
        return content
    i, j = rng.integers(0, len(entries), 2).tolist()
    (name, data), (other, _), kind = entries[i], entries[j], rng.integers(5)
    if kind == 0:
        entries[i] = (chosen(rng, ["../" + name, name.upper(), "", other, "é/" + name, "__meta__.npy"]), data)
    elif kind == 1:
        entries[i], entries[j] = (name, entries[j][1]), (other, data)
    elif kind == 2:
        del entries[i]
    elif kind == 3:
        entries[i] = (name, damaged(data, "bytes", rng))
    else:
        entries[i] = (name, data[:-8] + rng.bytes(8))
    return zipped(dict(entries).items())


@way("npz")
def other_metadata(content, rng):
    """The JSON of a checkpoint damaged, with the right checksum."""
    entries, start = unzipped(content), 128
    for i, (name, data) in enumerate(entries):
        if name == "__meta__.npy":
            text = damaged(data[start:], "json", rng)
            entries[i] = (name, header_of((len(text),), "|u1") + text)
    return zipped(entries)


# Pickles: .pth -------------------------------------------------------------------------------------------------------


def many_pickles():
    """Small pickles that would take for ever, or overflow a stack, where they are hashed, compared or printed."""
    shared = b"\x80\x02)" + b"2\x86" * 60 + b"."  # (x, x) sixty times over
    yield from (shared, b"\x80\x02}" + shared[2:-1] + b"K\x01s.")  # ... and as a key
    yield b"\x80\x02}(X\x01\x00\x00\x00a" + shared[2:-1] + b"u."
    yield b"\x80\x02]q\x00h\x00a."  # a list that holds itself
    yield b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."  # a dict that does
    yield b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."
    yield b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s."
    yield b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b"."
    yield b"\x80\x02]" + b"2a" * 1000 + b"."
    yield b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."
    yield b"\x80\x02\x8b" + struct.pack("<I", 2**31 - 1) + b"\0."  # an integer that announces 2 GB
    yield b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"."
    yield b"L" + b"9" * 5000 + b"L\n."
    yield b"I" + b"9" * 100_000 + b"\n."


@way("pickle")
def nasty_pickle(content, rng):
    pickle = chosen(rng, list(many_pickles()))
    legacy = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}." + pickle
    return chosen(rng, [zip_file(pickle, {"0": bytes(24)}), legacy, pickle])


@way("pickle")
def other_opcodes(content, rng):
    """Opcodes of the pickle repeated, removed or exchanged; their arguments stay whole."""
    entries = unzipped(content)
    at = next((i for i, (name, _) in enumerate(entries) if name.endswith("data.pkl")), None)
    pickle = content if at is None else entries[at][1]
    try:
        ends = [position for _, _, position in pickletools.genops(pickle)] + [len(pickle)]
    except Exception:  # damaged before
        return content
    codes = [pickle[a:b] for a, b in pairwise(ends)]
    for _ in range(int(rng.integers(1, 4))):
        i, j = rng.integers(1, len(codes), 2).tolist()
        kind = rng.integers(4)
        if kind == 0:
            codes[i], codes[j] = codes[j], codes[i]
        elif kind == 1:
            codes[i:i] = [codes[j]] * int(chosen(rng, [1, 2, 1000]))
        elif kind == 2 and len(codes) > 2:
            del codes[i]
        else:
            codes[i] = chosen(rng, [b"N", b"\x88", b"]", b"}", b")", b"K\x05", b"2", b"0", b"(", b"J\xff\xff\xff\xff"])
    new = b"".join(codes)
    if at is None:
        return new + content[len(pickle) :]
    entries[at] = (entries[at][0], new)
    return zipped(entries)


# Pictures ------------------------------------------------------------------------------------------------------------


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@way("png")
def huge_picture(content, rng):
    """A PNG of a few kilobytes with as many pixels as its header says, or far fewer."""
    side = chosen(rng, [(6000, 6000), (7000, 8000), (13000, 13000), (100_000, 100_000), (8, 10**6), (2**31 - 1, 8)])
    kind, bits, channels = chosen(rng, [(2, 8, 3), (0, 8, 1), (0, 16, 1), (0, 1, 1), (6, 8, 4), (2, 16, 3), (3, 8, 1)])
    w, h = side
    row = 1 + -(-min(w, 13000) * bits * channels // 8)
    deflate, rows = zlib.compressobj(1), chosen(rng, [min(h, 8000), 3])
    data = b"".join(deflate.compress(bytes(row)) for _ in range(rows)) + deflate.flush()
    palette = png_chunk(b"PLTE", bytes(768)) if kind == 3 else b""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, kind, 0, 0, int(rng.random() < 0.1)))
    return b"\x89PNG\r\n\x1a\n" + head + palette + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


@way("png")
def extra_chunks(content, rng):
    """Chunks of text that unpack to megabytes, animations, profiles, EXIF data: before the pixels of a PNG."""
    bomb = zlib.compress(bytes(1 << 25), 9)
    data = chosen(
        rng,
        [
            (b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb), (b"iTXt", b"a\0\1\0\0\0" + bomb),
            (b"eXIf", b"II*\0\x08\0\0\0" + b"\xff" * 40), (b"acTL", struct.pack(">II", 2**31, 0)),
            (b"tRNS", bytes(700)), (b"PLTE", bytes(5)), (b"IHDR", bytes(13)), (b"gAMA", b""), (b"\0\0\0\0", b""),
        ],
    )  # fmt: skip
    return content[:33] + png_chunk(*data) + content[33:]
