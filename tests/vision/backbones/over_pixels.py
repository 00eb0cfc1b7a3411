"""Where the cells of a backbone's last map lie, for the tests of the models that pool regions from it."""

from nn.receptive_field import receptive_fields


def assert_cells_over_pixels(backbone):
    """Cell i sees the surroundings of pixels i stride to (i + 1) stride - 1."""
    *_, field = receptive_fields(backbone, (1, 3, 96, 96)).values()
    for axis in field:
        assert axis.stride == backbone.stride and abs(axis.offset - (backbone.stride - 1) / 2) <= 0.5
