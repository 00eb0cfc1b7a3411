"""Receptive fields: against the gradient of one output cell, which is not 0 at the pixels that the cell sees."""

import numpy as np
import pytest

import nn
from nn import Concat, Conv2d, ConvTranspose2d, MaxPool2d, ReLU, Residual, Sequential
from nn.receptive_field import receptive_fields

RNG = np.random.default_rng(0)
MODELS = {
    "convolutions": lambda: Sequential(
        Conv2d(3, 2, 3, padding=1), Conv2d(2, 2, (5, 3), stride=(2, 1)), Conv2d(2, 2, 3)
    ),
    "dilated": lambda: Sequential(Conv2d(3, 2, 3, dilation=2), Conv2d(2, 2, 2, stride=2, padding=1)),
    "average pools": lambda: Sequential(Conv2d(3, 2, 3, 2, 1), nn.AvgPool2d(2), Conv2d(2, 2, 3)),
    "residual": lambda: Residual(Sequential(Conv2d(3, 3, 3, padding=1), Conv2d(3, 3, 3, padding=1))),
    "branches": lambda: Sequential(Concat(Conv2d(3, 2, 5, padding=2), Conv2d(3, 2, 1)), Conv2d(4, 2, 3)),
}


def empirical(model, x, cell):
    """(first row, rows, first column, columns) of the pixels that a cell in the middle of the output depends on."""
    y, cache = model.forward(x)
    dy = np.zeros_like(y)
    dy[0, :, cell[0], cell[1]] = RNG.uniform(1, 2, y.shape[1])
    seen = abs(model.backward(dy, cache)).sum((0, 1)) > 0
    (rows,), (columns,) = (np.nonzero(seen.any(axis=axis)) for axis in (1, 0))
    return rows[0], len(range(rows[0], rows[-1] + 1)), columns[0], len(range(columns[0], columns[-1] + 1))


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_a_cell(name):
    model, x = MODELS[name]().astype(np.float64), RNG.standard_normal((1, 3, 41, 39))
    wrapped = Sequential(model, ReLU())  # a layer after it, whose field is that of the whole model
    field = receptive_fields(wrapped, x.shape)["1", 0]
    for cell in ((3, 3), (4, 2)):
        first_row, rows, first_column, columns = empirical(model, x, cell)
        assert (rows, columns) == (field.rows.size, field.columns.size)
        assert first_row == field.rows.first + cell[0] * field.rows.stride
        assert first_column == field.columns.first + cell[1] * field.columns.stride
        assert first_row + (rows - 1) / 2 == field.rows.offset + cell[0] * field.rows.stride


def test_a_transposed_convolution_sees_at_most_its_field():
    model, x = Sequential(Conv2d(3, 2, 3, 2, 1), ConvTranspose2d(2, 2, 4, 2, 1)), RNG.standard_normal((1, 3, 32, 32))
    model.astype(np.float64)
    field, reached = receptive_fields(model, x.shape)["1", 0], 0
    assert field.rows.stride == field.columns.stride == 1
    for cell in ((9, 10), (10, 11)):
        _, rows, *_ = empirical(model, x, cell)
        assert rows <= field.rows.size
        reached = max(reached, rows)
    assert reached == field.rows.size == 5


def test_the_whole_image_unknown_fields_and_the_table():
    model = Sequential(Conv2d(3, 2, 3, stride=(2, 1)), MaxPool2d(2), nn.GlobalAvgPool2d(), nn.Linear(2, 2))
    lines = [line.split() for line in nn.summary(model, (1, 3, 16, 16)).splitlines()]
    assert lines[2][-5:-2] == ["3", "2x1", "1"]
    assert lines[3][-5:-2] == ["5x4", "4x2", "2x1.5"]
    assert lines[4][-5:-2] == lines[5][-5:-2] == ["all", "-", "-"]
    assert receptive_fields(nn.Linear(4, 5), (3, 4)) == {}
    assert nn.summary(nn.Linear(4, 5), (3, 4)).splitlines()[2].split()[-5:-2] == ["-", "-", "-"]


def test_vgg16_as_published():
    """196 pixels at conv5_3 with a stride of 16, as is well known; 212 after pool5: Araujo et al. 2019, table 1."""
    from vision.backbones import vgg16

    vgg = vgg16(rng=np.random.default_rng(0))
    field = receptive_fields(vgg, (1, 3, 32, 32))["features.29", 0]
    assert (field.rows.size, field.rows.stride) == (196, 16)
