"""nn.record: what it notes of each call, and that it leaves everything as it was."""

from contextlib import nullcontext

import numpy as np
import pytest

import nn
from nn import Concat, Conv2d, Dropout, Flatten, Layer, Linear, LSTMCell, ReLU, Residual, RNNCell, Sequential
from nn.record import arrays_in, rewind

METHODS = {"forward", "backward", "backward_parameters"}


def kinds(passes):
    """(depth, name, class) of each."""
    return [(p.depth, p.name, type(p.layer).__name__) for p in passes]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def untouched(model):
    return not any(METHODS & vars(layer).keys() for _, layer in model.layers())


def test_containers_are_nested_and_in_the_order_of_the_calls():
    body = Sequential(Linear(4, 4), ReLU())
    model = Sequential(Residual(body, Linear(4, 4)), Concat(Linear(4, 2), ReLU())).astype(float)
    x, dy = draw(3, 4), draw(3, 6, seed=1)
    with nn.record(model) as passes:
        y, cache = model.forward(x)
        dx = model.backward(dy, cache)
    assert kinds(passes) == [
        (0, "", "Sequential"),
        (1, "0", "Residual"),
        (2, "0.body", "Sequential"), (3, "0.body.0", "Linear"), (3, "0.body.1", "ReLU"),
        (2, "0.shortcut", "Linear"),
        (1, "1", "Concat"), (2, "1.0", "Linear"), (2, "1.1", "ReLU"),
    ]  # fmt: skip
    whole, residual, body, first, relu, shortcut, concat, *_ = passes
    assert whole.y is y and whole.dx is dx and whole.dy is dy and whole.cache is cache
    assert first.inputs["x"] is x and relu.inputs["x"] is first.y and concat.inputs["x"] is residual.y
    assert relu.dx is first.dy and shortcut.dy is residual.dy
    backwards = sorted(passes, key=lambda p: p.backward_order)
    assert backwards[0] is whole and backwards[1] is concat
    assert backwards.index(relu) < backwards.index(first) < backwards.index(shortcut)
    np.testing.assert_array_equal(residual.dx, first.dx + shortcut.dx)
    assert all(p.seconds >= 0 and p.backward_seconds >= 0 for p in passes)
    assert whole.seconds >= residual.seconds >= body.seconds >= first.seconds > 0
    assert untouched(model)


def test_a_layer_called_several_times_has_a_pass_for_each_call():
    shared = Linear(4, 4).astype(float)
    model = Sequential(shared, ReLU(), shared)
    with nn.record(model) as passes:
        _, cache = model.forward(draw(2, 4))
        model.backward(draw(2, 4, seed=1), cache)
    assert [(p.name, p.call) for p in passes] == [("", 0), ("0", 0), ("1", 0), ("0", 1)]
    _, first, relu, second = passes
    assert second.inputs["x"] is relu.y and relu.dy is second.dx and first.dy is relu.dx


def test_calls_without_a_cache_of_their_own_are_told_apart_last_in_first_out():
    class Twice(Layer):
        def forward(self, x, training=True):
            return 2 * x, None

        def backward(self, dy, cache):
            return 2 * dy

    twice = Twice()
    with nn.record(Sequential(twice, twice, twice)) as passes:
        _, cache = Sequential(twice, twice, twice).forward(draw(2, 3))  # a container that is not the recorded one
        for c in reversed(cache):
            twice.backward(draw(2, 3), c)
    assert [p.backward_order for p in passes] == [2, 1, 0]


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell])
def test_a_recurrent_cell_over_time(kind):
    cell = kind(3, 4).astype(float)
    states, caches = [None] * len(kind.states), []
    with nn.record(cell) as passes:
        for t in range(5):
            state, cache = cell.forward(draw(2, 3, seed=t), *states)
            states = state if isinstance(state, tuple) else (state,)
            caches.append(cache)
        dstate = tuple(np.ones_like(h) for h in states)
        for cache in reversed(caches):
            _, *dstate = cell.backward(tuple(dstate) if len(dstate) > 1 else dstate[0], cache)
    assert [p.call for p in passes] == [*range(5)] and [p.backward_order for p in passes] == [4, 3, 2, 1, 0]
    assert list(passes[1].inputs) == ["x", *kind.states]
    earlier, later = passes[1:3]
    before = earlier.y[0] if isinstance(earlier.y, tuple) else earlier.y
    assert later.inputs["h"] is before
    assert (earlier.dy[0] if isinstance(earlier.dy, tuple) else earlier.dy) is later.dx[1]


def test_gradients_are_those_without_recording():
    def gradients(watch):
        nn.seed(0)
        model = Sequential(Conv2d(3, 4, 3), ReLU(), Dropout(0.5), Flatten(), Linear(4 * 36, 5))
        with watch(model):
            y, cache = model.forward(draw(2, 3, 8, 8).astype(np.float32))
            model.backward_parameters(np.ones_like(y), cache)
        return [p.grad for p in model.parameters().values()]

    plain = gradients(nullcontext)
    for watch in (nn.record, lambda model: nn.record(model, to_data=True)):
        for a, b in zip(plain, gradients(watch), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_gradient_of_the_data_is_there_on_demand_alone():
    model = Sequential(Linear(3, 4), ReLU(), Linear(4, 2)).astype(float)
    for to_data in (False, True):
        with nn.record(model, to_data=to_data) as passes:
            y, cache = model.forward(draw(2, 3))
            assert model.backward_parameters(np.ones_like(y), cache) is None
        assert (passes[1].dx is not None) == to_data
        assert passes[2].dx is passes[1].dy is not None


def test_a_layer_that_has_no_backward_but_for_its_parameters():
    class Lowest(Layer):
        def forward(self, x, training=True):
            return 2 * x, x

        def backward_parameters(self, dy, cache):
            self.seen = dy

    with nn.record(lowest := Lowest(), to_data=True) as passes:
        y, cache = lowest.forward(draw(2, 2))
        lowest.backward_parameters(y, cache)
    assert passes[0].dy is y is lowest.seen and passes[0].dx is None and passes[0].returned


def test_inputs_by_name_without_training():
    layer = Linear(3, 2)
    with nn.record(layer) as passes:
        layer(draw(1, 3))
        layer.forward(x=draw(1, 3), training=True)
    assert [list(p.inputs) for p in passes] == [["x"], ["x"]] and [p.training for p in passes] == [False, True]


def test_bytes_of_a_cache_count_each_array_once():
    class Keeps(Layer):
        def forward(self, x, training=True):
            return x, {"x": x, "again": (x[:, :1], [x.T]), "mask": x > 0, "size": 3}

    with nn.record(keeps := Keeps()) as passes:
        keeps.forward(np.zeros((5, 6)))
    assert passes[0].cache_bytes == 5 * 6 * 8 + 5 * 6
    assert len([*arrays_in(passes[0].cache)]) == 4


def test_a_second_backward_after_rewinding():
    model = Sequential(Linear(3, 4), ReLU()).astype(float)
    with nn.record(model) as passes:
        y, cache = model.forward(draw(2, 3))
        model.backward(np.ones_like(y), cache)
        once = passes[1].dx
        rewind(passes)
        assert all(p.dy is p.dx is None and not p.returned for p in passes)
        model.backward(2 * np.ones_like(y), cache)
    np.testing.assert_allclose(passes[1].dx, 2 * once)


def test_everything_is_as_before_after_an_error_and_the_pass_that_failed_is_seen():
    model = Sequential(ReLU(), Linear(3, 4), Linear(5, 6))
    with pytest.raises(ValueError, match="Linear: x must have shape"), nn.record(model) as passes:
        model.forward(draw(2, 3).astype(np.float32))
    assert untouched(model) and passes[-1].name == "2" and passes[-1].y is None and passes[-2].y is not None


def test_an_attribute_that_hid_the_method_before_is_put_back():
    layer, calls = ReLU(), []
    own = layer.forward

    def noted(x, training=True):
        calls.append(x)
        return own(x, training)

    layer.forward = noted
    with nn.record(layer) as outer, nn.record(layer) as inner:
        layer(draw(2, 2))
    assert layer.forward is noted and len(calls) == len(outer) == len(inner) == 1


def test_a_backward_whose_forward_was_not_recorded_is_refused():
    layer = ReLU()
    _, cache = layer.forward(draw(2, 2))
    with (
        pytest.raises(ValueError, match=r"ReLU.backward is called, but its forward was not recorded"),
        nn.record(layer),
    ):
        layer.backward(draw(2, 2), cache)


def test_what_is_no_pair_is_refused_by_name():
    class Wrong(Layer):
        def forward(self, x, training=True):
            return x

    with pytest.raises(TypeError, match=r"Wrong: forward must return \(y, cache\)"), nn.record(wrong := Wrong()):
        wrong.forward(draw(1, 1))
