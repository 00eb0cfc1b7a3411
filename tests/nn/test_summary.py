"""nn.summary: names, shapes and counts, with the sums done by hand."""

import numpy as np
import pytest

import nn
from nn import BatchNorm2d, Conv2d, Layer, Linear, MaxPool2d, ReLU, Residual, Sequential
from nn.summary import multiply_adds


def table(model, input_shape):
    """The rows as lists of cells, the total last."""
    lines = nn.summary(model, input_shape).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])} and set(lines[1]) == set(lines[-2]) == {"-"}
    columns = ["layer", "kind", "output", "shape", "field", "stride", "offset", "parameters", "multiply-adds"]
    assert lines[0].split() == columns
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[2:-2] + lines[-1:]]
    return [row if len(row) == 3 else row[:3] + row[6:] for row in rows]  # fields: test_receptive_field.py


class Flat(Layer):
    def forward(self, x, training=True):
        return x.reshape(len(x), -1), x.shape


def test_every_row():
    model = Sequential(
        Conv2d(3, 8, 3, padding=1), BatchNorm2d(8), ReLU(), MaxPool2d(2),
        Conv2d(8, 6, (1, 3), stride=2, groups=2, bias=False), Flat(), Linear(48, 10),
    )  # fmt: skip
    assert table(model, (2, 3, 8, 18)) == [
        ["0", "Conv2d", "(2, 8, 8, 18)", "224", f"{2 * 8 * 18 * 8 * 27:,}"],
        ["1", "BatchNorm2d", "(2, 8, 8, 18)", "16", "0"],
        ["2", "ReLU", "(2, 8, 8, 18)", "0", "0"],
        ["3", "MaxPool2d", "(2, 8, 4, 9)", "0", "0"],
        ["4", "Conv2d", "(2, 6, 2, 4)", "72", f"{2 * 2 * 4 * 6 * 12:,}"],
        ["5", "Flat", "(2, 48)", "0", "0"],
        ["6", "Linear", "(2, 10)", "490", f"{2 * 10 * 48:,}"],
        ["total", f"{224 + 16 + 72 + 490:,}", f"{2 * 8 * 18 * 8 * 27 + 2 * 2 * 4 * 6 * 12 + 2 * 10 * 48:,}"],
    ]


def test_names_of_nested_layers_in_the_order_of_their_calls():
    model = Residual(Sequential(Linear(4, 4), ReLU(), Linear(4, 4)), Linear(4, 4, bias=False))
    assert [row[0] for row in table(model, (3, 4))] == ["body.0", "body.1", "body.2", "shortcut", "total"]


def test_a_single_layer():
    assert table(Linear(4, 5), (3, 4)) == [["(itself)", "Linear", "(3, 5)", "25", "60"], ["total", "25", "60"]]


def test_shared_layers_and_tied_parameters_count_once_their_multiply_adds_each_time():
    shared, other = Linear(4, 4), Linear(4, 4)
    other.weight = shared.weight
    assert table(Sequential(shared, ReLU(), shared, other), (1, 4)) == [
        ["0", "Linear", "(1, 4)", "20", "16"],
        ["1", "ReLU", "(1, 4)", "0", "0"],
        ["0", "Linear", "(1, 4)", "0", "16"],
        ["3", "Linear", "(1, 4)", "4", "16"],
        ["total", "24", "48"],
    ]


def test_predict_is_run_where_there_is_one_and_parameters_not_called_are_in_the_total():
    class Model(Layer):
        def __init__(self):
            self.used, self.unused = Linear(4, 2), Linear(4, 3)

        def predict(self, x):
            return [self.used(x), self.used(x)]

    assert table(Model(), (1, 4)) == [
        ["used", "Linear", "(1, 2)", "10", "8"],
        ["used", "Linear", "(1, 2)", "0", "8"],
        ["total", "25", "16"],
    ]
    assert multiply_adds(Model(), (1, 4)) == 16


def test_several_outputs_show_the_first():
    rows = table(MaxPool2d(2, return_indices=True), (1, 2, 4, 6))
    assert rows[0] == ["(itself)", "MaxPool2d", "(1, 2, 2, 3)", "0", "0"]


@pytest.mark.parametrize("input_shape", [(2, 3, 9, 9), (2, 4, 9, 9)])
def test_the_model_is_left_as_it_was(input_shape):
    model = Sequential(Conv2d(3, 4, 3), BatchNorm2d(4))
    attributes = [dict(vars(layer)) for _, layer in model.layers()]
    try:
        nn.summary(model, input_shape)
    except ValueError as error:
        assert str(error) == "Conv2d: x must have shape (N, 3, H, W), got (2, 4, 9, 9)"  # noqa: PT017
    assert [dict(vars(layer)) for _, layer in model.layers()] == attributes
    assert not model[1].num_batches_tracked and not np.any(model[1].running_mean)
