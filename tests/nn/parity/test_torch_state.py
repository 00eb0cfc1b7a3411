"""State dicts that PyTorch wrote, in both formats, and the safetensors package, as a second opinion on nn.io.state."""

import zipfile

import numpy as np
import pytest

from nn.containers import Sequential
from nn.io.state import load_state, read_metadata, read_state, save_state
from nn.layers.batch_norm import BatchNorm2d
from nn.layers.conv import Conv2d
from nn.layers.linear import Linear

torch = pytest.importorskip("torch")

DTYPES = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
    "complex128", "uint16", "uint32", "uint64",
)  # fmt: skip
both_formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(value, path, zipped, **options):
    torch.save(value, path, _use_new_zipfile_serialization=zipped, **options)
    return path


def numpy(tensor):
    tensor = tensor.detach().resolve_conj()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def random_tensor(rng):
    """Any dtype, 0 to 4 axes, perhaps empty, a slice, a transpose, an expansion, a parameter."""
    dtype = getattr(torch, DTYPES[rng.integers(len(DTYPES))])
    size = tuple(rng.integers(0, 5, rng.integers(0, 5)))
    made = torch.tensor(rng.integers(0, 100, size)).to(dtype)
    if made.ndim and rng.random() < 0.5:
        made = made.permute(*rng.permutation(made.ndim).tolist())
    if made.ndim and rng.random() < 0.5:
        made = made[rng.integers(0, 2) :: rng.integers(1, 3)]
    if rng.random() < 0.2:
        made = made.expand(3, *made.shape)
    return torch.nn.Parameter(made) if made.is_floating_point() and rng.random() < 0.3 else made


@both_formats
def test_random_state_dicts(zipped, tmp_path):
    """200 of up to 6 tensors, with the pickle protocols that PyTorch can be told to use."""
    rng = np.random.default_rng(5)
    for i in range(200):
        state = {f"layer{k}.weight": random_tensor(rng) for k in range(rng.integers(0, 7))}
        if len(state) > 1:
            state["tied"] = state["layer0.weight"]
        read = read_state(save(state, tmp_path / "a.pth", zipped, pickle_protocol=2 + i % 4))
        assert list(read) == list(state)
        for name, tensor in state.items():
            wanted = numpy(tensor)
            assert read[name].dtype == wanted.dtype
            assert read[name].shape == wanted.shape
            np.testing.assert_array_equal(read[name], wanted)


@both_formats
def test_a_module_s_state_dict_fits_our_layers(zipped, tmp_path):
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, (2, 3)), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 2)).double()
    theirs[1](torch.randn(5, 4, 3, 3, dtype=torch.double))  # running statistics
    ours = Sequential(Conv2d(3, 4, (2, 3)), BatchNorm2d(4), Linear(5, 2)).astype(np.float64)
    assert load_state(ours, save(theirs.state_dict(), tmp_path / "a.pt", zipped)) == []
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name], tensor.numpy())


@both_formats
def test_views_of_one_storage(zipped, tmp_path):
    whole = torch.arange(12.0)
    state = {"whole": whole, "middle": whole[3:7], "matrix": whole.reshape(3, 4).T}
    read = read_state(save(state, tmp_path / "a.pth", zipped))
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())
    read["whole"][4] = -1
    assert read["middle"][1] == read["matrix"][0, 1] == -1


@both_formats
def test_a_training_checkpoint(zipped, tmp_path):
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    whole = {"epoch": 3, "best": 0.5, "arch": "x", "model": model.state_dict(), "optimizer": optimiser.state_dict()}
    path = save(whole, tmp_path / "a.pth", zipped)
    with pytest.raises(ValueError, match=r"holds epoch, best, arch, model, optimizer: choose .* with key='model'"):
        read_state(path)
    assert load_state(Linear(3, 2), path, key="model") == []
    with pytest.raises(ValueError, match="no state dict under key='ema'; there is one under: model"):
        read_state(path, key="ema")


@both_formats
@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: torch.nn.Linear(2, 2), r"it names torch\.nn\.modules\.linear\.Linear"),
        (lambda: {"a": torch.eye(2).to_sparse()}, r"it names torch\._utils\._rebuild_sparse_tensor"),
        (lambda: {"a": torch.ones(2, device="meta")}, r"it names torch\._utils\._rebuild_meta_tensor_no_storage"),
        (lambda: {"a": torch.ones(2).to(torch.float8_e4m3fn)}, "float8_e4m3fn, which NumPy does not have"),
        (lambda: {"a": torch.ones(2, dtype=torch.complex64).conj()}, "yet to be conjugated"),
        (lambda: {"a": np.float64(3)}, r"it names numpy\._?core\.multiarray\.scalar"),
        (lambda: [torch.ones(2)], "it holds a value of type list"),
        (lambda: torch.ones(2), "it holds a value of type Tensor"),
        (lambda: {"a": torch.ones(2), "b": 3}, "its entry b is of type int"),
        (lambda: {7: torch.ones(2)}, "its entry of type int is of type Tensor"),
    ],
)
def test_what_is_no_state_dict(make, message, zipped, tmp_path):
    with pytest.raises(ValueError, match=rf"a\.pth: not readable as \.pth: .*{message}"):
        read_state(save(make(), tmp_path / "a.pth", zipped))


def test_big_endian(tmp_path):
    """As a big-endian machine writes it: PyTorch's own zip with each storage's bytes swapped, read by both."""
    state = {name: torch.tensor([1, 2, 100]).to(getattr(torch, name)) for name in DTYPES[:12]}
    save(state, tmp_path / "little.pth", True)
    with (
        zipfile.ZipFile(tmp_path / "little.pth") as little,
        zipfile.ZipFile(tmp_path / "big.pth", "w", zipfile.ZIP_STORED) as big,
    ):
        for name in little.namelist():
            data = little.read(name)
            if name.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in name:
                tensor = list(state.values())[int(name.split("/")[-1])]
                part = tensor.element_size() // (2 if tensor.is_complex() else 1)
                data = np.frombuffer(data, np.uint8).reshape(-1, part)[:, ::-1].tobytes()
            big.writestr(name, data)
    theirs, ours = torch.load(tmp_path / "big.pth"), read_state(tmp_path / "big.pth")
    for name, tensor in theirs.items():
        assert torch.equal(tensor, state[name])
        np.testing.assert_array_equal(ours[name], numpy(tensor))


def safetensors_state():
    rng = np.random.default_rng(3)
    state = {
        name: np.asarray(rng.integers(0, 100, rng.integers(0, 4, i % 4))).astype(name)
        for i, name in enumerate(name for name in DTYPES if name not in ("bfloat16", "complex128"))
    }
    return state | {"fortran": np.asfortranarray(rng.random((3, 4))), "strided": np.arange(10.0)[::3]}


def test_the_safetensors_package_reads_what_we_write(tmp_path):
    package = pytest.importorskip("safetensors")
    state, path = safetensors_state(), tmp_path / "a.safetensors"
    save_state(state, path, {"note": "naïve ✓", "step": "3"})
    with package.safe_open(path, "np") as opened:
        assert opened.metadata() == {"note": "naïve ✓", "step": "3"}
        assert set(opened.keys()) == set(state)
        for name, array in state.items():
            theirs = opened.get_tensor(name)
            assert theirs.dtype == array.dtype
            assert theirs.shape == array.shape
            np.testing.assert_array_equal(theirs, array)


def test_we_read_what_the_safetensors_package_writes(tmp_path):
    pytest.importorskip("safetensors")
    from safetensors.torch import save_file

    state = {name: torch.tensor([[1, 2, 100]]).to(getattr(torch, name)) for name in DTYPES if name != "complex128"}
    save_file(state, tmp_path / "a.safetensors", {"format": "pt"})
    assert read_metadata(tmp_path / "a.safetensors") == {"format": "pt"}
    read = read_state(tmp_path / "a.safetensors")
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        assert read[name].dtype == numpy(tensor).dtype
        np.testing.assert_array_equal(read[name], numpy(tensor))


@pytest.mark.parametrize("position", [*range(0, 60, 3), 80, 100])
def test_damaged_safetensors_headers_are_refused_by_both_or_read_alike(position, tmp_path):
    """A byte changed in the header: where the package refuses the file, so do we."""
    package = pytest.importorskip("safetensors")
    from safetensors.numpy import load

    save_state({"a": np.arange(4, dtype=np.int16), "b": np.ones((2, 3), np.float32)}, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    for value in b'\x00 0179,"[]{}}:xz':
        damaged = bytearray(whole)
        damaged[position] = value
        (tmp_path / "b.safetensors").write_bytes(damaged)
        try:
            theirs = load(bytes(damaged))
        except package.SafetensorError:
            theirs = None
        try:
            ours = read_state(tmp_path / "b.safetensors")
        except ValueError:
            ours = None
        assert theirs is not None or ours is None
        if theirs is not None and ours is not None:
            assert {name: array.tolist() for name, array in ours.items()} == {n: a.tolist() for n, a in theirs.items()}
