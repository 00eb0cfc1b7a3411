"""PyTorch's files put together by hand, so that the reader is tested where PyTorch is not installed."""

import io
import struct
import zipfile
from typing import NamedTuple

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Named(NamedTuple):
    """module.attribute, as GLOBAL names it."""

    module: str
    attribute: str


class Call(NamedTuple):
    """named(*arguments), as REDUCE calls it."""

    named: Named
    arguments: tuple


class Stored(NamedTuple):
    """A persistent id."""

    identifier: object


def pickled(value) -> bytes:
    """A pickle of protocol 2, as pickle.dumps writes it but without the memo."""
    return b"\x80\x02" + opcodes(value) + b"."


def opcodes(value) -> bytes:
    """The opcodes that push a value."""
    match value:
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case Named():
            return f"c{value.module}\n{value.attribute}\n".encode()
        case Call():
            return opcodes(value.named) + opcodes(tuple(value.arguments)) + b"R"
        case Stored():
            return opcodes(value.identifier) + b"Q"
        case bytes():  # opcodes as they are
            return value
        case int():
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(opcodes(k) + opcodes(v) for k, v in value.items()) + b"u"
    raise TypeError(type(value))


def ordered(value: dict) -> Call:
    return Call(Named("collections", "OrderedDict"), ([list(item) for item in value.items()],))


def storage(key, kind="FloatStorage", length=6, *part) -> Stored:
    return Stored(("storage", Named("torch", kind), key, "cpu", length, *part))


def tensor(stored, size, strides, offset=0) -> Call:
    arguments = (stored, offset, tuple(size), tuple(strides), False, ordered({}))
    return Call(Named("torch._utils", "_rebuild_tensor_v2"), arguments)


def zip_file(value, storages: dict[str, bytes], byteorder="little", compression=zipfile.ZIP_STORED, **more) -> bytes:
    """The zip format; `value` is pickled, unless it is bytes already."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("a/data.pkl", value if isinstance(value, bytes) else pickled(value))
        if byteorder:
            archive.writestr("a/byteorder", byteorder)
        for name, data in storages.items():
            archive.writestr(f"a/data/{name}", data)
        for name, data in more.items():
            archive.writestr(f"a/{name}", data)
    return file.getvalue()


def legacy_file(value, storages: dict[str, tuple[int, bytes]], keys=None, magic=MAGIC, protocol=PROTOCOL) -> bytes:
    """The legacy format; storages: {key: (length, bytes)}."""
    sizes = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    content = value if isinstance(value, bytes) else pickled(value)
    head = pickled(magic) + pickled(protocol) + pickled(sizes) + content
    data = b"".join(struct.pack("<q", length) + data for length, data in storages.values())
    return head + pickled(list(storages) if keys is None else keys) + data
