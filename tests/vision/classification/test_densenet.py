"""DenseNet: parameters as published, three ways to store the same function, their memory, gradients."""

import tracemalloc

import numpy as np
import pytest

import vision
from nn.gradcheck import check_contract
from scripts.gradcheck import check_tiny_model
from vision.backbones.densenet import DenseBlock, DenseLayer, DenseNet
from vision.registry import find

MEMORY = "naive", "shared", "recomputed"
NAMES = "densenet121", "densenet40_cifar", "densenet_bc100_cifar"


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def block(memory, bottleneck=True, dropout=0.0):
    made = DenseBlock(3, 4, 2, bottleneck, dropout, memory, rng=np.random.default_rng(0))
    rng = np.random.default_rng(5)
    for name, parameter in made.parameters().items():
        if "norm" in name:
            parameter.value[...] = rng.uniform(0.5, 1.5, parameter.value.shape)
    return made.astype(np.float64)


@pytest.mark.parametrize(
    "name, classes, parameters", [(NAMES[0], 1000, 7_978_856), (NAMES[1], 10, 1_019_722), (NAMES[2], 10, 769_162)]
)
def test_parameters_as_published(name, classes, parameters):
    """Table 1 and 2 have 8.0, 1.0 and 0.8 million; 7,978,856 is torchvision's count."""
    model = vision.build(name, [str(i) for i in range(classes)])
    assert sum(p.value.size for p in model.parameters().values()) == parameters


def test_table_1():
    """DenseNet-121: stages of 64, 256, 128, 512, 256, 1024, 512 and 1024 channels at 56, 28, 14 and 7 pixels."""
    backbone = DenseNet((6, 12, 24, 16), 32, 64, rng=np.random.default_rng(0))
    assert list(backbone.channels.values()) == [64, 256, 128, 512, 256, 1024, 512, 1024]
    assert [224 // s for s in backbone.strides.values()] == [56, 56, 28, 28, 14, 14, 7, 7]
    maps, _ = backbone.forward_stages(np.zeros((1, 3, 64, 64), np.float32), training=False)
    assert [m.shape[1:] for m in maps] == [
        (c, 64 // s, 64 // s) for c, s in zip(backbone.channels.values(), backbone.strides.values())
    ]
    names = backbone.parameters().keys()
    wanted = {"conv0.weight", "norm0.bias", "denseblock3.denselayer24.conv2.weight", "transition1.conv.weight"}
    assert {f"features.{name}" for name in wanted | {"norm5.weight"}} <= names
    assert "features.transition4.conv.weight" not in names


def test_a_block_by_its_formula():
    """Eq. 2, layer by layer, with running statistics."""
    for memory in MEMORY:
        made, x = block(memory, bottleneck=False), normal(2, 4, 5, 6)
        p, features = made.state_dict(), normal(2, 4, 5, 6)
        for i in range(1, 4):
            weight, bias = (p[f"denselayer{i}.norm1.{n}"][:, None, None] for n in ("weight", "bias"))
            h = np.pad(np.maximum(features / np.sqrt(1 + 1e-5) * weight + bias, 0), ((0, 0), (0, 0), (1, 1), (1, 1)))
            kernel, new = p[f"denselayer{i}.conv1.weight"], np.zeros((2, 2, 5, 6))
            for r, c in np.ndindex(5, 6):
                new[:, :, r, c] = np.einsum("nkij,okij->no", h[:, :, r : r + 3, c : c + 3], kernel)
            features = np.concatenate([features, new], axis=1)
        np.testing.assert_allclose(made(x), features, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_three_ways_to_store_one_function(training):
    found = {}
    for memory in MEMORY:
        made, x, dy = block(memory, dropout=0.3), normal(3, 4, 5, 6), normal(3, 10, 5, 6, seed=2)
        y, cache = made.forward(x, training)
        dx = made.backward(dy, cache)
        found[memory] = [y, dx, *(p.grad for p in made.parameters().values()), *made.state_dict().values()]
    for memory in MEMORY[1:]:
        for one, other in zip(found["naive"], found[memory], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("memory", MEMORY)
def test_contract(memory):
    check_contract(block(memory, dropout=0.2), (normal(2, 4, 5, 6),), (normal(3, 4, 3, 4),))


def kept(memory):
    """Bytes that a forward pass of a block of twelve layers keeps for backward, beside its output."""
    made = DenseBlock(12, 16, 12, False, 0.0, memory, rng=np.random.default_rng(0))
    x = np.zeros((2, 16, 24, 24), np.float32)
    made.forward(x)
    tracemalloc.start()
    y, cache = made.forward(x)
    size = tracemalloc.get_traced_memory()[0] - y.nbytes
    tracemalloc.stop()
    assert cache
    return size / (2 * 24 * 24 * 4)  # in channels


def test_memory_of_the_three_ways(monkeypatch):
    """Naive: the inputs of 12 layers and as many outputs of ReLU; the first is x, the block's own argument.

    C + C + k + C + 2 k + ... = 12 C + 66 k channels, here 984; shared storage keeps them once, for ReLU; recomputed
    none of them. 12 layers also make 12 k new channels, which the naive way keeps in the concatenations only.
    """
    monkeypatch.setattr("nn.cpu.parallel._pool", lambda: None)  # a thread that starts late brings scratch memory
    inputs = 12 * 16 + 66 * 12
    naive, shared, recomputed = map(kept, MEMORY)
    assert naive == pytest.approx(2 * inputs - 16, rel=0.03)
    assert shared == pytest.approx(inputs, rel=0.03)
    assert recomputed < 0.02 * inputs


@pytest.mark.parametrize("complex_step", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_gradient_of_the_tiny_model(name, complex_step):
    """With dropout; each of the three has another way to store."""
    assert find(name).tiny.options.get("memory", "shared") == MEMORY[NAMES.index(name)]
    check_tiny_model(name, find(name).tiny, complex_step)


def test_a_layer_is_repeatable_and_its_statistics_move_once():
    layer = DenseLayer(4, 2, True, 0.0, rng=np.random.default_rng(0)).astype(np.float64)
    _, cache = layer.forward(normal(3, 4, 5, 6), keep=False)
    before = layer.norm1.running_mean.copy()
    layer.backward(normal(3, 2, 5, 6), cache)
    np.testing.assert_array_equal(layer.norm1.running_mean, before)
    assert layer.norm1.num_batches_tracked == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"blocks": [2, 0]}, "DenseNet: blocks must be a whole number >= 1, got 0"),
        ({"blocks": []}, "DenseNet: blocks must be a whole number >= 1, got 0"),
        ({"theta": 0.0}, "DenseNet: theta must be above 0 and at most 1, got 0"),
        ({"memory": "none"}, "densenet121: memory must be 'naive' or 'shared' or 'recomputed', got 'none'"),
        ({"growth": 0}, "DenseNet: growth must be a whole number >= 1, got 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        vision.build("densenet121", ["a", "b"], **options)


def test_other_channels_are_named():
    with pytest.raises(ValueError, match=r"DenseBlock: x must have shape \(N, 4, H, W\), got \(1, 3, 5, 5\)"):
        block("shared")(np.zeros((1, 3, 5, 5)))
