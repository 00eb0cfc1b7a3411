"""Figures as arrays and files."""

import warnings

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vision.figures import pixels, save_png


def test_an_array_and_a_file_of_one_figure_are_equal_and_letters_without_a_font_are_no_warning(tmp_path):
    figure = Figure(figsize=(2, 1))
    figure.suptitle("그림")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_png(figure, tmp_path / "새 폴더" / "figure.png")
        array = pixels(figure)
    assert array.shape == (100, 200, 3) and array.dtype == np.uint8
    with Image.open(tmp_path / "새 폴더" / "figure.png") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), array)
