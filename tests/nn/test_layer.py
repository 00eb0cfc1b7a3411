"""Layer: what it finds by name, its state, and the checks of shapes and constructor arguments that all layers share."""

import numpy as np
import pytest

from nn import (
    LSTM,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Layer,
    Linear,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    check_shape,
    l2,
    softmax_cross_entropy,
    summary,
)
from nn.gradcheck import check_layer
from nn.layer import pair, positive


class Block(Layer):
    """A bit of everything that a model may hold."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.scale = Parameter(rng.normal(size=2).astype(np.float32))
        self.stem = Sequential(Linear(3, 4, rng=rng), ReLU(), Dropout(0.3))
        self.heads = [Linear(4, 2, rng=rng), Linear(4, 1, bias=False, rng=rng)]
        self.norms = (BatchNorm2d(5),)
        self.shift = Parameter(rng.normal(size=(1, 2)).astype(np.float32), trainable=False)
        self.name, self.nothing, self.number, self.array = "block", None, 3, np.zeros(3)


class Tied(Layer):
    """One parameter under two names, and one layer under two."""

    def __init__(self):
        self.a, self.b = Linear(3, 3), Linear(3, 3)
        self.b.weight = self.a.weight
        self.c = self.a


PARAMETERS = [
    "scale", "shift", "stem.0.weight", "stem.0.bias", "heads.0.weight", "heads.0.bias", "heads.1.weight",
    "norms.0.weight", "norms.0.bias",
]  # fmt: skip
BUFFERS = ["norms.0.running_mean", "norms.0.running_var", "norms.0.num_batches_tracked"]


def test_parameters_by_dotted_name_in_order_of_definition():
    block = Block()
    found = block.parameters()
    assert list(found) == PARAMETERS
    assert found["heads.1.weight"] is block.heads[1].weight and found["stem.0.bias"] is block.stem[0].bias
    assert [name for name, parameter in found.items() if not parameter.trainable] == ["shift"]


def test_layers_and_children():
    names = ["", "stem", "stem.0", "stem.1", "stem.2", "heads.0", "heads.1", "norms.0"]
    assert [name for name, _ in Block().layers()] == names
    assert [name for name, _ in Block().children()] == ["stem", "heads.0", "heads.1", "norms.0"]
    assert [name for name, _ in Block().layers("model")][:3] == ["model", "model.stem", "model.stem.0"]
    assert list(Block().generators()) == ["stem.2.rng"]


class Nested(Layer):
    """Layers and parameters in nested lists and dicts."""

    def __init__(self):
        self.heads = {"boxes": Linear(2, 3, bias=False), "more": [[ReLU(), Linear(3, 1)], (Dropout(0.5),)]}
        self.stages = [("one", Linear(1, 2, bias=False))]
        self.scales = [Parameter(np.ones(2, np.float32)), {"last": Parameter(np.ones(3, np.float32))}]
        self.words = {"a": 1, 2: ["b", np.zeros(3)]}


def test_layers_and_parameters_in_nested_lists_and_dicts():
    names = ["heads.boxes", "heads.more.0.0", "heads.more.0.1", "heads.more.1.0", "stages.0.1"]
    nested = Nested()
    assert [name for name, _ in nested.children()] == names
    assert [name for name, _ in nested.layers()] == ["", *names]
    assert set(nested.parameters()) == {
        "heads.boxes.weight", "heads.more.0.1.weight", "heads.more.0.1.bias", "stages.0.1.weight", "scales.0",
        "scales.1.last",
    }  # fmt: skip
    assert set(nested.state_dict()) == set(nested.parameters()) and list(nested.generators()) == ["heads.more.1.0.rng"]
    nested.astype(np.float64)
    assert {p.value.dtype.name for p in nested.parameters().values()} == {"float64"}


def test_repr_is_the_tree_with_the_arguments():
    model = Sequential(
        Conv2d(3, 8, 3, padding=1), BatchNorm2d(8), ReLU(), Residual(Linear(4, 4, bias=False)), LSTM(3, 4, num_layers=2)
    )
    assert (
        repr(model)
        == """\
Sequential(
  (0): Conv2d(3, 8, kernel_size=(3, 3), padding=(1, 1))
  (1): BatchNorm2d(8)
  (2): ReLU()
  (3): Residual(
    (body): Linear(4, 4, bias=False)
  )
  (4): LSTM(3, 4, num_layers=2)
)"""
    )


def test_repr_of_layers_of_ones_own():
    class Own(Layer):
        def __init__(self, width, names, table, depth=2, mode="same", *rest, scale=1.0, rng=None, **others):
            self.width, self.names, self.table, self.depth, self.scale = width, names, table, depth, scale
            self.mode, self.child = mode, ReLU()

    own = Own(3, ("a", "b"), np.zeros(5), mode="valid")
    assert repr(own) == "Own(\n  3, names=('a', 'b'), mode='valid'\n  (child): ReLU()\n)"
    assert repr(Layer()) == "Layer()"


@pytest.mark.parametrize(
    "result, got", [(np.zeros((2, 3)), "ndarray"), (None, "NoneType"), ((1, 2, 3), "a tuple of 3")]
)
def test_a_forward_without_a_cache(result, got):
    class Bare(Layer):
        def forward(self, x, training=True):
            return result

    x, message = np.zeros((2, 3)), rf"^Bare: forward must return \(y, cache\), got {got}$"
    for use in (
        Bare(),
        Sequential(Bare()).forward,
        lambda x: check_layer(Bare(), x),
        lambda x: summary(Bare(), x.shape),
    ):
        with pytest.raises(TypeError, match=message):
            use(x)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.int32, bool])
def test_dtypes_that_layers_and_losses_do_not_take(dtype):
    x, labels = np.zeros((2, 3), dtype), np.zeros(2, int)
    got = np.dtype(dtype).name
    for use in (Linear(3, 4), lambda x: softmax_cross_entropy(x, labels), lambda x: l2(x, x)):
        with pytest.raises(
            TypeError, match=rf"must be an array of floats, got {got}: convert with x.astype\(np.float32"
        ):
            use(x)


def test_a_tied_parameter_stands_under_each_of_its_names():
    found = Tied().parameters()
    assert list(found) == ["a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias"]
    assert found["a.weight"] is found["b.weight"] is found["c.weight"] and found["a.bias"] is not found["b.bias"]


def test_zero_grad_in_place():
    block = Block()
    grads = {name: parameter.grad for name, parameter in block.parameters().items()}
    for grad in grads.values():
        grad += 1
    block.zero_grad()
    assert all(parameter.grad is grads[name] for name, parameter in block.parameters().items())
    assert not any(grad.any() for grad in grads.values())


def test_parameter():
    parameter = Parameter(np.ones((2, 3), np.float32))
    assert parameter.grad.shape == (2, 3) and parameter.grad.dtype == np.float32 and not parameter.grad.any()
    assert parameter.trainable and repr(parameter) == "Parameter(2, 3)"
    assert repr(Parameter(np.ones(2), trainable=False)) == "Parameter(2,) frozen"


def test_astype():
    block = Block()
    assert block.astype(np.float64) is block
    types = {name: array.dtype for name, array in block.state_dict().items()}
    assert types.pop("norms.0.num_batches_tracked") == np.int64 and set(types.values()) == {np.dtype(np.float64)}
    assert {parameter.grad.dtype for parameter in block.parameters().values()} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(block.stem[0].weight.value, Block().stem[0].weight.value)
    tied = Tied().astype(np.float64)
    assert tied.a.weight is tied.b.weight and tied.a.weight.value.dtype == np.float64


def test_state_dict_holds_parameters_and_buffers_themselves():
    block = Block()
    state = block.state_dict()
    assert list(state) == PARAMETERS + BUFFERS
    assert state["scale"] is block.scale.value and state["norms.0.running_var"] is block.norms[0].running_var


def test_load_state_dict_copies_into_the_same_arrays_and_keeps_the_dtype():
    source, target = Block(1).astype(np.float64), Block(2)
    source.norms[0].running_mean[...] = 7
    source.norms[0].num_batches_tracked += 3
    before = target.state_dict()
    assert target.load_state_dict(source.state_dict()) == []
    for name, array in target.state_dict().items():
        assert array is before[name] and not np.shares_memory(array, source.state_dict()[name])
        assert array.dtype == (np.int64 if name.endswith("tracked") else np.float32)
        np.testing.assert_allclose(array, source.state_dict()[name], rtol=1e-6)


def test_strict_names_every_problem_and_loads_nothing():
    target = Block(2)
    before = {name: array.copy() for name, array in target.state_dict().items()}
    state = Block(1).state_dict()
    state["extra"] = np.zeros(2)
    state["heads.0.weight"] = np.zeros((2, 5))
    del state["scale"], state["norms.0.running_mean"]
    problems = [
        "missing scale",
        "missing norms.0.running_mean",
        "unexpected extra",
        "heads.0.weight has shape (2, 5), wanted (2, 4)",
    ]
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole message is compared)
        target.load_state_dict(state)
    assert str(error.value) == "Block: the state does not fit this layer: " + "; ".join(problems)
    assert all(np.array_equal(array, before[name]) for name, array in target.state_dict().items())

    assert target.load_state_dict(state, strict=False) == problems
    unchanged = [name for name, array in target.state_dict().items() if np.array_equal(array, before[name])]
    equal_in_both = ["stem.0.bias", "heads.0.bias", "norms.0.weight", "norms.0.bias", *BUFFERS]
    assert set(unchanged) == {"scale", "heads.0.weight", *equal_in_both}


def test_a_long_list_of_problems_is_cut():
    with pytest.raises(ValueError, match=r"^Block: .*: missing scale; (missing \S+; ){4}and 8 more$"):
        Block().load_state_dict({"weight": np.zeros(3)})
    state = Block().state_dict()
    for name in PARAMETERS[:4]:
        del state[name]
    with pytest.raises(ValueError, match="; unexpected weight$"):
        Block().load_state_dict(state | {"weight": np.zeros(3)})  # five are shown in full
    with pytest.raises(ValueError, match="; unexpected weight; and 1 more$"):
        Block().load_state_dict(state | {"weight": np.zeros(3), "bias": np.zeros(3)})


def test_calling_a_layer_is_inference():
    block = Sequential(Dropout(0.5), BatchNorm2d(2))
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 5))
    np.testing.assert_allclose(block(x), x / np.sqrt(1 + 1e-5))
    assert not block[1].running_mean.any()


def test_calling_a_layer_hands_on_all_inputs_and_outputs():
    class Two(Layer):
        def forward(self, x, z, training=True):
            return (x + z, x - z, training), "cache"

    assert Two()(5, 3) == (8, 2, False)


def test_a_layer_without_forward_or_backward():
    with pytest.raises(NotImplementedError, match="^Layer has no forward$"):
        Layer()(1)
    with pytest.raises(NotImplementedError, match="^Layer has no backward$"):
        Layer().backward(1, None)


def array(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def test_check_shape_accepts():
    check_shape("f", x=(array(2, 64, 5, 6), ("N", 64, "H", "W")), dy=(array(2, 6), ("N", "W")), z=(array(), ()))
    check_shape("f", x=(array(3, 3), ("N", "N")), y=(array(0, 7), (None, None)), z=(array(2, dtype=complex), (2,)))


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"x": (array(8, 3, 32, 32), ("N", 64, "H", "W"))}, r"x must have shape \(N, 64, H, W\), got \(8, 3, 32, 32\)"),
        ({"x": (array(8, 64), ("N", 64, "H", "W"))}, r"x must have shape \(N, 64, H, W\), got \(8, 64\)"),
        ({"x": (array(2, 3), ("N", "N"))}, r"x must have shape \(N, N\), got \(2, 3\)"),
        ({"x": (array(2, 3), (None, 4))}, r"x must have shape \(None, 4\), got \(2, 3\)"),
        (
            {"x": (array(2, 3), ("N", "C")), "dy": (array(4, 3), ("N", "C"))},
            r"dy must have shape \(N=2, C=3\), got \(4, 3\)",
        ),
        (
            {"x": (array(2, 3), ("N", "C")), "boxes": (array(2, 3), ("K", 4))},
            r"boxes must have shape \(K, 4\), got \(2, 3\)",
        ),
    ],
)
def test_check_shape_says_what_was_wanted(arrays, message):
    with pytest.raises(ValueError, match=f"^f: {message}$"):
        check_shape("f", **arrays)
    with pytest.raises(ValueError, match=f"^ReLU: {message}$"):
        check_shape(ReLU(), **arrays)


@pytest.mark.parametrize(
    "x, got", [([1.0], "list"), (array(2, dtype=np.uint8), "uint8"), (array(2, dtype=bool), "bool")]
)
def test_check_shape_wants_arrays_of_floats(x, got):
    message = rf"^f: x must be an array of floats, got {got}: convert with x.astype\(np.float32\)$"
    with pytest.raises(TypeError, match=message):
        check_shape("f", x=(x, (2,)))


def test_pair_and_positive():
    assert pair("", "stride", 2, 1) == (2, 2) and pair("", "stride", [np.int64(2), 3], 1) == (2, 3)
    assert pair("", "padding", (0, 1), 0) == (0, 1) and type(pair("", "stride", np.int64(2), 1)[0]) is int
    positive("", a=1, b=np.int32(7))
    for bad in (True, 1.0, "1", None, (1,), (1, 2, 3), (1, 0), (1, True)):
        with pytest.raises(ValueError, match="^ReLU: stride must be a whole number >= 1 or a pair of them, got "):
            pair(ReLU(), "stride", bad, 1)
    for bad in (0, True, 1.5, "3", None):
        with pytest.raises(ValueError, match=f"^ReLU: n must be a whole number >= 1, got {bad!r}$"):
            positive(ReLU(), n=bad)
