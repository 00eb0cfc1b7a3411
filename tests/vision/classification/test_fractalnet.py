"""FractalNet: the fractal rule, drop-path of both kinds, each column as a network of its own, gradients."""

import numpy as np
import pytest

import vision
from nn import Adam, Sequential
from nn.gradcheck import check_contract
from scripts.gradcheck import check_tiny_model
from vision.classification.fractal_paths import all_paths, column_paths, local_paths, needed
from vision.classification.fractalnet import FractalBlock, FractalNet
from vision.classification.inside import class_activation
from vision.registry import find

CLASSES = ("one", "two", "three", "four")


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def block(columns=3, in_channels=2, out_channels=3):
    return FractalBlock(in_channels, out_channels, columns, rng=np.random.default_rng(0)).astype(np.float64)


def tiny(**options):
    small = {"columns": 3, "channels": [4, 3], "dropout": [0.0, 0.2]} | options
    return vision.build("fractalnet", CLASSES, np.random.default_rng(3), **small)


def recursive(columns, z):
    """The outputs to be joined of f_C by eq. 1: those of f_{C-1} after f_{C-1}, and conv(z).

    columns: the convolutions of each column, the shallowest first.
    """
    if not columns:
        return []
    (conv,), deeper = columns[0], columns[1:]
    if not deeper:
        return [conv(z)]
    halves = [[column[: len(column) // 2] for column in deeper], [column[len(column) // 2 :] for column in deeper]]
    middle = np.mean(recursive(halves[0], z), axis=0)
    return [conv(z), *recursive(halves[1], middle)]


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_the_fractal_rule(columns):
    made, x = block(columns), normal(2, 2, 5, 6)
    assert [len(column) for column in made.columns] == [2**c for c in range(columns)]
    np.testing.assert_allclose(made(x), np.mean(recursive(made.columns, x), axis=0), rtol=1e-12)


def test_a_column_is_a_plain_network():
    made, x = block(), normal(2, 2, 5, 6)
    for c, column in enumerate(made.columns):
        y = x
        for conv in column:
            y = conv(y)
        found, _ = made.forward(x, False, column_paths(3, c))
        np.testing.assert_allclose(found, y, rtol=1e-12)


def test_a_column_alone_has_running_statistics_of_its_own():
    made, x = block(), normal(4, 2, 5, 6)
    fresh = {name: array.copy() for name, array in made.state_dict().items()}

    def changed():
        return {".".join(n.split(".")[:2]) for n, a in made.state_dict().items() if not np.array_equal(a, fresh[n])}

    made.forward(x, True, column_paths(3, 1))
    assert changed() == {"alone.1"}
    made.forward(x, True)
    assert changed() == {"alone.1", "columns.0", "columns.1", "columns.2"}
    assert made.alone[1][0][0].weight is made.columns[1][0][0].weight


def test_paths_of_a_block():
    assert all_paths(3) == ((2,), (1, 2), (2,), (0, 1, 2))
    assert column_paths(3, 1) == ((), (1,), (), (1,))
    assert needed(3, [(2,), (1, 2), (2,), (0,)]) == ((), (), (), (0,))
    assert needed(3, [(2,), (1,), (2,), (0, 2)]) == ((), (1,), (2,), (0, 2))


def test_local_drop_path_keeps_one_input_of_each_join_and_drops_the_others_as_often_as_asked():
    rng, counts = np.random.default_rng(0), np.zeros(3)
    for _ in range(2000):
        last = local_paths(3, 0.3, rng)[-1]
        assert last
        counts[list(last)] += 1
    # kept 0.7, and one of three where all are dropped: 0.3^3 / 3
    np.testing.assert_allclose(counts / 2000, 0.7 + 0.027 / 3, atol=0.03)
    assert local_paths(3, 0.0, rng) == all_paths(3)


def test_half_of_the_batches_take_one_column_of_all_blocks():
    model, rng = tiny(share_global=0.5), np.random.default_rng(0)
    drawn = [model.draw_paths(rng) for _ in range(400)]
    alone = [column for paths in drawn for column in range(3) if set(paths) == {column_paths(3, column)}]
    assert 0.45 < len(alone) / 400 < 0.65  # a local draw may be a column by chance
    assert min(alone.count(column) for column in range(3)) > 40
    assert len(set(drawn)) > 50
    assert tiny(drop_path=0.0).draw_paths(rng) == (all_paths(3),) * 2


def test_fractalnet_20_has_20_layers_in_its_deepest_column():
    backbone = FractalNet((2, 3, 4, 5, 6), 3, (0.0, 0.1, 0.2, 0.3, 0.4), rng=np.random.default_rng(0))
    assert sum(len(part[0].columns[-1]) for part in (backbone.parts[f"block{i}"][-1:] for i in range(1, 6))) == 20
    maps, _ = backbone.forward_stages(np.zeros((1, 3, 32, 32), np.float32), training=False)
    assert [m.shape[1:] for m in maps] == [(2, 32, 32), (3, 16, 16), (4, 8, 8), (5, 4, 4), (6, 2, 2), (6, 1, 1)]
    assert [layer.p for layer in backbone.body if hasattr(layer, "p")] == [0.0, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("complex_step", [False, True])
def test_every_gradient_of_the_tiny_model(complex_step):
    check_tiny_model("fractalnet", find("fractalnet").tiny, complex_step)


def test_one_column_has_the_gradients_of_a_plain_network_and_the_others_none():
    made, x, dy = block(), normal(4, 2, 5, 6), normal(4, 3, 5, 6, seed=2)
    _, cache = made.forward(x, True, column_paths(3, 1))
    dx = made.backward(dy, cache)
    found = {name: p.grad.copy() for name, p in made.parameters().items()}
    assert {name.split(".")[1] for name, grad in found.items() if grad.any()} == {"1"}
    made.zero_grad()
    plain = Sequential(*made.columns[1])
    _, cache = plain.forward(x)
    np.testing.assert_allclose(dx, plain.backward(dy, cache), rtol=1e-10)
    for name, parameter in made.parameters().items():
        np.testing.assert_allclose(found[name], parameter.grad, rtol=1e-10, err_msg=name)


def test_contract():
    check_contract(block(), (normal(2, 2, 5, 6),), (normal(3, 2, 4, 3),))
    network = FractalNet((3, 4), 2, (0.0, 0.2), rng=np.random.default_rng(0))
    check_contract(network, (normal(2, 3, 8, 12),), (normal(3, 3, 4, 8),))


def test_it_can_be_transferred_and_shows_where_it_looks():
    small = {"network": "fractalnet", "network_options": ["channels=[4,3]", "dropout=[0,0]"], "short_side": 32}
    model = vision.build("transfer", CLASSES, np.random.default_rng(0), **small)
    assert model.network.backbone.names == ("block1", "block2", "pool")
    assert class_activation(tiny().network, normal(2, 3, 8, 12).astype(np.float32), [0, 1]).shape == (2, 2, 3)


def gratings(n, seed):
    """Stripes of four directions under noise of about their own size: images (N, 3, 12, 12) and labels (N,)."""
    rng, (r, c) = np.random.default_rng(seed), np.mgrid[:12, :12]
    labels, phase = rng.integers(0, 4, n), rng.uniform(0, 2 * np.pi, (n, 1, 1))
    angle = (labels * np.pi / 4)[:, None, None]
    stripes = np.sin(1.2 * (np.cos(angle) * r + np.sin(angle) * c) + phase)
    return (stripes[:, None] + 1.2 * rng.standard_normal((n, 3, 12, 12))).astype(np.float32), labels


def test_each_column_of_a_trained_network_is_right_alone():
    """Sec. 4.3: with drop-path every column is a network of its own. Measured here: all four are right every time."""
    model = tiny(channels=[8, 8], dropout=[0.0, 0.0])
    optimiser, rng = Adam(model.parameters(), lr=0.01), np.random.default_rng(1)
    for step in range(80):
        model.zero_grad()
        _, cache = model.loss(gratings(32, 100 + step), rng)
        model.backward(cache)
        optimiser.step()
    images, labels = gratings(200, 1)
    for column in (None, 0, 1, 2):
        alone = vision.build(**model.config | {"column": column})
        alone.load_state_dict(model.state_dict())
        assert (alone.predict(images).argmax(axis=1) == labels).mean() > 0.95, column


@pytest.mark.parametrize(
    "options, message",
    [
        ({"column": 3}, r"fractalnet: column must be in 0 \.\. 2, got 3"),
        ({"dropout": [0.1]}, "FractalNet: dropout must have a value for each of 2 blocks"),
        ({"channels": []}, "FractalNet: channels must be a whole number >= 1, got 0"),
        ({"columns": 0}, "FractalBlock: columns must be a whole number >= 1, got 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)
