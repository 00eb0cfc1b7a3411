"""Draws on the CPU are NumPy's own; the library's generator, for layers that are given none."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nn
from nn.random import generator, normal, uniform

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_is_the_generators(dtype):
    here, there = np.random.default_rng(3), np.random.default_rng(3)
    for shape in ((3,), (2, 5), (), (0, 4)):
        drawn = uniform(there, shape, dtype)
        np.testing.assert_array_equal(drawn, here.random(shape, dtype))
        assert np.asarray(drawn).dtype == dtype
    assert here.bit_generator.state == there.bit_generator.state


def test_any_generator_will_do():
    drawn = uniform(np.random.Generator(np.random.Philox(key=1)), (3,), np.float64)
    np.testing.assert_array_equal(drawn, np.random.Generator(np.random.Philox(key=1)).random(3))


def test_normal_is_the_generators_in_float64():
    drawn = normal(np.random.default_rng(2), (3, 4), np.float32)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32))


LAYERS = {
    "Conv2d": lambda: nn.Conv2d(2, 3, 3),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(2, 3, 3),
    "DeformConv2d": lambda: nn.DeformConv2d(2, 3, 3),
    "Linear": lambda: nn.Linear(2, 3),
    "Embedding": lambda: nn.Embedding(4, 3),
    "AdditiveAttention": lambda: nn.AdditiveAttention(2, 3, 4),
    "SqueezeExcitation": lambda: nn.SqueezeExcitation(4, 2),
    "LSTMCell": lambda: nn.LSTMCell(2, 3),
    "GRU": lambda: nn.GRU(2, 3),
}


@pytest.mark.parametrize("build", LAYERS.values(), ids=LAYERS)
def test_layers_made_alike_differ_and_a_seed_repeats_them(build):
    made = []
    for n in (3, 3, 4):
        nn.seed(n)
        made.append([next(p.value for p in build().parameters().values()) for _ in range(2)])
    assert not np.array_equal(*made[0])
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])


@pytest.mark.parametrize(
    "build", [nn.Dropout, nn.Dropout2d, lambda: nn.DropPath(0.5), lambda: nn.LSTM(2, 3, 2, dropout=0.5)]
)
def test_a_dropout_has_a_generator_of_its_own(build):
    """Another one than its twin's, repeated by a seed; to draw from it moves on no other."""
    drawn = []
    for _ in range(2):
        nn.seed(3)
        twins = [build(), build()]
        first = [layer.rng.random() for layer in twins]
        drawn.append([*first, generator().random(), twins[0].rng.random()])
    assert drawn[0] == drawn[1] and len(set(drawn[0])) == 4


def test_given_generators_are_used_and_the_librarys_stays():
    nn.seed(0)
    before = generator().bit_generator.state
    layers = [nn.Conv2d(2, 3, 3, rng=np.random.default_rng(7)) for _ in range(2)]
    assert np.array_equal(*(layer.weight.value for layer in layers))
    rng = np.random.default_rng(8)
    assert nn.Dropout(rng=rng).rng is rng and nn.LSTM(2, 3, 2, dropout=0.5, rng=rng).rng is rng
    assert generator().bit_generator.state == before


def test_until_it_is_seeded_the_seed_is_0_and_np_random_is_not_loaded():
    code = (
        "import sys, nn; assert 'numpy.random' not in sys.modules; a = nn.Linear(2, 3); nn.seed(0); b = nn.Linear(2, 3)"
    )
    code += "; assert (a.weight.value == b.weight.value).all()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("n", [-1, "a"])
def test_a_bad_seed(n):
    with pytest.raises((ValueError, TypeError)):
        nn.seed(n)
    assert isinstance(generator(), np.random.Generator)
