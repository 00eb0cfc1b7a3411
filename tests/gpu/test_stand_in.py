"""The stand-in for CuPy refuses what a GPU would refuse or get wrong, and counts transfers."""

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from tests.cupy_stand_in import TransferError, count_transfers, no_transfers
from tests.cupy_stand_in import cupy as xp
from tests.cupy_stand_in.methods import METHODS
from tests.cupy_stand_in.ufuncs import OPERATORS

ROOT = Path(__file__).parents[2]

HOST = np.arange(6.0).reshape(2, 3)
MIXTURES = {
    "array + NumPy": lambda x: x + HOST,
    "NumPy + array": lambda x: HOST + x,
    "array * 0-d NumPy": lambda x: x * np.array(2.0),
    "in place": lambda x: x.__iadd__(HOST),
    "comparison": lambda x: x < HOST,
    "matrix product": lambda x: x.T @ HOST,
    "function": lambda x: xp.maximum(x, HOST),
    "NumPy's function": lambda x: np.maximum(x, HOST),
    "out of NumPy": lambda x: xp.exp(x, out=HOST.copy()),
    "NumPy's out": lambda x: np.exp(HOST, out=x),
    "in a list": lambda x: xp.stack([x, HOST]),
    "where": lambda x: xp.where(x > 0, x, HOST),
    "method": lambda x: x.take(np.array([1])),
    "value": lambda x: x.__setitem__(0, HOST[0]),
    "assigned to NumPy": lambda x: HOST.copy().__setitem__(0, x[0]),
    "index": lambda x: x[np.array([1])],
    "list as an index": lambda x: x[[1]],
    "list within an index": lambda x: x[:, [1]],
    "NumPy indexed": lambda x: HOST[x[0].astype(np.int64)],
    "slice to a device number": lambda x: x[: xp.full((), 2)],
    "shape of device numbers": lambda x: xp.zeros((2, xp.full((), 2))),
    "range of a device number": lambda x: range(xp.full((), 2)),
    "np.asarray": np.asarray,
    "np.array": np.array,
    "function that CuPy lacks": lambda x: np.vecdot(x, x),
    "function without a device array": lambda x: xp.sqrt(2.0),
    "function of NumPy alone": lambda x: xp.sum(HOST),
    "method of NumPy's": lambda x: x.sum(initial=0),
    "argument of NumPy's": lambda x: xp.max(x, initial=0),
}


@pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES)
def test_host_and_device_do_not_mix(mixture):
    with pytest.raises(TypeError):
        mixture(xp.asarray(HOST))


def test_numpy_s_functions_are_cupy_s_on_device_arrays():
    x = xp.asarray(HOST)
    for y, wanted in ((np.exp(x), np.exp(HOST)), (np.stack([x, x]), np.stack([HOST, HOST])), (2.0 * x, 2 * HOST)):
        assert isinstance(y, xp.ndarray)
        assert np.array_equal(y.get(), wanted)
    assert np.ndim(x) == 2 and np.shape(x) == (2, 3) and np.result_type(x, np.float32) == np.float64
    assert isinstance(np.float64(2) * x, xp.ndarray)


def test_results_are_arrays_never_scalars():
    x = xp.asarray(HOST)
    for y in (x.sum(), x[1, 2], x.argmax(), xp.max(x), x.mean() + 1, abs(x[0, 0])):
        assert isinstance(y, xp.ndarray)
        assert y.shape == ()


def test_a_device_array_cannot_be_made_by_its_class():
    with pytest.raises(TypeError, match="the stand-in makes arrays by empty"):
        xp.ndarray((2, 3))


def test_arrays_of_empty_hold_no_usable_values():
    assert np.isnan(xp.empty((2, 3)).get()).all()
    assert xp.empty(2, np.int32).tolist() == [2**31 - 1] * 2
    assert xp.empty_like(xp.zeros(2, bool)).tolist() == [True] * 2
    assert xp.empty(3).dtype == xp.zeros(3).dtype == np.float64


def test_a_gpu_does_not_warn():
    x = xp.asarray(HOST)
    assert np.isinf((1 / x).get()[0, 0])
    assert np.isnan(xp.log(-x).get()[0, 1])
    x /= 0
    assert xp.isfinite(x).sum().item() == 0


def test_several_values_for_one_position_are_refused():
    x, index = xp.zeros(5), xp.asarray(np.array([1, 3, 1]))
    with pytest.raises(ValueError, match="several values for the same position"):
        x[index] = xp.asarray(np.arange(3.0))
    with pytest.raises(ValueError, match="several values for the same position"):
        x[index] += 1
    x[index] = 7  # the same value, in any order
    xp.add.at(x, index, xp.ones(3))
    assert x.tolist() == [0, 9, 0, 8, 0]
    with pytest.raises(NotImplementedError, match=re.escape("`multiply.at` is not supported")):
        xp.multiply.at(x, index, 2)
    with pytest.raises(TypeError, match="scatter_add only supports"):
        xp.add.at(xp.zeros(5, np.int64), index, 1)


def test_indices_beyond_an_array_are_noticed():  # CuPy wraps them around
    with pytest.raises(IndexError):
        xp.zeros(5)[xp.asarray(np.array([5]))]


def test_flags_and_memory_are_cupy_s():
    x = xp.asarray(HOST)
    assert x.flags.c_contiguous and x.T.flags.f_contiguous and not x.T.flags.c_contiguous
    assert not hasattr(x.flags, "writeable") and not hasattr(x, "ctypes") and not hasattr(x, "__index__")
    assert x[1].data.ptr == x.data.ptr + 24
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.array(np.array(["a"]))


def test_copies_are_on_the_device():
    x = xp.asarray(HOST)
    with no_transfers():
        for y in (x.copy(), copy.copy(x), copy.deepcopy(x), xp.array(x)):
            y[...] = 0
        assert xp.asarray(x) is x and xp.ascontiguousarray(x) is x
    assert np.array_equal(x.get(), HOST)
    assert np.array_equal(pickle.loads(pickle.dumps(x.get())), HOST)


def test_host_data_is_copied():
    host = HOST.copy()
    x = xp.asarray(host)
    host[...] = 0
    assert np.array_equal(x.get(), HOST)
    out = x.get()
    out[...] = 0
    assert np.array_equal(xp.asnumpy(x), HOST)
    x.set(out)
    assert not x.get().any()
    with pytest.raises(ValueError, match="set wants a NumPy array"):
        x.set(out.T)


TRANSFERS = {
    "asarray": ("in", lambda x: xp.asarray(HOST)),
    "asarray of a list": ("in", lambda x: xp.asarray([1, 2])),
    "array": ("in", lambda x: xp.array(HOST)),
    "set": ("in", lambda x: x.set(HOST)),
    "get": ("out", lambda x: x.get()),
    "asnumpy": ("out", xp.asnumpy),
    "item": ("out", lambda x: x[0, 0].item()),
    "tolist": ("out", lambda x: x.tolist()),
    "float": ("out", lambda x: float(x[0, 0])),
    "int": ("out", lambda x: int(x[0, 0])),
    "complex": ("out", lambda x: complex(x[0, 0])),
    "bool": ("out", lambda x: bool(x[0, 0])),
    "if": ("out", lambda x: 1 if x.any() else 2),
    "print": ("out", repr),
    "format": ("out", lambda x: f"{x[0, 0]:.3f}"),
    "mask": ("wait", lambda x: x[x > 0]),
    "mask assigned": ("wait", lambda x: x.__setitem__(x > 0, 1)),
    "nonzero": ("wait", lambda x: x.nonzero()),
    "flatnonzero": ("wait", xp.flatnonzero),
    "where": ("wait", lambda x: xp.where(x > 0)),
    "unique": ("wait", xp.unique),
    "bincount": ("wait", lambda x: xp.bincount(x[0].astype(np.int32))),
    "array_equal": ("wait", lambda x: xp.array_equal(x, x, equal_nan=True)),
}


@pytest.mark.parametrize("kind, transfer", TRANSFERS.values(), ids=TRANSFERS)
def test_transfers_are_counted_by_caller_and_refused(kind, transfer):
    x = xp.asarray(HOST)
    with count_transfers() as counted:
        transfer(x)
        transfer(x)
    assert sum(counted.values()) == 2
    assert {k for k, _ in counted} == {kind}
    assert all(caller.startswith("test_stand_in.py:") for _, caller in counted)
    with no_transfers(), pytest.raises(TransferError, match=rf"a transfer \({kind}\) .* at test_stand_in.py:\d+ "):
        transfer(x)


def test_operations_without_transfers_are_not_counted():
    with no_transfers():
        x = xp.arange(6.0).reshape(2, 3) + xp.full((2, 3), np.float64(1)) + xp.asarray(2.0)
        y = xp.where(x > 3, x, 0)
        y[0], y[:, xp.zeros(1, np.int64)] = 1, 2
        assert len(x) == 2 and x.shape == (2, 3)


def test_transfers_are_allowed_in_named_functions():
    def value_of(x):
        return x.sum().item()

    x = xp.asarray(HOST)
    with no_transfers("value_of"):
        assert value_of(x) == 15
        with pytest.raises(TransferError):
            float(x.sum())
    float(x.sum())


def test_numpy_s_scalars_as_either_operand():
    x = xp.asarray(HOST)
    for y in (np.float64(2) * x, np.float64(2) > x, np.float64(2) ** x, np.int64(2) - x, x // np.float32(2)):
        assert isinstance(y, xp.ndarray)
    assert (np.float32(2) * x.astype(np.float32)).dtype == np.float32


def test_everything_here_is_used_by_the_project():
    files = [path for folder in ("nn", "vision", "scripts", "tests/gpu") for path in (ROOT / folder).rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files if "stand_in" not in path.name)
    names = {name for name in vars(xp) if not name.startswith("_")} - {*OPERATORS, "absolute", "ufunc"}
    assert [name for name in sorted(names) if not re.search(rf"[\w)]\.{name}\b", code)] == []
    assert [name for name in METHODS if not re.search(rf"\.{name}\(", code)] == []


def test_a_missing_function_says_what_to_do():
    with pytest.raises(AttributeError, match="the stand-in for CuPy has no kaiser: .* declare it in tests"):
        xp.kaiser(5)
