"""The feature pyramid: against a plain transcript, its gradients, odd sizes."""

import numpy as np

from nn.gradcheck import check_layer
from vision.backbones.fpn import FPN, PyramidBackbone, enlarged, enlarged_backward
from vision.backbones.resnet import ResNet


def maps(sizes, channels, dtype=np.float64, n=2):
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((n, c, *size)).astype(dtype) for c, size in zip(channels, sizes))


class Flat(FPN):
    """The same with its maps as separate inputs, for check_layer."""

    def forward(self, *maps, training=True):
        return super().forward(maps, training)


def test_gradients_also_of_odd_sizes():
    layer = Flat((2, 3, 4), 3, rng=np.random.default_rng(1)).astype(np.float64)
    check_layer(layer, *maps(((7, 10), (4, 5), (2, 3)), (2, 3, 4)), complex_step=True, tolerance=1e-12)


def convolved(block, x):
    """A 1x1 or 3x3 convolution with padding, cell by cell."""
    weight, bias = block[0].weight.value, block[0].bias.value
    p = weight.shape[2] // 2
    padded, y = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p))), np.zeros((len(x), len(weight), *x.shape[2:]))
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            window = padded[:, :, i : i + 2 * p + 1, j : j + 2 * p + 1]
            y[:, :, i, j] = np.einsum("nchw,ochw->no", window, weight) + bias
    return y


def test_forward_against_a_loop():
    layer = FPN((2, 3), 4, rng=np.random.default_rng(2)).astype(np.float64)
    fine, coarse = maps(((5, 6), (3, 3)), (2, 3))
    top = convolved(layer.inner_blocks[1], coarse)
    merged = convolved(layer.inner_blocks[0], fine)
    for i in range(5):
        for j in range(6):
            merged[:, :, i, j] += top[:, :, i // 2, j // 2]
    p1, p2, p3 = layer((fine, coarse))
    np.testing.assert_allclose(p1, convolved(layer.layer_blocks[0], merged), atol=1e-12)
    np.testing.assert_allclose(p2, convolved(layer.layer_blocks[1], top), atol=1e-12)
    np.testing.assert_array_equal(p3, p2[:, :, ::2, ::2])


def test_enlarging_and_its_gradient():
    x = np.arange(6.0).reshape(1, 1, 2, 3)
    assert enlarged(x, (3, 6))[0, 0].tolist() == [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]
    assert enlarged_backward(np.ones((1, 1, 3, 6)), (2, 3))[0, 0].tolist() == [[4, 4, 4], [2, 2, 2]]


def test_strides_and_sizes_of_a_pyramid():
    rng = np.random.default_rng(0)
    backbone = PyramidBackbone(ResNet((1, 1, 1, 1), 2, rng=rng), ("layer2", "layer3", "layer4"), 5, rng=rng)
    pyramid = backbone(np.zeros((1, 3, 96, 160), np.float32))
    assert backbone.strides == (8, 16, 32, 64)
    assert [p.shape for p in pyramid] == [(1, 5, 12, 20), (1, 5, 6, 10), (1, 5, 3, 5), (1, 5, 2, 3)]
