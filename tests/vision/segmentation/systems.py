"""Shared by the tests of the systems: small models, two images to overfit, weights that are not drawn."""

import numpy as np

import nn
import vision
from nn import Adam
from nn.gradcheck import check_model

CLASSES = ("ground", "disc", "square")


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def pooled(x):
    """The maximum of each 2 x 2 pixels of x (N, C, H, W); of fewer pixels at the end of an odd side."""
    n, c, h, w = x.shape
    x = np.pad(x, ((0, 0), (0, 0), (0, h % 2), (0, w % 2)), constant_values=-np.inf)
    return x.reshape(n, c, -(-h // 2), 2, -(-w // 2), 2).max(axis=(3, 5))


def small(name, **options):
    """A registered model for CLASSES with biases that are not 0, so that no ReLU is at its kink."""
    model = vision.build(name, CLASSES, np.random.default_rng(3), **options)
    rng = np.random.default_rng(4)
    for name, parameter in model.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.2 * rng.standard_normal(parameter.value.shape)
    return model


def check_gradients(model, size, n=1, kinds=((True, 1e-9), (False, 1e-6))):
    """Of every trainable parameter, by complex steps and central differences, on n images of a size."""
    batch = normal(n, 3, *size), np.random.default_rng(5).integers(-1, len(CLASSES), (n, *size))
    wanted = {name for name, p in model.parameters().items() if p.trainable}
    for complex_step, tolerance in kinds:
        errors = check_model(model, batch, complex_step=complex_step, tolerance=tolerance)
        assert set(errors) == wanted


def check_image_gradient(network, size, pixels):
    """By differences at a few pixels (channel, row, column) of an image of a size."""
    network.astype(np.float64)
    x = normal(1, 3, *size)
    y, cache = network.forward(x)
    dy = normal(*y.shape, seed=2)
    dx = network.backward(dy, cache)
    for pixel in pixels:
        sums = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved[(0, *pixel)] += step
            sums.append((network.forward(moved)[0] * dy).sum())
        np.testing.assert_allclose(dx[(0, *pixel)], (sums[0] - sums[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def two_images(size=24):
    """(images (2, 3, size, size), labels): a disc and a square in noise, each on its background."""
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((2, size, size), np.int64)
    labels[0][(y - 0.4 * size) ** 2 + (x - 0.6 * size) ** 2 < 0.06 * size**2] = 1
    labels[1][(abs(y - 0.55 * size) < 0.27 * size) & (abs(x - 0.45 * size) < 0.24 * size)] = 2
    images = labels[:, None] + 0.3 * np.random.default_rng(0).standard_normal((2, 3, size, size))
    return images.astype(np.float32), labels


def overfit(model, steps, lr=0.01, size=24, scale=1.0):
    """Overfit two images, with a rate that falls to 0; (last loss / first loss, share of right pixels).

    A few more forward passes after training update the running statistics.
    """
    images, labels = two_images(size)
    images = scale * images
    optimiser, values = Adam(model.parameters(), lr=lr), []
    for step in range(steps):
        model.zero_grad()
        losses, cache = model.loss((images, labels), np.random.default_rng(step))
        model.backward(cache)
        optimiser.step(1 - step / steps)
        values.append(losses["pixels"])
    for _ in range(20):
        model.loss((images, labels), np.random.default_rng(0))
    right = (model.predict(images).argmax(axis=1) == labels).mean()
    return np.mean(values[-3:]) / values[0], right


def without_drawing(monkeypatch):
    """Weights and gradients of zeros that take no memory: drawing hundreds of millions of weights is too slow."""
    for module in (nn.layers.linear, nn.layers.conv, nn.layers.conv_transpose):
        monkeypatch.setattr(module, "he_normal", lambda shape, rng, mode=None: Zeros(shape))
    monkeypatch.setattr(nn.layer, "array_module", lambda *arrays: Zeros)


class Zeros(np.ndarray):
    """An array whose elements share one 0."""

    def __new__(cls, shape):
        return np.broadcast_to(np.float32(0), shape).view(cls)

    def __imul__(self, factor):
        return self

    def __setitem__(self, index, value):
        """Elements stay 0."""

    @staticmethod
    def zeros_like(value):
        """The gradient of a parameter."""
        return Zeros(value.shape)


def count(layer, wanted=lambda name: True):
    """The number of elements of the parameters whose names are wanted."""
    return sum(p.value.size for name, p in layer.parameters().items() if wanted(name))
