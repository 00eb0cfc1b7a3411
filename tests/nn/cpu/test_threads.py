"""The number of threads changes no bit: large arrays through the layers, in processes of 1 and of 3 threads."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nn

ROOT = Path(__file__).resolve().parents[3]


def cases():
    """(name, layer, inputs): the fast paths of the library, each in many pieces."""
    rng = np.random.default_rng(90)
    boxes = np.sort(rng.uniform(0, 500, (40, 2, 2)), axis=1).reshape(40, 4).astype(np.float32)
    image_index = np.arange(40) % 2

    def floats(*shape):
        return rng.standard_normal(shape, np.float32)

    yield "winograd", nn.Conv2d(64, 48, 3, padding=1), [floats(5, 64, 30, 31)]
    yield "winograd, dilated", nn.Conv2d(48, 64, 3, padding=2, dilation=2), [floats(3, 48, 32, 32)]
    yield "winograd, large weights", nn.Conv2d(256, 256, 3, padding=1), [floats(9, 256, 8, 8)]
    yield "tiled", nn.Conv2d(16, 24, 3, stride=2, padding=1), [floats(40, 16, 33, 40)]
    yield "tiled, thin", nn.Conv2d(3, 16, 5), [floats(9, 3, 90, 80)]
    yield "depthwise", nn.Conv2d(90, 90, 3, padding=1, groups=90), [floats(3, 90, 40, 40)]
    yield "transposed", nn.ConvTranspose2d(20, 10, 4, stride=2, padding=1), [floats(20, 20, 24, 24)]
    yield "max pooling", nn.MaxPool2d(3, 2, 1), [floats(9, 32, 60, 60)]
    yield "batch normalisation", nn.BatchNorm2d(24), [floats(30, 24, 32, 32)]
    yield "RoIPool", nn.RoIPool(7, 1 / 16), [floats(2, 64, 32, 32), boxes, image_index]
    yield "RoIAlign", nn.RoIAlign(7, 1 / 16, sampling_ratio=2), [floats(2, 64, 32, 32), boxes, image_index]
    yield "bilinear", nn.Upsample2d(scale_factor=2, mode="bilinear"), [floats(4, 24, 60, 60)]
    yield "deformable", nn.DeformConv2d(16, 16, 3, padding=1), [floats(2, 16, 40, 40), floats(2, 18, 40, 40)]
    yield "linear", nn.Linear(700, 900), [floats(900, 700)]
    yield "LSTM", nn.LSTM(100, 300), [floats(9, 50, 100)]
    yield "GRU", nn.GRU(100, 300), [floats(9, 50, 100)]


def fingerprints():
    """For each case the bits of output and gradients, as text."""
    lines = []
    for name, layer, inputs in cases():
        y, cache = layer.forward(*inputs)
        first = y[0] if isinstance(y, tuple) else y
        dy = np.random.default_rng(91).standard_normal(first.shape, np.float32)
        dx = layer.backward((dy, *[None] * (len(y) - 1)) if isinstance(y, tuple) else dy, cache)
        dx = dx if isinstance(dx, tuple) else (dx,)
        arrays = [first, *(d for d in dx if d is not None), *(p.grad for p in layer.parameters().values())]
        lines.append(f"{name}: {[hash(np.ascontiguousarray(a).tobytes()) for a in arrays]}")
    return "\n".join(lines)


def in_a_process(threads):
    code = f"import runpy; print(runpy.run_path({str(Path(__file__))!r})['fingerprints']())"
    environment = os.environ | {"NN_THREADS": str(threads), "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_number_of_threads_changes_no_bit():
    alone, shared = in_a_process(1).splitlines(), in_a_process(3).splitlines()
    assert len(alone) == 16
    assert [a for a, b in zip(alone, shared, strict=True) if a != b] == []


PRODUCTS = """
import hashlib, sys
import numpy as np
import nn
if sys.argv[1] == "after a convolution":
    nn.Conv2d(8, 8, 3)(np.ones((4, 8, 40, 40), np.float32))
nn.config.plain = sys.argv[2] == "plain"
rng = np.random.default_rng(0)
# First some that differ with BLAS's threads (OpenBLAS on x86), before anything that has threads of its own.
for n, i, o in ((60, 1000, 33), (30, 513, 129), (40, 784, 60), (5, 2000, 200), (33, 1500, 40)):
    y = nn.Linear(i, o, rng=rng)(rng.standard_normal((n, i), np.float32))
    print("forward", n, i, o, hashlib.sha256(y.tobytes()).hexdigest())
for n in (1, 3, 17, 64, 200):
    for i, o in ((7, 5), (64, 64), (100, 300), (513, 129), (1000, 33), (2048, 10), (300, 1200), (31, 2000)):
        layer, x = nn.Linear(i, o, rng=rng), rng.standard_normal((n, i), np.float32)
        y, cache = layer.forward(x)
        dx = layer.backward(y, cache)
        digest = hashlib.sha256(b"".join(a.tobytes() for a in (y, dx, layer.weight.grad))).hexdigest()
        print(n, i, o, digest)
layer, x = nn.LSTM(40, 60, rng=rng), rng.standard_normal((6, 9, 40), np.float32)
print("LSTM", hashlib.sha256(layer(x)[0].tobytes()).hexdigest())
print("orthogonal", hashlib.sha256(nn.orthogonal((300, 200), rng).tobytes()).hexdigest())
"""


def products(first, version, threads, blas):
    environment = os.environ | {"NN_THREADS": threads, "OPENBLAS_NUM_THREADS": blas, "MKL_NUM_THREADS": blas}
    environment |= {"OMP_NUM_THREADS": blas, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PRODUCTS, first, version]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("version", ["fast", "plain"])
def test_products_depend_neither_on_threads_nor_on_what_ran_before(version):
    alone = products("alone", version, "1", "1")
    assert len(alone) == 47
    for first in ("alone", "after a convolution"):
        for threads, blas in (("2", "2"), ("2", "4"), ("1", "2")):
            other = products(first, version, threads, blas)
            assert [a for a, b in zip(alone, other, strict=True) if a != b] == [], (first, threads, blas)


RESUMED = """
import hashlib, sys
import numpy as np
import nn
path, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
model = nn.Sequential(nn.Linear(784, 60, rng=rng), nn.ReLU(), nn.Linear(60, 10, rng=rng))
if first:
    model.load_state_dict(dict(np.load(path)))
optimiser = nn.SGD(model.parameters(), 0.1)
for step in range(first, last):
    draw = np.random.default_rng([1, step])
    model.zero_grad()
    logits, cache = model.forward(draw.standard_normal((40, 784), np.float32))
    model.backward(nn.softmax_cross_entropy(logits, draw.integers(0, 10, 40))[1], cache)
    nn.Conv2d(8, 8, 3, rng=rng)(np.ones((4, 8, 40, 40), np.float32))  # as in a model with a convolution behind it
    optimiser.step()
np.savez(path, **model.state_dict())
print(hashlib.sha256(b"".join(a.tobytes() for a in model.state_dict().values())).hexdigest())
"""


def test_a_model_that_begins_with_a_linear_resumes_with_the_same_bits_in_a_new_process(tmp_path):
    """BLAS had its threads until the first layer with threads of its own ran: here in the first step only."""

    def steps(name, first, last):
        environment = os.environ | {"NN_THREADS": "2", "PYTHONPATH": str(ROOT)}
        environment |= {"OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
        command = [sys.executable, "-c", RESUMED, str(tmp_path / name), str(first), str(last)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    whole = steps("whole.npz", 0, 4)
    steps("parts.npz", 0, 2)
    assert steps("parts.npz", 2, 4) == whole
