"""AffineGrid and GridSample against loops over points, worked examples, and what they refuse."""

import itertools

import numpy as np
import pytest

from nn.layers.grid_sample import MODES, PADDING_MODES, AffineGrid, GridSample
from tests.nn.naive_bilinear import weights

pytestmark = pytest.mark.usefixtures("both_versions")
OPTIONS = list(itertools.product(MODES, PADDING_MODES, (False, True)))


def pixel(coordinate, size, padding_mode, align_corners):
    """The position along one axis, folding back and clipping step by step."""
    p = (coordinate + 1) / 2 * (size - 1) if align_corners else ((coordinate + 1) * size - 1) / 2
    low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
    if padding_mode == "reflection":
        while low < high and not low <= p <= high:
            p = 2 * low - p if p < low else 2 * high - p
    return p if padding_mode == "zeros" else min(max(p, 0), size - 1)


def naive(x, grid, dy, mode, padding_mode, align_corners):
    """y and dx, one point at a time."""
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for n, i, j in np.ndindex(grid.shape[:3]):
        column, row = (
            pixel(grid[n, i, j, a], size, padding_mode, align_corners) for a, size in enumerate(x.shape[:1:-1])
        )
        if mode == "nearest":
            row, column = round(row), round(column)  # to even, as rint does
        weight = weights(x.shape[2:], row, column)[0]
        y[n, :, i, j] = (weight * x[n]).sum(axis=(1, 2))
        dx[n] += weight * dy[n, :, i, j, None, None]
    return y, dx


@pytest.mark.parametrize("mode, padding_mode, align_corners", OPTIONS)
@pytest.mark.parametrize(
    "shape, out", [((2, 3, 4, 5), (6, 7)), ((1, 6, 5, 3), (4, 8)), ((3, 2, 1, 6), (5, 4)), ((2, 1, 1, 1), (3, 4))]
)
def test_equals_the_loop_over_points(shape, out, mode, padding_mode, align_corners):
    rng = np.random.default_rng([70, *shape])
    x, grid = rng.normal(size=shape), rng.uniform(-4, 4, (shape[0], *out, 2))
    dy = rng.normal(size=(*shape[:2], *out))
    y, dx = naive(x, grid, dy, mode, padding_mode, align_corners)
    layer = GridSample(mode, padding_mode, align_corners)
    for given in (x, np.repeat(x, 2, axis=3)[..., ::2]):
        result, cache = layer.forward(given, grid)
        np.testing.assert_allclose(result, y, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(layer.backward(dy, cache)[0], dx, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape, out", [((0, 3, 4, 5), (2, 3)), ((2, 3, 4, 5), (0, 3)), ((2, 0, 4, 5), (2, 3))])
def test_without_images_points_or_channels(shape, out, mode):
    """There is nothing to compute, and no element of a gradient is left to chance."""
    x, grid = np.zeros(shape, np.float32), np.full((shape[0], *out, 2), 0.3, np.float32)
    y, cache = GridSample(mode).forward(x, grid)
    dx, dgrid = GridSample(mode).backward(y, cache)
    assert y.shape == (*shape[:2], *out) and dx.shape == shape
    np.testing.assert_array_equal(dgrid, np.zeros(grid.shape))


@pytest.mark.parametrize("mode, padding_mode, align_corners", OPTIONS)
def test_the_identity_gives_the_image(mode, padding_mode, align_corners):
    x = np.random.default_rng(71).normal(size=(2, 3, 4, 5))
    theta = np.tile(np.eye(2, 3), (2, 1, 1))
    grid = AffineGrid((4, 5), align_corners)(theta)
    np.testing.assert_allclose(GridSample(mode, padding_mode, align_corners)(x, grid), x, rtol=1e-12, atol=1e-12)


def test_grids_by_hand():
    theta = np.array([[[2.0, 0, 1], [0, 3, -1]]])
    assert AffineGrid((1, 2))(theta).tolist() == [[[[0, -1], [2, -1]]]]  # x -1/2 and 1/2, y 0
    assert AffineGrid((1, 2), align_corners=True)(theta).tolist() == [[[[-1, -1], [3, -1]]]]  # x -1 and 1
    assert AffineGrid((2, 1), True)(theta).tolist() == [[[[1, -4]], [[1, 2]]]]  # x 0, y -1 and 1
    turn = np.array([[[0.0, 1, 0], [1, 0, 0]]])  # x and y change places
    assert AffineGrid((2, 1))(turn).tolist() == [[[[-0.5, 0]], [[0.5, 0]]]]


def test_gradient_of_theta_by_hand():
    layer = AffineGrid((1, 2), align_corners=True)
    grid, cache = layer.forward(np.zeros((1, 2, 3)))
    dgrid = np.array([[[[1.0, 2], [10, 20]]]])  # at x = -1 and x = 1, y = 0
    assert layer.backward(dgrid, cache).tolist() == [[[9, 0, 11], [18, 0, 22]]]
    assert grid.shape == (1, 1, 2, 2)


def test_size_as_in_pytorch():
    theta = np.random.default_rng(72).normal(size=(3, 2, 3))
    assert np.array_equal(AffineGrid((3, 9, 4, 5))(theta), AffineGrid((4, 5))(theta))
    with pytest.raises(ValueError, match=r"^AffineGrid: theta must have shape \(2, 2, 3\), got \(3, 2, 3\)$"):
        AffineGrid((2, 9, 4, 5))(theta)


ROW = np.array([[[[1.0, 2, 4, 8]]]])  # centres of pixels at -3/4, -1/4, 1/4, 3/4


def along(layer, *x):
    return layer(ROW, np.array([[[[v, 0.0] for v in x]]])).ravel().tolist()


def test_points_by_hand():
    assert along(GridSample(), -0.75, 0, 0.5, 1, 1.25, -3) == [1, 3, 6, 4, 0, 0]  # half of the 8 at the edge
    assert along(GridSample(padding_mode="border"), -0.75, 0, 1, 1.25, -3) == [1, 3, 8, 8, 1]
    # 5/4 is 1/4 beyond the edge, so 3/4; -3 is 2 beyond, so 1, right of the last centre; 5/2 is seen at -1/2
    assert along(GridSample(padding_mode="reflection"), 1.25, -3, 2.5, 0) == [8, 8, 1.5, 3]
    corners = GridSample(align_corners=True)  # centres at -1, -1/3, 1/3, 1
    assert along(corners, -1, 0, 1, 4 / 3) == pytest.approx([1, 3, 8, 4])
    mirrored = GridSample(padding_mode="reflection", align_corners=True)
    assert along(mirrored, 4 / 3, -2, 3, 5) == pytest.approx([6, 3, 1, 8])


def test_nearest_rounds_halves_to_even():
    assert along(GridSample("nearest"), -0.5, 0, 0.5, 1, 1.0625) == [
        1,
        4,
        4,
        0,
        0,
    ]  # columns 0.5, 1.5, 2.5, 3.5: 0, 2, 2, 4


def test_no_gradient_to_clipped_coordinates():
    layer = GridSample(padding_mode="border")
    grid = np.array([[[[-0.75, 0.0], [-0.76, 0], [-0.74, 0], [0.75, 0], [0.74, 0], [2, 0]]]])
    _, cache = layer.forward(ROW, grid)
    dgrid = layer.backward(np.ones((1, 1, 1, 6)), cache)[1]
    assert dgrid[0, 0, :, 0].tolist() == [0, 0, 2, 0, 8, 0] and not dgrid[..., 1].any()


def test_nearest_has_zeros_for_the_grid():
    x, grid = np.ones((1, 2, 3, 4), np.float32), np.zeros((1, 5, 6, 2), np.float32)
    y, cache = GridSample("nearest").forward(x, grid)
    dgrid = GridSample("nearest").backward(y, cache)[1]
    assert dgrid.shape == grid.shape and dgrid.dtype == np.float32 and not dgrid.any()


def test_a_row_of_one_pixel_is_reflected_onto_itself():
    layer = GridSample(padding_mode="reflection", align_corners=True)
    x, grid = np.array([[[[5.0]]]]), np.array([[[[-3.0, 0.3], [7, 9]]]])
    y, cache = layer.forward(x, grid)
    dx, dgrid = layer.backward(np.array([[[[2.0, 3]]]]), cache)
    assert y.tolist() == [[[[5, 5]]]] and dx.item() == 5 and not dgrid.any()


@pytest.mark.parametrize("grid_type", [np.float32, np.float64])
@pytest.mark.parametrize("mode", MODES)
def test_dtype_and_empty_batch(mode, grid_type):
    x, grid = np.ones((0, 3, 4, 5), np.float32), np.zeros((0, 6, 7, 2), grid_type)
    for n in (0, 2):
        x, grid = np.ones((n, 3, 4, 5), np.float32), np.full((n, 6, 7, 2), 0.3, grid_type)
        y, cache = GridSample(mode).forward(x, grid)
        dx, dgrid = GridSample(mode).backward(y, cache)
        assert y.shape == (n, 3, 6, 7) and y.dtype == dx.dtype == np.float32 and dgrid.dtype == grid_type
    theta = np.zeros((0, 2, 3), np.float32)
    grid, cache = AffineGrid((3, 4)).forward(theta)
    assert grid.shape == (0, 3, 4, 2) and grid.dtype == AffineGrid((3, 4)).backward(grid, cache).dtype == np.float32


def test_very_far_points():
    x, grid = np.ones((1, 1, 3, 3)), np.array([[[[1e300, 0.0], [-1e300, 1e18]]]])
    assert GridSample()(x, grid).tolist() == [[[[0, 0]]]]
    assert GridSample(padding_mode="border")(x, grid).tolist() == [[[[1, 1]]]]
    for far in ([1e300, 0.0], [0.0, -1e300]):  # too far for a whole number
        assert GridSample(mode="nearest")(x, np.array([[[far]]])).tolist() == [[[[0]]]]


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: GridSample("bicubic"), "GridSample: mode must be 'bilinear' or 'nearest', got 'bicubic'"),
        (lambda: GridSample("nearest", 0), "GridSample: padding_mode must be 'zeros', 'border' or 'reflection', got 0"),
        (lambda: GridSample(align_corners=None), "GridSample: align_corners must be True or False, got None"),
        (lambda: AffineGrid((4, 5), 1), "AffineGrid: align_corners must be True or False, got 1"),
        (lambda: AffineGrid(4), r"AffineGrid: size must be \(H, W\) or \(N, C, H, W\), whole numbers >= 1, got 4"),
        (lambda: AffineGrid((4, 0)), r"AffineGrid: size must be .* got \(4, 0\)"),
        (lambda: AffineGrid((4, 5, 6)), r"AffineGrid: size must be .* got \(4, 5, 6\)"),
        (lambda: AffineGrid((4, 5.0)), r"AffineGrid: size must be .* got \(4, 5\.0\)"),
        (lambda: AffineGrid((True, 5)), r"AffineGrid: size must be .* got \(True, 5\)"),
    ],
)  # fmt: skip
def test_bad_constructor_arguments(build, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build()


@pytest.mark.parametrize(
    "x, grid, message",
    [
        (np.zeros((2, 3, 4)), np.zeros((2, 3, 4, 2)), r"x must have shape \(N, C, H, W\), got \(2, 3, 4\)"),
        (np.zeros((2, 3, 4, 5)), np.zeros((3, 6, 7, 2)), r"grid must have shape \(N=2, oh, ow, 2\), got \(3, .*"),
        (np.zeros((2, 3, 4, 5)), np.zeros((2, 2, 6, 7)), r"grid must have shape .* got \(2, 2, 6, 7\)"),
        (np.zeros((2, 3, 0, 5)), np.zeros((2, 6, 7, 2)), r"x must have at least one row .*, got \(2, 3, 0, 5\)"),
        (np.zeros((1, 3, 4, 5)), np.full((1, 1, 1, 2), np.nan), "grid must be finite, got NaN or infinity"),
    ],
)  # fmt: skip
def test_bad_input(x, grid, message):
    with pytest.raises(ValueError, match=f"^GridSample: {message}$"):
        GridSample().forward(x, grid)


def test_integers_and_bad_dy():
    with pytest.raises(TypeError, match="^GridSample: x must be an array of floats, got uint8"):
        GridSample().forward(np.zeros((1, 1, 2, 2), np.uint8), np.zeros((1, 1, 1, 2)))
    y, cache = GridSample().forward(np.zeros((2, 3, 4, 5)), np.zeros((2, 6, 7, 2)))
    with pytest.raises(ValueError, match=r"^GridSample: dy must have shape \(2, 3, 6, 7\), got \(2, 3, 6, 6\)$"):
        GridSample().backward(y[..., :6], cache)
    grid, cache = AffineGrid((4, 5)).forward(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"^AffineGrid: dy must have shape \(2, 4, 5, 2\), got \(1, 4, 5, 2\)$"):
        AffineGrid((4, 5)).backward(grid[:1], cache)
    with pytest.raises(ValueError, match=r"^AffineGrid: theta must have shape \(N, 2, 3\), got \(2, 3\)$"):
        AffineGrid((4, 5)).forward(np.zeros((2, 3)))
