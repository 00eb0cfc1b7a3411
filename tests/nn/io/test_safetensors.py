"""The safetensors format, byte by byte."""

import json
import os

import numpy as np
import pytest

from nn.io.state import read_metadata, read_state, save_state

DATA = np.arange(6, dtype="<f4").tobytes() + b"\x01\x00\x01"
TWO = {
    "x": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "y": {"dtype": "BOOL", "shape": [3], "data_offsets": [24, 27]},
}


def file_of(header, data=DATA, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


@pytest.fixture
def read(tmp_path):
    def function(data):
        (tmp_path / "a.safetensors").write_bytes(data)
        return read_state(tmp_path / "a.safetensors")

    return function


def test_the_format(read):
    found = read(file_of(TWO))
    assert list(found) == ["x", "y"]
    np.testing.assert_array_equal(found["x"], np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(found["y"], [True, False, True])
    found["x"] += 1  # their own memory, writable


def test_what_is_written(tmp_path):
    """Arrays of large items first, so that each begins at a multiple of its item; the header filled up to 8 bytes."""
    save_state({"a": np.array([True, False, True]), "b": np.arange(2.0)}, tmp_path / "a.safetensors", {"note": "hi"})
    whole = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    assert length % 8 == 0
    assert json.loads(whole[8 : 8 + length]) == {
        "__metadata__": {"note": "hi"},
        "a": {"dtype": "BOOL", "shape": [3], "data_offsets": [16, 19]},
        "b": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]},
    }
    assert whole[8 + length :] == np.arange(2.0).tobytes() + b"\x01\x00\x01"
    assert list(read_state(tmp_path / "a.safetensors")) == ["a", "b"]
    assert read_metadata(tmp_path / "a.safetensors") == {"note": "hi"}


def test_bfloat16_becomes_float32(read):
    found = read(file_of({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"\xc0\x3f\x00\xc0"))["x"]
    assert found.dtype == np.float32
    assert found.tolist() == [1.5, -2]


def test_tensors_in_any_order_empty_ones_scalars_and_no_tensor_at_all(read):
    header = {
        "b": {"dtype": "U8", "shape": [], "data_offsets": [2, 3]},
        "none": {"dtype": "F64", "shape": [3, 0], "data_offsets": [2, 2]},
        "a": {"dtype": "I16", "shape": [1], "data_offsets": [0, 2]},
    }
    found = read(file_of(header, b"\x01\x01\x09"))
    assert found["b"].shape == () and found["b"] == 9
    assert found["a"].tolist() == [257]
    assert found["none"].shape == (3, 0)
    assert read(file_of({}, b"")) == {}
    assert read(file_of(b'{"__metadata__":{"a":"b"}}   ', b"")) == {}


def changed(**changes):
    return TWO | {"x": {**TWO["x"], **changes}}


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "its first 8 bytes announce a header of 0 bytes, the file has 0"),
        (file_of(TWO)[:20], "its first 8 bytes announce a header of"),
        (file_of(TWO, length=1 << 63), "its first 8 bytes announce a header of 9223372036854775808 bytes"),
        (file_of(b"[]"), "its header does not begin with {"),
        (file_of(b" {}"), "its header does not begin with {"),
        (file_of(b'{"a":'), "JSONDecodeError"),
        (file_of(b"{}x", b""), "JSONDecodeError"),
        (file_of(b'{"\xff":1}'), "UnicodeDecodeError"),
        (file_of(b'{"x":{},"x":{}}'), "a name is twice in its header"),
        (file_of(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "RecursionError|x must have a dtype"),
        (file_of({"__metadata__": {"a": 3}}, b""), "__metadata__ must be a dict of text to text"),
        (file_of({"__metadata__": [3]}, b""), "__metadata__ must be a dict of text to text"),
        (file_of({"x": 3}), "x must have a dtype, a shape and data_offsets, and nothing else"),
        (file_of(changed(more=1)), "x must have a dtype, a shape and data_offsets, and nothing else"),
        (file_of(changed(dtype="F8_E4M3")), "x has the dtype F8_E4M3; read are BOOL, "),
        (file_of(changed(dtype=["F32"])), "x has the dtype list"),
        (file_of(changed(shape=[2, -3])), "x must have a shape and two data_offsets, integers from 0 on"),
        (file_of(changed(shape=[2, 3.0])), "x must have a shape and two data_offsets, integers from 0 on"),
        (file_of(changed(shape=[True, 6])), "x must have a shape and two data_offsets, integers from 0 on"),
        (file_of(changed(shape=6)), "x must have a shape and two data_offsets, integers from 0 on"),
        (file_of(changed(shape=[1] * 65)), "x must have a shape and two data_offsets, integers from 0 on"),
        (file_of(changed(data_offsets=[0, 24, 24])), "x must have a shape and two data_offsets"),
        (file_of(changed(data_offsets=[24, 0])), "x has 24 bytes by its dtype and shape, -24 by its data_offsets"),
        (file_of(changed(shape=[2, 4])), "x has 32 bytes by its dtype and shape, 24 by its data_offsets"),
        (file_of(changed(shape=[1, 3])), "x has 12 bytes by its dtype and shape, 24 by its data_offsets"),
        (file_of(changed(shape=[1 << 62, 1 << 62])), "x has .* bytes by its dtype and shape, 24"),
        (file_of(changed(data_offsets=[1, 25])), "x begins at byte 1 of the data, wanted 0: it leaves 1 bytes unused"),
        (file_of(changed(data_offsets=[2, 26])), "x begins at byte 2"),
        (file_of({**TWO, "z": TWO["y"]}), "z begins at byte 24 of the data, wanted 27: it overlaps the tensor before"),
        (file_of({"x": TWO["x"]}), "its tensors take 24 bytes, and there are 27"),
        (file_of(TWO, DATA[:-1]), "its tensors take 27 bytes, and there are 26"),
        (file_of(TWO, DATA + b"x"), "its tensors take 27 bytes, and there are 28"),
    ],
)
def test_what_the_format_forbids(data, message, read):
    with pytest.raises(ValueError, match=rf"a\.safetensors: not readable as \.safetensors: .*({message})"):
        read(data)


def test_a_header_over_the_format_s_limit_is_not_even_read(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes((100_000_001).to_bytes(8, "little") + b"{")
    os.truncate(path, 200_000_000)  # a hole: takes no room
    with pytest.raises(ValueError, match="its first 8 bytes announce a header of 100000001 bytes"):
        read_state(path)
