"""Saving and loading weights: round trips, what does not fit, files that are refused. See also test_pth.py."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest

from nn.containers import Sequential
from nn.io.checkpoint import write_checkpoint
from nn.io.state import load_state, read_metadata, read_state, save_state
from nn.layer import Layer, Parameter
from nn.layers.batch_norm import BatchNorm2d
from nn.layers.linear import Linear
from tests.nn.pth_bytes import legacy_file, ordered, storage, tensor, zip_file

FORMATS = ("npz", "safetensors")


def some_arrays():
    rng = np.random.default_rng(0)
    kinds = ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8")
    arrays = {f"layer.{kind}": rng.integers(0, 90, (2, 3)).astype(kind) for kind in kinds}
    return arrays | {
        "file": np.array([1.5, np.nan, -0.0, np.inf]),  # a name that np.savez(**arrays) would trip over
        "with.npy": np.ones(1),
        "scalar": np.array(7),
        "float32 scalar": np.float32(0.1),
        "empty": np.zeros((0, 4), np.float32),
        "fortran": np.asfortranarray(rng.standard_normal((3, 4))),
        "strided": np.arange(10)[::3],
        "naïve ✓": np.ones(2),
    }


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    return tmp_path / f"a.{request.param}"


def test_round_trip(path):
    arrays = some_arrays()
    save_state(arrays, path)
    back = read_state(path)
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()
        assert back[name].flags.writeable
    assert read_metadata(path) == {}


def test_big_endian_arrays_come_back_native(path):
    save_state({"x": np.array([1, 258], ">i4")}, path)
    assert read_state(path)["x"].dtype == np.dtype(np.int32)
    assert read_state(path)["x"].tolist() == [1, 258]


def test_equal_content_gives_equal_bytes_and_metadata_comes_back(path):
    save_state(some_arrays(), path, {"note": "naïve ✓"})
    first = path.read_bytes()
    save_state(some_arrays(), path, {"note": "naïve ✓"})
    assert path.read_bytes() == first
    assert read_metadata(path) == {"note": "naïve ✓"}
    assert list(read_state(path)) == list(some_arrays())


def test_numpy_reads_our_npz_and_we_read_numpys(tmp_path):
    save_state({"x": np.arange(3)}, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as opened:
        assert opened.files == ["x"]
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "b.npz", x=np.arange(3), y=np.eye(2))
        assert read_state(tmp_path / "b.npz")["y"].tolist() == [[1, 0], [0, 1]]


def model(seed=0, inputs=3):
    rng = np.random.default_rng(seed)
    made = Sequential(Linear(inputs, 4, rng=rng), BatchNorm2d(4), Linear(4, 2, rng=rng))
    made[1].running_mean[...] = rng.standard_normal(4)
    return made


def copies(layer):
    return {name: array.copy() for name, array in layer.state_dict().items()}


def test_a_layer_comes_back(path):
    one, two = model(1), model(2).astype(np.float64)
    save_state(one, path)
    assert load_state(two, path) == []
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(two.state_dict()[name], array)
    assert two[0].weight.value.dtype == np.float64  # the layer's own
    assert two[1].num_batches_tracked.dtype == np.int64


def test_what_does_not_fit_is_listed_and_nothing_is_loaded(path):
    state = copies(model(1))
    state["stranger"] = state.pop("0.bias")
    state["another"] = np.ones(1)
    state["2.weight"] = state["2.weight"].T
    state["2.bias"] = state["2.bias"].astype(np.complex64)
    save_state(state, path)
    wanted = [
        "missing 0.bias", "unexpected stranger", "unexpected another", "2.weight has shape (4, 2), wanted (2, 4)",
        "2.bias is complex64, wanted float32",
    ]  # fmt: skip
    layer = model(2)
    before = copies(layer)
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the message is compared whole)
        load_state(layer, path)
    assert str(error.value) == f"{path}: does not fit Sequential: {'; '.join(wanted)}"
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])

    assert load_state(layer, path, strict=False) == wanted
    for name, array in layer.state_dict().items():
        loaded = name not in ("0.bias", "2.weight", "2.bias")
        np.testing.assert_array_equal(array, (state if loaded else before)[name])


def test_a_long_list_is_cut_kind_by_kind(path):
    save_state({f"x{i}": np.ones(1) for i in range(25)} | {"weight": np.ones(3)}, path)
    with pytest.raises(ValueError, match="missing bias; unexpected x0; .*x19; 5 more; weight has shape") as error:
        load_state(Linear(2, 3), path)
    assert "x20" not in str(error.value)
    assert len(load_state(Linear(2, 3), path, strict=False)) == 27


def test_files_without_batch_counters(path):
    """From before PyTorch 0.4.1; but where there are some, one that is missing is missing."""
    state = copies(model(1))
    del state["1.num_batches_tracked"]
    save_state(state, path)
    layer = model(2)
    layer[1].num_batches_tracked[...] = 5
    assert load_state(layer, path) == []
    assert layer[1].num_batches_tracked == 5
    save_state(state | {"other.num_batches_tracked": np.array(3)}, path)
    with pytest.raises(ValueError, match="missing 1.num_batches_tracked; unexpected other.num_batches_tracked"):
        load_state(layer, path)


def test_tied_parameters_stand_under_each_of_their_names(path):
    class Tied(Layer):
        def __init__(self, value):
            self.a = self.b = Parameter(np.full(3, value))

    save_state(Tied(1.0), path)
    other = Tied(2.0)
    assert load_state(other, path) == []
    assert other.a is other.b
    np.testing.assert_array_equal(other.a.value, 1)


def test_a_part_of_a_file(path):
    save_state({"model/weight": np.ones((3, 2)), "model/bias": np.zeros(3), "models/x": np.ones(1)}, path)
    assert load_state(Linear(2, 3), path, key="model") == []
    with pytest.raises(ValueError, match="has no names that begin with mode/ or mode"):
        read_state(path, key="mode")


def test_a_checkpoint_of_this_library(tmp_path):
    state = {f"model/{name}": array for name, array in model(1).state_dict().items()}
    write_checkpoint(tmp_path / "best.npz", state | {"optimiser/x": np.ones(2)}, {"step": 3})
    layer = model(2)
    assert load_state(layer, tmp_path / "best.npz", key="model") == []
    np.testing.assert_array_equal(layer[0].weight.value, model(1)[0].weight.value)
    assert read_metadata(tmp_path / "best.npz") == {"step": 3}


def test_pytorch_files_by_every_ending(tmp_path):
    value = ordered({"weight": tensor(storage("0"), (2, 3), (3, 1)), "bias": tensor(storage("0"), (2,), (1,), 4)})
    raw = np.arange(6, dtype="<f4").tobytes()
    for name, data in {
        "a.pth": zip_file(value, {"0": raw}),
        "a.PT": legacy_file(value, {"0": (6, raw)}),
        "a.th": zip_file(value, {"0": raw}),
    }.items():
        (tmp_path / name).write_bytes(data)
        layer = Linear(3, 2)
        assert load_state(layer, tmp_path / name) == []
        assert layer.bias.value.tolist() == [4, 5]
        assert read_metadata(tmp_path / name) == {}


# Refused -------------------------------------------------------------------------------------------------------------


def test_writing_is_all_or_nothing(path, monkeypatch):
    save_state({"x": np.ones(2)}, path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nn.io.state.write_npz", full)
    monkeypatch.setattr("nn.io.state.write_safetensors", full)
    with pytest.raises(OSError, match="No space left"):
        save_state({"x": np.zeros(2)}, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    "state, metadata, message",
    [
        ({"x": np.array([{}], dtype=object)}, None, r"x must be a numeric array, got array\(\[\{\}\]"),
        ({"x": [1, 2]}, None, r"x must be a numeric array, got \[1, 2\]"),
        ({"x": np.array(["a"])}, None, "x must be a numeric array"),
        ({3: np.ones(1)}, None, "3 cannot be the name of an array"),
        ({"__meta__": np.ones(1)}, None, "'__meta__' cannot be the name of an array"),
        ({"__metadata__": np.ones(1)}, None, "'__metadata__' cannot be the name of an array"),
        ({}, {"step": 3}, r"metadata must be text by name, got \{'step': 3\}"),
    ],
)
def test_what_cannot_be_written_is_named(path, state, metadata, message):
    with pytest.raises(ValueError, match=rf"save_state: .*a\.\w+: {message}"):
        save_state(state, path, metadata)
    assert not path.exists()


def test_dtypes_that_safetensors_does_not_have(tmp_path):
    with pytest.raises(
        ValueError, match=r"x is complex128, which .safetensors does not have \(it has bool, .*take .npz"
    ):
        save_state({"x": np.ones(2, complex)}, tmp_path / "a.safetensors")
    assert os.listdir(tmp_path) == []
    save_state({"x": np.ones(2, complex)}, tmp_path / "a.npz")
    assert read_state(tmp_path / "a.npz")["x"].dtype == complex


def test_endings_and_missing_files(tmp_path):
    for name in ("a", "a.onnx", "a.npy"):
        with pytest.raises(ValueError, match=r"must end in one of \.npz, \.safetensors, \.pth, \.pt, \.th"):
            read_state(tmp_path / name)
        with pytest.raises(ValueError, match=r"give a name that ends in \.npz or \.safetensors"):
            save_state({}, tmp_path / name)
    with pytest.raises(ValueError, match=r"a\.pth: PyTorch's files are only read here; give a name"):
        save_state({}, tmp_path / "a.pth")
    for name in ("none.npz", "none.safetensors", "none.pt"):
        with pytest.raises(ValueError, match=f"{name}: no such file"):
            load_state(Linear(2, 3), tmp_path / name)
    with pytest.raises(TypeError, match="save_state: state must be a Layer or arrays by name, got list"):
        save_state([], tmp_path / "a.npz")


def test_npz_files_of_another_kind(tmp_path):
    np.savez(tmp_path / "pickle.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"pickle\.npz: not readable as \.npz: .*allow_pickle"):
        read_state(tmp_path / "pickle.npz")
    np.savez(tmp_path / "text.npz", x=np.array(["a"]))
    with pytest.raises(
        ValueError, match=r"text\.npz: not readable as \.npz: its entry x is <U1, wanted a numeric array"
    ):
        read_state(tmp_path / "text.npz")
    array = io.BytesIO()
    np.save(array, np.ones(2))
    with zipfile.ZipFile(tmp_path / "more.npz", "w") as archive:
        archive.writestr("x.npy", array.getvalue() + b"y")
    with pytest.raises(ValueError, match=r"more\.npz: .*its entry x.npy announces float64 \(2,\), and holds 17 bytes"):
        read_state(tmp_path / "more.npz")
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        archive.writestr("x.npy", array.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", array.getvalue())
    with pytest.raises(ValueError, match=r"twice\.npz: not readable as \.npz: its entry x is there twice"):
        read_state(tmp_path / "twice.npz")
    (tmp_path / "zip.npz").write_bytes(zip_file({}, {}))
    with pytest.raises(
        ValueError, match=r"zip\.npz: not readable as \.npz: its entry a/data.pkl .*does not end in .npy"
    ):
        read_state(tmp_path / "zip.npz")


# Damage --------------------------------------------------------------------------------------------------------------


def small_files():
    """The bytes of a small file of each format, by ending; some that PyTorch would write."""
    x = np.arange(6, dtype=np.float32)
    value = ordered({"x": tensor(storage("0"), (2, 3), (3, 1)), "y": tensor(storage("0"), (2,), (2,), 1)})
    yield "a.pth", zip_file({"epoch": 3, "model": value}, {"0": x.tobytes()})
    yield "b.pth", legacy_file(value, {"0": (6, x.tobytes())})
    yield "c.npz", {"x": x, "layer.y": np.ones((2, 3), np.int16)}
    yield "d.safetensors", {"x": x, "layer.y": np.ones((2, 3), np.int16)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name, content", [*small_files()], ids=["zip", "legacy", "npz", "safetensors"])
def test_no_damage_raises_anything_but_a_value_error(name, content, tmp_path):
    """Truncations, random changes of 1 to 4 bytes, pieces taken out or put in: some seconds' worth of each format."""
    path, key = tmp_path / name, "model" if name == "a.pth" else None
    if isinstance(content, dict):
        save_state(content, path)
        content = path.read_bytes()
    path.write_bytes(content)
    wanted, refused = read_state(path, key), 0
    for data in damaged(content, np.random.default_rng(4)):
        path.write_bytes(data)
        found = read_or_message(path, key)
        if isinstance(found, str):
            assert found.startswith(f"{path}: not readable as ")
            refused += 1
        else:
            assert all(isinstance(array, np.ndarray) for array in found.values())
    assert refused > 500
    path.write_bytes(content)
    for array, again in zip(wanted.values(), read_state(path, key).values()):
        np.testing.assert_array_equal(array, again)


def read_or_message(path, key):
    try:
        return read_state(path, key)
    except ValueError as error:
        return str(error)


def damaged(content, rng, changes=800):
    """Damaged copies of the bytes; half of the bytes put in are opcodes that make pickles do much."""
    yield from (content[:length] for length in range(0, len(content), 3))
    for _ in range(changes):
        data = bytearray(content)
        for at in rng.integers(len(data), size=rng.integers(1, 5)):
            data[at] = rng.choice(list(b"rjhR2.cBQbs(")) if rng.random() < 0.5 else data[at] ^ 1 << rng.integers(8)
        yield bytes(data)
        a, b = np.sort(rng.integers(0, len(content), 2))
        if rng.random() < 0.1:
            yield content[:a] + content[b:]
            yield content[:b] + content[a:]


def test_damage_to_the_numbers_of_a_zip_is_noticed_by_its_checksum(tmp_path):
    value = {"x": tensor(storage("0"), (6,), (1,))}
    raw = np.arange(6, dtype="<f4").tobytes()
    data = zip_file(value, {"0": raw})
    at = data.index(raw)
    (tmp_path / "a.pth").write_bytes(data[:at] + struct.pack("<f", 9) + data[at + 4 :])
    with pytest.raises(
        ValueError, match=r"a\.pth: not readable as \.pth: BadZipFile: Bad CRC-32 .*damaged or cut short"
    ):
        read_state(tmp_path / "a.pth")
