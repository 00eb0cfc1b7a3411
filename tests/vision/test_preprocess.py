"""From a photograph to a batch: sizes, colours, padding, and what a photograph may be."""

import numpy as np
import pytest
from PIL import Image

from datasets import read_image
from vision import Preprocess
from vision.preprocess import open_photograph


@pytest.mark.parametrize(
    ("options", "size", "scaled"),
    [
        ({"short_side": 60, "max_side": 100}, (30, 40), (60, 80)),
        ({"short_side": 60, "max_side": 100}, (200, 30), (100, 15)),  # the longer side is the limit
        ({"short_side": 60, "max_side": 100}, (1, 900), (1, 100)),
        ({"short_side": 32, "max_side": 64, "resize": "square"}, (30, 90), (32, 32)),
        ({"resize": "fixed", "fixed": (20, 50)}, (30, 90), (20, 50)),
        ({"resize": "none"}, (31, 7), (31, 7)),
    ],
)
def test_sizes(options, size, scaled):
    preprocess = Preprocess(**options)
    assert preprocess.size(*size) == scaled
    assert preprocess.scaled(np.zeros((*size, 3), np.uint8)).shape == (*scaled, 3)


def test_the_square_in_the_middle():
    """As the authors of EfficientNet evaluate: int(0.875 of the shorter side), scaled by bicubic interpolation."""
    photograph = np.random.default_rng(0).integers(0, 256, (30, 47, 3), np.uint8)
    preprocess = Preprocess(short_side=16, max_side=32, resize="centre", crop=0.875, filter="bicubic")
    middle = photograph[2:28, 10:36]  # 26 = int(0.875 * 30)
    wanted = np.array(Image.fromarray(middle).resize((16, 16), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(preprocess.scaled(photograph), wanted)
    assert preprocess.size(30, 47) == (18, 29)  # the whole one, in which the square is 16 pixels
    assert Preprocess(short_side=8, max_side=8, resize="centre").scaled(photograph[:1]).shape == (8, 8, 3)


def test_a_batch_is_normalised_and_padded_with_the_mean_colour():
    preprocess = Preprocess(mean=(10, 20, 30), std=(1, 2, 3), multiple=4)
    images = [np.full((5, 6, 3), 40, np.uint8), np.full((2, 9, 3), 70, np.uint8)]
    batch = preprocess.batch(images)
    assert batch.shape == (2, 3, 8, 12) and batch.dtype == np.float32
    np.testing.assert_allclose(batch[0, :, 0, 0], [30, 10, 10 / 3], rtol=1e-6)
    np.testing.assert_allclose(batch[1, :, 1, 8], [60, 25, 40 / 3], rtol=1e-6)
    assert not batch[0, :, 5:].any() and not batch[1, :, :, 9:].any()


def test_an_image_by_its_own_mean_and_deviation():
    """Light that is twice as bright, and shifted, makes no difference; one colour stays finite."""
    preprocess, dark = Preprocess(per_image=True), np.random.default_rng(0).integers(0, 100, (5, 6, 3)).astype(np.uint8)
    x, brighter, plain = preprocess.batch([dark, 2 * dark + 7, np.full((5, 6, 3), 9, np.uint8)])
    np.testing.assert_allclose(x, brighter, atol=1e-5)
    assert abs(x.mean()) < 1e-6 and abs(x.std() - 1) < 1e-5 and not plain.any()


def test_photographs_are_read_as_data_sets_read_them(tmp_path):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (15, 17, 3), np.uint8)
    turned = Image.fromarray(colours)
    exif = turned.getexif()
    exif[0x0112] = 6  # a quarter turn
    turned.save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(rng.integers(0, 65536, (15, 17), np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(rng.integers(0, 256, (15, 17, 4), np.uint8)).save(tmp_path / "transparent.png")
    Image.fromarray(colours[..., 0]).save(tmp_path / "grey.png")
    for name in ("turned", "deep", "transparent", "grey"):
        path = tmp_path / f"{name}.png"
        np.testing.assert_array_equal(open_photograph(path), read_image(path), err_msg=name)
    assert open_photograph(tmp_path / "turned.png").shape == (17, 15, 3)
    np.testing.assert_array_equal(open_photograph(Image.fromarray(colours)), colours)
    assert open_photograph(colours) is colours
    assert open_photograph(colours[..., 0]).shape == (15, 17, 3)


@pytest.mark.parametrize(
    ("photograph", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), r"must be \(H, W, 3\) or \(H, W\) of uint8, got float32 \(1, 3, 8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"got uint8 \(8, 8, 4\)"),
        ("none.jpg", r"none.jpg: cannot be read as a picture"),
        (np.zeros((0, 8, 3), np.uint8), r"must have pixels, got an array \(0, 8, 3\)"),
        (np.zeros((8, 8, 3)), r"float64 \(8, 8, 3\): values from 0 to 1 become uint8 by \(255 \* array\)"),
        (np.full((8, 8, 3), 9.0), r"float64 \(8, 8, 3\): values from 0 to 255 become uint8 by array.astype"),
        (np.zeros((3, 8, 8), np.uint8), r"uint8 \(3, 8, 8\): put the channels last, array.transpose\(1, 2, 0\)"),
        (np.zeros((8, 8, 1), np.uint8), r"uint8 \(8, 8, 1\): give array.* of grey"),
        (np.zeros((8, 8, 3), np.uint16), r"uint16 \(8, 8, 3\): values from 0 to 255"),
        (None, "must be a path, a PIL image, or an array .* got NoneType"),
        ([[1, 2]], "got list; several photographs go one after another"),
        (b"a.jpg", "got bytes"),
        (Image.fromarray(np.zeros((2, 2), np.float32)), "floating-point pixels"),
    ],
)
def test_what_is_no_photograph_is_named(photograph, message):
    with pytest.raises(ValueError, match=message):
        open_photograph(photograph)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"short_side": 0}, "short_side must be a whole number >= 1, got 0"),
        ({"short_side": 9, "max_side": 8}, "short_side must not be above max_side, got 9 and 8"),
        ({"multiple": 1.5}, "multiple must be a whole number >= 1, got 1.5"),
        ({"mean": (1, 2)}, "mean must be a number, or three, got"),
        ({"std": 0}, "std must be finite and above 0, got 0"),
        ({"mean": np.nan}, "mean must be finite, got nan"),
        ({"resize": "fixed"}, "goes with fixed="),
        ({"crop": 0}, "crop must be above 0 and at most 1, got 0"),
        ({"crop": 1.5}, "crop must be above 0 and at most 1, got 1.5"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=f"Preprocess: .*{message}"):
        Preprocess(**options)


def test_a_photograph_of_too_many_pixels_is_refused_undecoded(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr("vision.preprocess.MAX_PIXELS", 1000)
    monkeypatch.setattr(Image.Image, "crop", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match=r"a\.png: .*pixels, .* are read at most: scale it down"):
        open_photograph(tmp_path / "a.png")


@pytest.mark.parametrize("error", [SyntaxError, Image.DecompressionBombError, IndexError, MemoryError])
def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch, error):
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "a.png")

    def fail(*_):
        raise error("broken")

    monkeypatch.setattr(Image.Image, "crop", fail)
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as a picture: broken"):
        open_photograph(tmp_path / "a.png")


def test_a_photograph_is_converted_band_by_band(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = open_photograph(tmp_path / "a.png")
    monkeypatch.setattr("vision.preprocess.BAND", 100)
    np.testing.assert_array_equal(open_photograph(tmp_path / "a.png"), whole)


@pytest.mark.parametrize("resize", ["short_side", "square", "centre"])
def test_sizes_beyond_all_memory_are_refused_before_anything_is_scaled(resize):
    preprocess = Preprocess(short_side=10**7, max_side=10**8, resize=resize)
    message = r"a photograph of 48x40 would be scaled to \d+x\d+, \d+ million pixels; 64 are taken at most: choose"
    with pytest.raises(ValueError, match=message):
        preprocess.scaled(np.zeros((40, 48, 3), np.uint8))
    with pytest.raises(ValueError, match=r"padding to multiples of 40000 makes images of 40000x40000 pixels"):
        Preprocess(multiple=40_000).batch([np.zeros((40, 48, 3), np.uint8)])


def test_a_photograph_may_stay_as_large_as_it_is():
    assert Preprocess(resize="none").size(9000, 8000) == (9000, 8000)
