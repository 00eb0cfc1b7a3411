"""The glimpse sensor against loops over pixels; the network that reads it, by its equation."""

import numpy as np
import pytest

from nn.gradcheck import check_contract, check_layer
from vision.classification.glimpse import GlimpseNetwork, glimpse_boxes, sense, summed_area


def naive_sense(images, locations, size, scales):
    """The patches pixel by pixel: (N, scales, size, size)."""
    n, h, w = images.shape
    patches = np.zeros((n, scales, size, size))
    for i, (x, y) in enumerate(locations):
        for k in range(scales):
            width = size * 2**k
            left = int(np.floor((x + 1) / 2 * w - width / 2 + 0.5))
            top = int(np.floor((y + 1) / 2 * h - width / 2 + 0.5))
            for row in range(width):
                for column in range(width):
                    r, c = top + row, left + column
                    pixel = images[i, r, c] if 0 <= r < h and 0 <= c < w else 0
                    patches[i, k, row // 2**k, column // 2**k] += pixel / 4**k
    return patches


@pytest.mark.parametrize("size, scales", [(1, 1), (3, 1), (4, 2), (3, 3), (8, 2)])
@pytest.mark.parametrize("shape", [(6, 9, 7), (6, 2, 12)])
def test_patches_are_those_of_the_naive_sensor(size, scales, shape):
    rng = np.random.default_rng(size)
    images, locations = rng.standard_normal(shape), rng.uniform(-1.4, 1.4, (6, 2))
    patches = sense(summed_area(images), locations, size, scales)
    assert patches.shape == (6, scales, size, size)
    np.testing.assert_allclose(patches, naive_sense(images, locations, size, scales), atol=1e-12)


def test_coordinates():
    """On 8x8 pixels, numbered in reading order: corners and the centre, x before y."""
    image = np.arange(64.0).reshape(1, 8, 8)

    def patch(x, y):
        return sense(summed_area(image), np.array([[x, y]]), 4, 1)[0, 0]

    np.testing.assert_array_equal(patch(0, 0), image[0, 2:6, 2:6])
    np.testing.assert_array_equal(patch(0.25, -0.5), image[0, 0:4, 3:7])  # a pixel to the right, two up
    top_left, bottom_right = patch(-1, -1), patch(1, 1)
    np.testing.assert_array_equal(top_left[2:, 2:], image[0, :2, :2])
    np.testing.assert_array_equal(bottom_right[:2, :2], image[0, 6:, 6:])
    assert not top_left[:2].any() and not top_left[:, :2].any()
    assert not patch(-3, 0).any() and not patch(0, 1e9).any()


def test_scales_double_and_average():
    image = np.zeros((1, 16, 16))
    image[0, 8, 8] = 16
    patches = sense(summed_area(image), np.zeros((1, 2)), 4, 3)[0]
    assert patches[:, 2, 2].tolist() == [16, 4, 1]
    assert (patches > 0).sum() == 3


def test_boxes_are_what_is_sensed():
    rng = np.random.default_rng(0)
    images, locations = rng.random((5, 20, 30)), rng.uniform(-0.3, 0.3, (5, 2))
    boxes = glimpse_boxes(locations, (20, 30), 4, 2)
    assert boxes.shape == (5, 2, 4)
    patches = sense(summed_area(images), locations, 4, 2)
    for image, patch, (small, large) in zip(images, patches, boxes.astype(int)):
        np.testing.assert_allclose(patch[0], image[small[1] : small[3], small[0] : small[2]], atol=1e-12)
        assert patch[1].mean() == pytest.approx(image[large[1] : large[3], large[0] : large[2]].mean())
        assert (large[2:] - large[:2]).tolist() == [8, 8]
    many = glimpse_boxes(rng.uniform(-1, 1, (2, 3, 2)), (20, 30), 4, 2)
    assert many.shape == (2, 3, 2, 4)


def test_summed_areas_of_float32_are_summed_in_float64():
    image = np.full((1, 60, 60), 1 / 3, np.float32)
    patches = sense(summed_area(image), np.zeros((1, 2)), 12, 3)
    np.testing.assert_allclose(patches, image[0, 0, 0], rtol=1e-12)


@pytest.mark.parametrize("complex_step", [True, False])
def test_gradients_of_the_glimpse_network(complex_step):
    network, rng = GlimpseNetwork(6, 4, 5, rng=np.random.default_rng(0)), np.random.default_rng(1)
    inputs = rng.standard_normal((3, 6)), rng.standard_normal((3, 2))
    check_layer(network, *inputs, complex_step=complex_step, tolerance=1e-12 if complex_step else 1e-7)
    check_contract(network, inputs, (rng.standard_normal((1, 6)), rng.standard_normal((1, 2))))


def test_the_glimpse_network_is_its_equation():
    network, rng = GlimpseNetwork(6, 4, 5, rng=np.random.default_rng(0)), np.random.default_rng(1)
    patches, locations = rng.standard_normal((3, 6)), rng.standard_normal((3, 2))
    weights = {name: parameter.value for name, parameter in network.parameters().items()}

    def path(x, name):
        hidden = np.maximum(x @ weights[f"{name}.0.weight"].T, 0)  # biases begin at 0
        return hidden @ weights[f"{name}.2.weight"].T

    wanted = np.maximum(path(patches, "what") + path(locations, "where"), 0)
    np.testing.assert_allclose(network(patches, locations), wanted, rtol=1e-12)
