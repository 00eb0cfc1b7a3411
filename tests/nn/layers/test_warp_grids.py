"""Projective and thin-plate grids: points one by one, identities, what a thin-plate spline must fulfil."""

import numpy as np
import pytest

from nn import AffineGrid, GridSample, ProjectiveGrid, ThinPlateGrid
from nn.layers.warp_grids import thin_plate_matrix


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("align", [False, True])
def test_projective_points_one_by_one(align):
    theta = np.concatenate([normal(2, 6), 0.2 * normal(2, 2, seed=2)], axis=1)
    grid = ProjectiveGrid((3, 4), align)(theta)
    for n, i, j in np.ndindex(2, 3, 4):
        x = 2 * j / 3 - 1 if align else (2 * j + 1) / 4 - 1
        y = 2 * i / 2 - 1 if align else (2 * i + 1) / 3 - 1
        a, b, c, d, e, f, g, h = theta[n]
        w = g * x + h * y + 1
        np.testing.assert_allclose(grid[n, i, j], [(a * x + b * y + c) / w, (d * x + e * y + f) / w], rtol=1e-12)


def test_without_perspective_it_is_affine():
    theta = normal(3, 6)
    projective = np.concatenate([theta, np.zeros((3, 2))], axis=1)
    np.testing.assert_allclose(ProjectiveGrid((4, 5))(projective), AffineGrid((4, 5))(theta.reshape(3, 2, 3)))


def test_a_projective_transformation_keeps_lines():
    theta = np.array([[0.9, 0.1, 0.1, -0.2, 1.1, 0.0, 0.3, -0.2]])
    grid = ProjectiveGrid((5, 7))(theta)[0]
    for line in (*grid, *grid.swapaxes(0, 1), grid[range(5), range(5)]):
        (x1, y1), (x2, y2) = line[0], line[-1]
        np.testing.assert_allclose((x2 - x1) * (line[:, 1] - y1), (y2 - y1) * (line[:, 0] - x1), atol=1e-12)


@pytest.mark.parametrize("per_side", [2, 3, 4])
def test_affine_maps_of_the_control_points_are_affine_grids(per_side):
    """A plane bends nothing, so it is the thin-plate spline through its values; the identity too."""
    layer, theta = ThinPlateGrid((5, 4), per_side), normal(2, 2, 3)
    points = np.concatenate([layer.centres, np.ones((per_side**2, 1))], axis=1)
    np.testing.assert_allclose(layer(points @ theta.swapaxes(1, 2)), AffineGrid((5, 4))(theta), atol=1e-12)


def test_the_spline_goes_through_its_values_and_bends_the_least():
    layer, values = ThinPlateGrid((7, 7), 3, align_corners=True), normal(1, 9, 2)
    grid = layer(values)[0]
    found = grid[::3, ::3].reshape(9, 2)  # with align_corners control points are at pixels 0, 3 and 6
    np.testing.assert_allclose(found, values[0], atol=1e-10)
    line = np.linspace(-1, 1, 41)
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)

    def energy(surface):
        """The integral of f_xx^2 + 2 f_xy^2 + f_yy^2 by differences."""
        z = surface.reshape(41, 41)
        xx, yy = np.diff(z, 2, axis=1), np.diff(z, 2, axis=0)
        return (xx**2).sum() + 2 * (np.diff(np.diff(z, axis=0), axis=1) ** 2).sum() + (yy**2).sum()

    spline = thin_plate_matrix(points, layer.centres) @ values[0, :, 0]
    bump = np.sin(np.pi * points[:, 0]) * np.sin(np.pi * points[:, 1])  # 0 at all control points
    for size in (-0.1, 0.1):
        assert energy(spline + size * bump) > energy(spline)


def test_four_points_by_hand():
    """Values 1, 0, 0, 0 at the corners of a square give the middle a quarter, by symmetry."""
    corners = np.array([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])
    found = thin_plate_matrix(np.array([[0.0, 0.0], [0.0, -1.0]]), corners)
    np.testing.assert_allclose(found[0], [0.25] * 4, atol=1e-12)
    np.testing.assert_allclose(found[1, :2], found[1, 1::-1], atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


def test_an_image_warped_by_the_identity_is_itself():
    x, layer = normal(2, 3, 6, 5), ThinPlateGrid((6, 5))
    grid = layer(np.repeat(layer.centres[None], 2, axis=0))
    np.testing.assert_allclose(GridSample()(x, grid), x, atol=1e-10)


def test_float32_stays_and_the_matrix_is_no_parameter():
    layer = ThinPlateGrid((4, 4))
    y, cache = layer.forward(normal(2, 16, 2).astype(np.float32))
    assert y.dtype == layer.backward(y, cache).dtype == np.float32
    assert not layer.parameters() and not layer.state_dict()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ThinPlateGrid((4, 5), 1), "ThinPlateGrid: per_side must be at least 2, got 1"),
        (lambda: ThinPlateGrid((4, 0)), r"ThinPlateGrid: size must be \(H, W\)"),
        (lambda: ThinPlateGrid((4, 5))(np.zeros((2, 9, 2))), r"ThinPlateGrid: theta must have shape \(N, 16, 2\), got"),
        (lambda: ProjectiveGrid((4, 5))(np.zeros((2, 9))), r"ProjectiveGrid: theta must have shape \(N, 8\), got"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
