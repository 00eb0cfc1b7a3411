import contextlib
import json
import os
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nn.io import checkpoint, state
from nn.io.checkpoint import read_array, read_checkpoint, replacing, write_checkpoint, write_npz
from nn.io.state import read_metadata, read_state

ROOT = Path(__file__).parents[3]


def some_arrays():
    rng = np.random.default_rng(0)
    return {
        "model/conv.weight": rng.standard_normal((3, 2, 5, 4)).astype(np.float32),
        "file": np.array([1.5, np.nan, -0.0, np.inf]),  # a name that np.savez(**arrays) would trip over
        "scalar": np.array(7),
        "float32 scalar": np.float32(0.1),
        "empty": np.zeros((0, 4), np.float32),
        "bool": np.array([True, False]),
        "fortran": np.asfortranarray(rng.standard_normal((3, 4))),
        "strided": np.arange(10)[::3],
    }


def test_round_trip_is_bit_exact(tmp_path):
    arrays = some_arrays()
    meta = {"step": 3, "state": 2**127 + 1, "lr": 0.1, "note": "naïve ✓", "none": None}
    write_checkpoint(tmp_path / "a.npz", arrays, meta)
    back, meta_back = read_checkpoint(tmp_path / "a.npz")
    assert meta_back == meta
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_numpy_opens_it_and_equal_content_gives_equal_bytes(tmp_path):
    for name in "ab":
        write_checkpoint(tmp_path / f"{name}.npz", some_arrays(), {"step": 3})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as opened:
        np.testing.assert_array_equal(opened["strided"], [0, 3, 6, 9])


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.npz: no such checkpoint file"):
        read_checkpoint(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="no such checkpoint file"):
        read_checkpoint(tmp_path)


def test_every_truncation_is_an_error_that_names_the_file(tmp_path):
    write_checkpoint(tmp_path / "a.npz", {"x": np.arange(30.0)}, {"step": 3})
    whole = (tmp_path / "a.npz").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.npz: truncated, damaged or not a checkpoint"):
            read_checkpoint(tmp_path / "cut.npz")


def read_or_message(path):
    try:
        return read_checkpoint(path)
    except ValueError as error:
        return None, str(error)


def test_a_flipped_bit_is_an_error_or_harmless_never_a_wrong_array(tmp_path):
    """Bytes that no reader looks at (dates, flags) may change; what is read must not."""
    x = np.arange(30.0)
    write_checkpoint(tmp_path / "a.npz", {"x": x}, {"step": 3})
    whole = (tmp_path / "a.npz").read_bytes()
    errors = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        (tmp_path / "bad.npz").write_bytes(damaged)
        arrays, meta = read_or_message(tmp_path / "bad.npz")
        if arrays is None:
            assert "bad.npz" in meta
            errors += 1
        else:
            assert meta == {"step": 3}
            assert arrays["x"].tobytes() == x.tobytes()
    assert errors > 0.7 * len(whole)


def test_other_files_are_no_checkpoints(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz: an \.npz, but not a checkpoint of this library"):
        read_checkpoint(tmp_path / "other.npz")
    np.savez(tmp_path / "meta.npz", __meta__=np.frombuffer(b"{", np.uint8))
    with pytest.raises(ValueError, match="no JSON"):
        read_checkpoint(tmp_path / "meta.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "text.npz")


def test_a_pickle_is_not_opened(tmp_path):
    np.savez(tmp_path / "pickle.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"pickle\.npz"):
        read_checkpoint(tmp_path / "pickle.npz")


@pytest.mark.parametrize(
    ("arrays", "meta", "message"),
    [
        ({"x": np.array([{}], dtype=object)}, {}, "'x' of .* must be a numeric NumPy array"),
        ({"x": [1, 2]}, {}, r"'x' of .* must be a numeric NumPy array, got \[1, 2\]"),
        ({"__meta__": np.zeros(1)}, {}, "may be called '__meta__'"),
        ({}, {"x": np.zeros(1)}, "meta of .* must be JSON-able"),
    ],
)
def test_what_cannot_be_written_is_named_and_the_old_file_stays(tmp_path, arrays, meta, message):
    path = tmp_path / "a.npz"
    write_checkpoint(path, {"x": np.ones(2)}, {"step": 1})
    with pytest.raises(ValueError, match=message):
        write_checkpoint(path, arrays, meta)
    assert read_checkpoint(path)[1] == {"step": 1}
    assert os.listdir(tmp_path) == ["a.npz"]


def test_an_error_or_interrupt_while_writing_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted():
        with replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_kill_9_while_writing_leaves_a_whole_checkpoint(tmp_path):
    """A process that does nothing but rewrite one checkpoint is killed: what lies there reads, and is whole."""
    program = (
        "import sys, numpy as np\nfrom nn.io.checkpoint import write_checkpoint\n"
        "for step in range(10**9):\n"
        "    write_checkpoint(sys.argv[1], {'x': np.full(100_000, step)}, {'step': step})\n"
        "    print(step, flush=True)\n"
    )
    path = tmp_path / "a.npz"
    for lines in (1, 2, 7):
        child = subprocess.Popen([sys.executable, "-c", program, path], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(lines):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        arrays, meta = read_checkpoint(path)
        assert meta["step"] >= lines - 1
        np.testing.assert_array_equal(arrays["x"], meta["step"])


def test_meta_is_readable_json_in_the_archive(tmp_path):
    write_checkpoint(tmp_path / "a.npz", {}, {"step": 3})
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert json.loads(archive.read("__meta__.npy").split(b"\n", 1)[1]) == {"step": 3}


def test_the_old_file_is_replaced_never_written_into(tmp_path):
    """Who has the old file open goes on reading the old content: there is no moment with half of each."""
    path = tmp_path / "a.npz"
    write_checkpoint(path, {"x": np.zeros(3)}, {})
    before = path.read_bytes()
    with open(path, "rb") as reader:
        write_checkpoint(path, {"x": np.ones(3)}, {})
        assert reader.read() == before
    np.testing.assert_array_equal(read_checkpoint(path)[0]["x"], 1)


def deflated(path, header, data, chunks=1):
    """An .npz with one compressed entry, x.npy: a header of the .npy format, then `chunks` times the data."""
    text = header.encode().ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as entry:
        entry.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
        for _ in range(chunks):
            entry.write(data)


READERS = [lambda path: read_checkpoint(path), lambda path: read_state(path)]


@pytest.mark.parametrize("read", READERS)
def test_a_small_file_that_unpacks_to_gigabytes_is_refused_unread(read, tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    deflated(path, "{'descr': '|u1', 'fortran_order': False, 'shape': (16777216,), }", bytes(1 << 20), 16)
    monkeypatch.setattr(checkpoint, "MOST_BYTES", 1 << 22)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *args: pytest.fail("read"))
    with pytest.raises(ValueError, match=r"bomb.npz: .* would unpack to 16,777,344, more than 4,194,304 and 20 times"):
        read(path)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("shape", ["(9999999999999,)", "(-4,)", "(10**9,)", "(3, 2**70)", "None", "('a',)", "(" * 3000])
def test_an_absurd_shape_is_damage(read, shape, tmp_path):
    path = tmp_path / "a.npz"
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }"
    deflated(path, text, bytes(16))
    with pytest.raises(ValueError, match=r"a\.npz: "):
        read(path)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"3", b"[1]", b"null", b"\xff", b'{"a": ' * 5000])
def test_metadata_that_is_deep_or_no_dict_is_damage(text, tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        write_npz(file, {"__meta__": np.frombuffer(text, np.uint8)})
    with pytest.raises(ValueError, match=r"a\.npz: damaged, its entry __meta__ is"):
        read_checkpoint(tmp_path / "a.npz")


def test_damaged_files_are_value_errors_or_right(tmp_path):
    """Bytes of a checkpoint overwritten, dropped, inserted, doubled, 300 times."""
    rng, path = np.random.default_rng(0), tmp_path / "a.npz"
    write_checkpoint(path, some_arrays(), {"step": 3})
    whole = path.read_bytes()
    for _ in range(300):
        data, at = bytearray(whole), sorted(rng.integers(0, len(whole), 2).tolist())
        kind = rng.integers(4)
        if kind == 0:
            for i in rng.integers(0, len(whole), rng.integers(1, 6)):
                data[i] = rng.integers(256)
        elif kind == 1:
            del data[at[0] : at[1]]
        elif kind == 2:
            data[at[0] : at[0]] = rng.bytes(8)
        else:
            data[at[0] : at[0]] = data[at[0] : at[1]]
        path.write_bytes(data)
        for read in READERS:
            with contextlib.suppress(ValueError):
                read(path)


def test_reading_peaks_at_little_more_than_the_file(tmp_path):
    path = tmp_path / "a.npz"
    write_checkpoint(path, {"x": np.random.default_rng(0).standard_normal(4_000_000)}, {})
    for read in READERS:
        tracemalloc.start()
        read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 1.2 * path.stat().st_size


def test_metadata_of_more_than_some_megabytes_is_damage(tmp_path, monkeypatch):
    """Its JSON would take several times as much."""
    write_checkpoint(tmp_path / "a.npz", {}, {"note": "a" * 100})
    monkeypatch.setattr(checkpoint, "MOST_META", 99)
    for read in (read_checkpoint, read_metadata):
        with pytest.raises(ValueError, match=r"a\.npz: .*112 bytes, 99 are read"):
            read(tmp_path / "a.npz")


def test_metadata_is_read_without_the_arrays(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "a.npz", {"x": np.zeros(3)}, {"note": 1})
    read = []
    monkeypatch.setattr(
        state, "read_array", lambda archive, info: read.append(info.filename) or read_array(archive, info)
    )
    assert read_metadata(tmp_path / "a.npz") == {"note": 1}
    assert read == ["__meta__.npy"]
