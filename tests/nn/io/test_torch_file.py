"""PyTorch's two formats, read without PyTorch: right arrays, and nothing of the file gets to run."""

import base64
import os
import pickle
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest

from nn.io import unpickle
from nn.io.state import read_state
from tests.nn.pth_bytes import (
    Call,
    Named,
    Stored,
    legacy_file,
    opcodes,
    ordered,
    pickled,
    storage,
    tensor,
    zip_file,
)

SIX = np.arange(6, dtype=np.float32)
RAW = SIX.tobytes()

# torch.save(OrderedDict(w=torch.arange(6.).reshape(2, 3).T, half=torch.tensor([1.5, -2]).bfloat16(),
#                        count=torch.tensor(7))) of PyTorch 2.13, in both formats, compressed
REAL_ZIP = """
c-o~^J#W)M7(UyHlNv}rC{0_Sb1IcIalRZ1O|ifXMj{PDin2s*;wBbu+;c9eV5)>#2^KyiBqqejKY+0_Vqsxo>ri##C%~PZxVEb#
r9I_xQgY9S@80KiQDy=Fgu~#}m;h5iF>6h&t1j0Sq{O$M>5>=$70=kEYc)gH)f&=_R-1cl)>Tuj-`8r0gJ7`)saTo9WIK?qAp^6;
s~x22ZLVsn8y!urSCQIk8)mi3bC8L}$|1bDjdv;y6$WewC+UWQp4dNfFlZ4bAX{eeTHEfxkjx?&UYCK)$n-uOlPQ_mhuo_sF>ndN
%O!ZFjGq!T6@3#%npmgV=N2vUWY(b{x9F2_q8XBD1SbhCy$7dcY7btuDW?&<R)RC-AkjBEEd-+;&PPV8;qc8`d_0`Pd=!H7m~U~>
=DCjGjS{@si5KNixO@EL-UGaq%;LaHiGr+iDe+Ci+)_}rtD0?m_>#!`?&d5bNwmNI`Tdf(By+I#Jjk7B_wJ~w=vt$-rM8eHrp_T>
$)<^c!VWy9u>?KTz$7R*1~#4})gZ+ti7V&P?GIf;NLPu6y}O5VELLHMdWe8kPb!uZl6d<925i>d0{&XVA3S&Q{JcgSMc*F1o5g?3
j&QW(b(ECE*qI$26u<$|3awWTNkjr8wAQ>@yd>Va$njS~J!axz``3{{M8iWpjDr=&gH!ss^O{I;MEU2Z#?#UDw*dH)09cRTR!t2j
;DtiEUsbD1V*EdiB!qN6EeJw7m(OMrX(5-&B$9k8FXXZrfzM>q`D8*!<TJ$O>gzY(W7tQ`a!C=hj!$>{m^kI!-^cxEcLRuekRK>8
sNwiY+##O#2A2jyI)|Uf9mGiw&wCe-(*XQ%cWNRY_zVMl+4W=HDez*y__0Yp)?K|`>~z3~<^5Q9{f&FDA6?i1=k6|x1rK;C2u2ia
QD)htet9#u9ORg9eMsBuw_rc6td-oqz5Lp5jv#Ae#;pDJ-haPW)vW
"""
REAL_LEGACY = """
c-n1|&u`N(6vq=MZHLE3HwL5pkT|B7YTeqbJ#9i$FJ=tF#TOKn)N6vQxG!-!4XIKun}EN8!;bqi`tR^3AnmZ1rVN;B#kTzN-uLtT
^_2Xe^5$pn_v<g$?`w@IIsRqgIswDsRl_hwiP9=i(jSW?jZ_RKCh#@<BO|S)@I^d``Z17ioMKR)kA$B_UquSm1Z;<wFqnoa(NJQ9
TX>3M4P|C?JJ(S05Gu^hGGqpbks{DYN$E*45Q!KZMS-SZ)IBgAZeqn5kU*;>2pfK;Bbib^5udY24ty=*R3-j+mxARuypn@4vp*DI
7bUbORbPKBf)q-89do*^R=d-6+s#(Dz2`!C-eWMzu&wet4J#j*!7N5D;Q=$5bqVx)n76a4;h_g>^IL>{c?#<xQo}!_H*-|ey@Nga
3+wE6+~%I^wxAkT7(vKJ4j~t?$;=CQTmZH-Jn`V^+`vF(XxjFFgtutjo%*x;>h0YfsG+)v>d#TVUN2N%Xn5(ttK9BS`4cZGGnaKr
mU(4~M*bxEs4RA}*k=dEtZe){rU$qj;)ipJ^Xl*xwK$*|
"""


def real_file(text):
    return zlib.decompress(base64.b85decode(text.replace("\n", "")))


@pytest.fixture
def read(tmp_path):
    """read(bytes, key=None) of a .pth file."""

    def function(data, key=None):
        (tmp_path / "a.pth").write_bytes(data)
        return read_state(tmp_path / "a.pth", key)

    return function


@pytest.fixture
def refuses(read):
    """refuses(bytes, message): the file is a ValueError that names it and matches."""

    def function(data, message, key=None):
        with pytest.raises(ValueError, match=rf"a\.pth: not readable as \.pth: .*{message}"):
            read(data, key)

    return function


def both(value, raw=RAW, length=6):
    """The same value in both formats, with one storage, "0"."""
    return zip_file(value, {"0": raw}), legacy_file(value, {"0": (length, raw)})


# Arrays --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [REAL_ZIP, REAL_LEGACY], ids=["zip", "legacy"])
def test_files_that_pytorch_wrote(text, read):
    found = read(real_file(text))
    assert list(found) == ["w", "half", "count"]
    np.testing.assert_array_equal(found["w"], SIX.reshape(2, 3).T)
    np.testing.assert_array_equal(found["half"], np.array([1.5, -2], np.float32))
    assert found["half"].dtype == np.float32
    assert found["count"].shape == () and found["count"].dtype == np.int64 and found["count"] == 7


def test_strided_scalar_shared_expanded_and_empty_tensors(read):
    value = ordered(
        {
            "rows": tensor(storage("0"), (2, 3), (3, 1)),
            "columns": tensor(storage("0"), (3, 2), (1, 3)),
            "odd": tensor(storage("0"), (3,), (2,), 1),
            "scalar": tensor(storage("0"), (), (), 4),
            "expanded": tensor(storage("0"), (2, 3), (0, 1), 2),
            "empty": tensor(storage("0"), (0, 7), (7, 1)),
        }
    )
    for data in both(value):
        found = read(data)
        np.testing.assert_array_equal(found["rows"], SIX.reshape(2, 3))
        np.testing.assert_array_equal(found["columns"], SIX.reshape(2, 3).T)
        np.testing.assert_array_equal(found["odd"], [1, 3, 5])
        np.testing.assert_array_equal(found["scalar"], 4)
        np.testing.assert_array_equal(found["expanded"], [[2, 3, 4], [2, 3, 4]])
        assert found["empty"].shape == (0, 7)
        found["rows"][0, 1] = 50  # one memory, as in PyTorch
        assert found["columns"][1, 0] == found["odd"][0] == 50


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    "kind, dtype",
    [("DoubleStorage", "f8"), ("FloatStorage", "f4"), ("HalfStorage", "f2"), ("LongStorage", "i8"),
     ("IntStorage", "i4"), ("ShortStorage", "i2"), ("CharStorage", "i1"), ("ByteStorage", "u1"), ("BoolStorage", "?"),
     ("ComplexFloatStorage", "c8"), ("ComplexDoubleStorage", "c16")],
)  # fmt: skip
def test_every_storage_type_in_both_byte_orders(kind, dtype, big, read):
    wanted = np.array([1, 0, 100]).astype(dtype)
    value = {"x": tensor(storage("0", kind, 3), (3,), (1,))}
    raw = wanted.astype(wanted.dtype.newbyteorder(">" if big else "<")).tobytes()
    files = [zip_file(value, {"0": raw}, "big")] if big else both(value, raw, 3)
    for found in map(read, files):
        assert found["x"].dtype == wanted.dtype and found["x"].dtype.isnative
        np.testing.assert_array_equal(found["x"], wanted)


def test_bfloat16_is_the_upper_half_of_a_float32(read):
    wanted = np.array([1.5, -2, 3e38, np.inf], np.float32).view(np.uint32) & 0xFFFF0000
    value = {"x": tensor(storage("0", "BFloat16Storage", 4), (4,), (1,))}
    for order in ("little", "big"):
        raw = (wanted >> 16).astype("<u2" if order == "little" else ">u2").tobytes()
        np.testing.assert_array_equal(read(zip_file(value, {"0": raw}, order))["x"], wanted.view(np.float32))


def test_a_bool_is_true_for_any_byte_but_0(read):
    found = read(zip_file({"x": tensor(storage("0", "BoolStorage", 3), (3,), (1,))}, {"0": b"\x00\x02\xff"}))["x"]
    assert found.view(np.uint8).tolist() == [0, 1, 1]


def test_dtypes_that_have_no_storage_type(read, refuses):
    def value(dtype):
        untyped = Stored(("storage", Named("torch.storage", "UntypedStorage"), "0", "cpu", 4))
        arguments = (untyped, 0, (2,), (1,), False, ordered({}), Named("torch", dtype))
        return {"x": Call(Named("torch._utils", "_rebuild_tensor_v3"), arguments)}

    for data in both(value("uint16"), b"\x01\x00\x02\x01", 4):
        assert read(data)["x"].tolist() == [1, 258]
        assert read(data)["x"].dtype == np.uint16
    refuses(both(value("float8_e5m2"))[0], "dtype torch.float8_e5m2, which NumPy does not have")


def test_each_tensor_gets_the_storage_and_the_dtype_it_names(read):
    """Two storages of one dtype; one storage seen as two dtypes."""
    untyped = Stored(("storage", Named("torch.storage", "UntypedStorage"), "1", "cpu", 8))
    arguments = (untyped, 0, (4,), (1,), False, ordered({}), Named("torch", "uint16"))
    value = {
        "zero": tensor(storage("0"), (6,), (1,)),
        "one": tensor(storage("1", length=2), (2,), (1,)),
        "one again": Call(Named("torch._utils", "_rebuild_tensor_v3"), arguments),
    }
    found = read(zip_file(value, {"0": RAW, "1": np.array([7, 8], "<f4").tobytes()}))
    assert found["zero"].tolist() == SIX.tolist()
    assert found["one"].tolist() == [7, 8]
    assert found["one again"].tolist() == np.array([7, 8], "<f4").view(np.uint16).tolist()


def test_parameters_old_tensors_and_parts_of_storages(read):
    """torch.nn.Parameter in the dict; _rebuild_tensor and storage views, as PyTorch 0.1 to 0.3 wrote them."""
    old = Call(Named("torch._utils", "_rebuild_tensor"), (storage("0", "FloatStorage", 6, ("1", 2, 4)), 1, (2,), (1,)))
    parameter = Call(Named("torch._utils", "_rebuild_parameter"), (old, True, ordered({})))
    found = read(legacy_file({"old": old, "parameter": parameter}, {"0": (6, SIX.tobytes())}))
    assert found["old"].tolist() == found["parameter"].tolist() == [3, 4]


def test_version_numbers_of_a_state_dict_are_ignored(read):
    value = b"ccollections\nOrderedDict\n)R" + opcodes("x") + opcodes(tensor(storage("0"), (6,), (1,))) + b"s"
    built = value + opcodes({"_metadata": ordered({"": {"version": 1}}), "items": 3}) + b"b"
    for data in both(b"\x80\x02" + built + b"."):
        np.testing.assert_array_equal(read(data)["x"], SIX)


def test_a_zip_of_before_the_byteorder_entry_is_little_endian(read):
    value = {"x": tensor(storage("0"), (6,), (1,))}
    np.testing.assert_array_equal(read(zip_file(value, {"0": SIX.tobytes()}, byteorder=None))["x"], SIX)


def test_a_file_that_holds_more_than_a_state_dict(read, refuses):
    state = {"x": tensor(storage("0"), (6,), (1,))}
    for data in both({"epoch": 3, "note": None, "lr": [0.5, 1.5], "model": ordered(state), "ema": state}):
        refuses(data, "it holds epoch, note, lr, model, ema: choose a state dict with key='model'")
        refuses(data, "no state dict under key='epoch'; there is one under: model, ema", key="epoch")
        np.testing.assert_array_equal(read(data, key="ema")["x"], SIX)
    refuses(both(state)[0], "no state dict under key='model'; there is one under: none", key="model")


def test_an_empty_state_dict(read):
    for data in (zip_file({}, {}), legacy_file(ordered({}), {})):
        assert read(data) == {}


# Refused -------------------------------------------------------------------------------------------------------------


class Runs:
    """An object whose unpickling calls something."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@pytest.fixture
def marker(tmp_path):
    """A file that the attacks below make, if anything of them runs."""
    path = tmp_path / "it_ran"
    yield path
    assert not path.exists()


def attacks(marker):
    code = f"open({str(marker)!r}, 'w').close()"
    yield Runs(os.system, f"touch {marker}")
    yield Runs(eval, code)
    yield Runs(exec, code)
    yield Runs(open, str(marker), "w")
    yield Runs(getattr, "x", "upper")
    yield {"x": [({"y": Runs(eval, code)},)]}
    yield {Runs(eval, code): 1}
    yield Runs(map, eval, [code])


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_file_does_not_run(protocol, marker, refuses):
    for attack in attacks(marker):
        data = pickle.dumps(attack, protocol)
        message = r"it names (posix|nt|builtins|__builtin__|_io|io|itertools)\.\w+, which is not known here: refused"
        refuses(zip_file(data, {}), message)
        refuses(legacy_file(data, {}), message)
        refuses(data, message)  # in place of the magic number
        refuses(legacy_file({}, {}, keys=data[:-1]), message)  # in place of the storages' names


def test_code_inside_what_is_allowed_does_not_run(marker, refuses):
    system = Call(Named("os", "system"), (f"touch {marker}",))
    for value in (
        {"x": tensor(system, (6,), (1,))},
        {"x": Call(Named("torch._utils", "_rebuild_tensor_v2"), (storage("0"), 0, (6,), (1,), False, system))},
        {"x": Stored(("storage", Named("os", "system"), "0", "cpu", 6))},
        ordered({"x": system}),
        Call(Call(Named("builtins", "getattr"), (Named("os", "path"), "os")), ()),
    ):
        for data in both(value):
            refuses(data, r"it names (os\.(system|path)|builtins\.getattr), which is not known here")


def test_opcodes_that_data_does_not_need(marker, refuses):
    command = opcodes(f"touch {marker}")
    for opcode in (
        b"(ios\nsystem\n",  # INST: "ios" is opcode i, module os
        b"(" + command + b"ios\nsystem\n",
        b"(cos\nsystem\n" + command + b"o",
        b"cos\nsystem\n" + command + b"\x81",
        b"\x82\x01",
        b"\x8f",
    ):
        refuses(zip_file(b"\x80\x02" + opcode + b".", {}), "(the pickle opcode|it names os.system)")


def test_pickles_that_do_not_add_up(refuses):
    refuses(zip_file(b"\x80\x02" + opcodes({}) + opcodes({}) + b".", {}), "ends with 2 values on its stack, wanted 1")
    refuses(zip_file(b"\x80\x02](.", {}), "ends with 0 values on its stack, wanted 1")
    refuses(zip_file(b"\x80\x02](K\x00K\x01u.", {}), "it fills a list as if it were a dict")
    refuses(zip_file(b"\x80\x02)K\x00a.", {}), "it fills a tuple as if it were a list")
    refuses(zip_file(b"\x80\x02}(K\x00u.", {}), "damaged|shorter")
    refuses(zip_file(b"\x80\x02a.", {}), "IndexError")


def test_no_module_is_imported(refuses):
    for module in ("antigravity", "this"):
        refuses(zip_file(Call(Named(module, "x"), ()), {}), f"it names {module}.x")
        assert module not in sys.modules


def test_names_are_called_only_where_something_stands_in_for_them(refuses):
    refuses(zip_file(Call(Named("torch", "FloatStorage"), (3,)), {}), "it calls torch.FloatStorage")
    refuses(zip_file(b"\x80\x02" + opcodes("eval") + b")R.", {}), "it calls a str")
    refuses(zip_file(b"\x80\x02" + opcodes(Named("torch", "Size")) + b"]R.", {}), "it calls torch.Size")
    refuses(zip_file(b"\x80\x02](K\x01K\x02e" + opcodes("x") + b"\x93.", {}), r"it names list\.x")


def test_little_pickles_that_claim_much(refuses):
    """Bombs: indices of the memo, lengths, nested and shared tuples as keys. None may take memory or time, or crash.

    The first, the fourth and the fifth are more than the standard library's Unpickler survives: see nn/io/unpickle.py.
    """
    refuses(zip_file(b"\x80\x02]r\xff\xff\xff\xffh\x00.", {}), "KeyError")
    refuses(zip_file(b"\x80\x02B" + struct.pack("<I", 0xFFFFFFF0) + b"x.", {}), "expected 4294967280 bytes")
    refuses(zip_file(b"\x80\x02\x8e" + struct.pack("<Q", 1 << 62) + b"x.", {}), "expected")
    refuses(zip_file(b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.", {}), "a tuple for a key")
    refuses(zip_file(b"\x80\x02})" + b"q\x00h\x00\x86" * 200 + b"K\x01s.", {}), "a tuple for a key")
    doubled = b"\x80\x02]" + b"q\x00h\x00\x86" * 5000 + b"."  # prints as 2**5000 brackets
    refuses(zip_file(doubled, {}), "a value of type tuple")
    refuses(zip_file(b"\x80\x02}" + opcodes("x") + doubled[2:-1] + b"s.", {}), "its entry x is of type tuple")
    refuses(zip_file(doubled[:-1] + opcodes("x") + b"\x93.", {}), r"it names tuple\.x")


def test_values_that_share_others_many_times_over_are_not_compared(refuses):
    """Two equal tuples that are each 2**150 brackets, for the keys of storages and for a key of one."""
    deep = b")" + b"q\x00h\x00\x86" * 150
    keys = b"](" + deep + deep + b"e"
    value = {"x": tensor(storage("0"), (6,), (1,)), "y": tensor(storage("1"), (6,), (1,))}
    data = legacy_file(value, {"0": (6, RAW), "1": (6, RAW)}, keys=keys)
    refuses(data, "its list of storages does not name those of its tensors")
    for where in (0, 1, 2, 3, 4):
        identifier = ["storage", Named("torch", "FloatStorage"), "0", "cpu", 6]
        identifier[where] = deep
        found = {"x": tensor(Stored(tuple(identifier)), (6,), (1,))}
        if where != 3:  # the device is not looked at
            refuses(both(found)[0], "no storage|without a type, key and length")
    refuses(both({"x": tensor(storage("0"), (6,), (deep,))})[0], "not integers from 0 on")


def test_nothing_is_recursive_about_a_list_that_holds_itself_and_about_deep_lists(refuses):
    refuses(zip_file(b"\x80\x02]q\x00h\x00a.", {}), "it holds a value of type list")
    refuses(zip_file(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".", {}), "it holds a value of type list")


def test_a_pickle_that_is_too_long_for_weights(refuses, monkeypatch):
    monkeypatch.setattr(unpickle, "LONGEST", 1000)
    value = {f"x{i}": tensor(storage("0"), (6,), (1,)) for i in range(20)}
    for data in both(value):
        refuses(data, "it holds a pickle of more than 1000 bytes")


def test_tensors_stay_inside_their_storage(refuses, read):
    huge = tensor(storage("0"), (1 << 40,), (0,))
    assert read(both({"x": huge})[0])["x"].shape == (1 << 40,)  # a view of one number: as cheap as in PyTorch
    for size, strides, offset in (
        ((7,), (1,), 0),
        ((6,), (1,), 1),
        ((2, 3), (4, 1), 0),
        ((1,), (1,), 6),
        ((2,), (1 << 62,), 0),
        ((1 << 40, 1 << 40), (0, 0), 0),
        ((), (), 6),
    ):
        for data in both({"x": tensor(storage("0"), size, strides, offset)}):
            refuses(data, "")


@pytest.mark.parametrize(
    "value, message",
    [
        ({"x": tensor(storage("0"), (-6,), (1,))}, "not integers from 0 on"),
        ({"x": tensor(storage("0"), (6,), (-1,))}, "not integers from 0 on"),
        ({"x": tensor(storage("0"), (6,), (True,))}, "not integers from 0 on"),
        ({"x": tensor(storage("0"), (6,), ("1",))}, "not integers from 0 on"),
        ({"x": tensor(storage("0"), (6,), (1,), 1 << 70)}, "not integers from 0 on"),
        ({"x": tensor(storage("0"), (6, 1), (1,))}, "without storage, size and strides"),
        ({"x": tensor(5, (6,), (1,))}, "without storage, size and strides"),
        ({"x": tensor(storage("0", length=-1), (6,), (1,))}, "without a type, key and length"),
        ({"x": tensor(storage(0), (6,), (1,))}, "without a type, key and length"),
        ({"x": tensor(storage("0", "Size"), (6,), (1,))}, "without a type, key and length"),
        ({"x": tensor(Stored(("module", 1, 2)), (6,), (1,))}, "refers to something that is no storage"),
        ({"x": tensor(Stored("0"), (6,), (1,))}, "refers to something that is no storage"),
        (
            {"x": tensor(Stored(("file", Named("torch", "FloatStorage"), "0", "cpu", 6)), (6,), (1,))},
            "refers to something that is no storage",
        ),
        (Call(Named("collections", "OrderedDict"), ([[("a",), 1]],)), "not made of keys and values"),
        ({"x": Call(Named("torch._utils", "_rebuild_parameter"), (3,))}, "a parameter made of a int"),
        ({"x": Call(Named("torch._utils", "_rebuild_tensor_v2"), (3,))}, "TypeError: .*missing"),
        (Call(Named("collections", "OrderedDict"), (3,)), "OrderedDict that is not made of keys and values"),
        ({"x": storage("0")}, "its entry x is of type Storage, wanted tensors"),
        ([storage("0")], "it holds a value of type list"),
        ({3: tensor(storage("0"), (6,), (1,))}, "its entry of type int is of type Tensor, wanted tensors under their"),
    ],
)
def test_what_is_no_tensor_is_named(value, message, refuses):
    for data in both(value):
        refuses(data, message)


def test_a_tensor_to_be_conjugated(refuses):
    arguments = (storage("0"), 0, (6,), (1,), False, ordered({}), {"conj": True})
    refuses(both({"x": Call(Named("torch._utils", "_rebuild_tensor_v2"), arguments)})[0], "yet to be conjugated")


def test_zip_archives_of_another_kind(refuses):
    value, raw = {"x": tensor(storage("0"), (6,), (1,))}, SIX.tobytes()
    refuses(zip_file(value, {"0": raw}, compression=zipfile.ZIP_DEFLATED), "compressed, which torch.save never does")
    refuses(zip_file(value, {"0": raw}, byteorder="middle"), "byteorder is b'middle', wanted little or big")
    refuses(zip_file(value, {"0": raw[:-4]}), "its storage 0 has 20 bytes, wanted 6 elements of float32")
    refuses(zip_file(value, {"1": raw}), "KeyError: .*a/data/0")
    refuses(zip_file(value, {"0": raw}, **{"constants.pkl": b""}), "a TorchScript program, not weights")
    refuses(zip_file(value, {}, **{"b/data.pkl": b""}), "it must have one data.pkl, and no name twice")
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zip_file(value, {"0": raw}, **{"data/0": raw})
    refuses(twice, "it must have one data.pkl, and no name twice")


def test_legacy_files_of_another_kind(refuses):
    value, raw = {"x": tensor(storage("0"), (6,), (1,))}, SIX.tobytes()
    refuses(legacy_file(value, {"0": (6, raw)}, magic=7), "does not begin with the magic number")
    refuses(legacy_file(value, {"0": (6, raw)}, protocol=1000), "another protocol of torch.save than 1001")
    refuses(legacy_file(value, {"0": (5, raw)}), "its storage 0 should have 24 bytes from byte .* cut short")
    refuses(legacy_file(value, {"0": (6, raw)})[:-1], "its storage 0 should have 24 bytes from byte .* cut short")
    much = {"x": tensor(storage("0", length=1 << 50), (6,), (1,))}
    refuses(legacy_file(much, {"0": (1 << 50, raw)}), "should have 4503599627370496 bytes from byte .* cut short")
    refuses(legacy_file(value, {"0": (6, raw)}, keys=["1"]), "does not name those of its tensors")
    refuses(legacy_file(value, {"0": (6, raw)}, keys="0"), "does not name those of its tensors")
    other = value | {"y": tensor(storage("0", "LongStorage"), (6,), (1,))}
    refuses(legacy_file(other, {"0": (6, raw)}), "disagree about the storage they share")
    refuses(pickled(value), "it names torch._utils|no storage|not known")
    refuses(pickle.dumps({"x": 3}), "does not begin with the magic number")
    refuses(bytes(257) + b"ustar" + bytes(300), "the tar format of PyTorch before 0.1.10")
    refuses(b"", "pickle exhausted")
    refuses(b"hello", "")
