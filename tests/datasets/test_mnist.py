"""The reader of MNIST: on files made here, and on the real ones where they are."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from datasets import MNIST
from datasets.mnist import read_idx

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[3] / "shared" / "data"))
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(array, kind=8):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


PIXELS = (np.arange(12 * 28 * 28) % 251).astype(np.uint8).reshape(12, 28, 28)
DIGITS = (np.arange(12) % 10).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    """Twelve training images, gzipped, and three test images, plain."""
    (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(idx(PIXELS)))
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(idx(DIGITS)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(PIXELS[3:6]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(DIGITS[3:6]))
    return tmp_path


def test_samples(root):
    train, test = MNIST(root), MNIST(root, "test")
    assert (len(train), len(test)) == (12, 3)
    assert train.classes == tuple("0123456789")
    sample = train[11]
    assert (sample["id"], sample["label"], type(sample["label"])) == ("train/11", 1, int)
    assert sample["image"].dtype == np.uint8
    np.testing.assert_array_equal(sample["image"], np.stack([PIXELS[11]] * 3, axis=2))
    sample["image"][...] = 0
    np.testing.assert_array_equal(train[11]["image"][:, :, 1], PIXELS[11])
    np.testing.assert_array_equal(test[0]["image"][:, :, 0], PIXELS[3])
    assert test[-1]["id"] == "test/2"
    with pytest.raises(IndexError):
        test[3]


def test_the_last_twelfth_of_the_training_digits_can_be_held_out(root):
    kept, held = MNIST(root, "train:kept"), MNIST(root, "train:held_out")
    np.testing.assert_array_equal(kept.digits, PIXELS[:11])
    np.testing.assert_array_equal(held.digits, PIXELS[11:])
    assert (len(kept), held[0]["label"], held[0]["id"]) == (11, 1, "train:held_out/0")


def test_the_plain_file_is_taken_before_the_gzipped_one(root):
    (root / IMAGES).write_bytes(idx(255 - PIXELS))
    assert MNIST(root).digits[0, 0, 0] == 255


def test_the_content_says_what_is_gzipped_not_the_name(root):
    (root / f"{IMAGES}.gz").write_bytes(idx(PIXELS))  # as browsers save it
    (root / f"{LABELS}.gz").rename(root / LABELS)
    np.testing.assert_array_equal(MNIST(root).digits, PIXELS)


def test_names_with_a_dot(root):
    (root / f"{IMAGES}.gz").rename(root / "train-images.idx3-ubyte")
    (root / f"{LABELS}.gz").rename(root / "train-labels.idx1-ubyte.gz")
    np.testing.assert_array_equal(MNIST(root).labels, DIGITS)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4), (0, 28, 28)])
def test_any_number_of_sizes(tmp_path, shape):
    array = np.arange(np.prod(shape)).astype(np.uint8).reshape(shape)
    (tmp_path / "a").write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)


def replace(root, name, content):
    (root / f"{name}.gz").unlink()
    (root / name).write_bytes(content)


@pytest.mark.parametrize(
    "damage, message",
    [
        (
            lambda root: (root / f"{IMAGES}.gz").unlink(),
            rf"{IMAGES}: there is no such file; give the folder that holds it, plain or with \.gz",
        ),
        (lambda root: replace(root, IMAGES, b""), rf"{IMAGES}: is no IDX file: .* begins with nothing"),
        (lambda root: replace(root, IMAGES, b"\x89PNG"), "is no IDX file: .* begins with 89 50"),
        (lambda root: replace(root, IMAGES, b"\0\1\x08\3" + bytes(12)), "is no IDX file: .* begins with 00 01"),
        (lambda root: replace(root, IMAGES, idx(PIXELS, kind=13)), r"must hold unsigned bytes \(IDX type 08\), .* 0d"),
        (lambda root: replace(root, IMAGES, idx(PIXELS)[:13]), "its header says 3 sizes, there are 2"),
        (lambda root: replace(root, IMAGES, b"\0\0\x08\0"), "its header says 0 sizes, there are 0"),
        (
            lambda root: replace(root, IMAGES, idx(PIXELS)[:-1]),
            "header says 12 x 28 x 28 = 9408 values, it holds 9407",
        ),
        (lambda root: replace(root, IMAGES, idx(PIXELS) + b"\0"), "9408 values, it holds 9409"),
        (
            lambda root: replace(root, IMAGES, b"\0\0\x08\3" + b"\xff" * 12 + bytes(9)),
            r"4294967295 x 4294967295 x 4294967295 = \d+ values, it holds 9;",
        ),
        (lambda root: os.truncate(root / f"{IMAGES}.gz", 60), rf"{IMAGES}\.gz: cannot be read"),
        (lambda root: (root / f"{LABELS}.gz").rename(root / "LABELS.gz"), rf"{LABELS}: there is no such file; give"),
        (
            lambda root: (root / f"{LABELS}.gz").rename(root / LABELS.upper()),
            rf"{LABELS}: there is no such file; did you mean .*TRAIN-LABELS-IDX1-UBYTE \(in another case\)\?",
        ),
        (lambda root: replace(root, IMAGES, idx(PIXELS[:, 1:])), r"must hold images of 28x28, .* \(12, 27, 28\)"),
        (lambda root: replace(root, IMAGES, idx(DIGITS)), r"must hold images of 28x28, .* \(12,\)"),
        (lambda root: replace(root, LABELS, idx(DIGITS[1:])), r"a label for each of 12 images, .* \(11,\)"),
        (lambda root: replace(root, LABELS, idx(PIXELS)), r"a label for each of 12 images, .* \(12, 28, 28\)"),
        (lambda root: replace(root, LABELS, idx(DIGITS + 3)), "must lie in 0 .. 9, label 9 is 12"),
    ],
)
def test_damage_is_named(root, damage, message):
    damage(root)
    with pytest.raises(ValueError, match=message):
        MNIST(root)


def test_a_damaged_gzip_body_is_named(root):
    content = bytearray((root / f"{IMAGES}.gz").read_bytes())
    content[40:80] = bytes(40)
    (root / f"{IMAGES}.gz").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{IMAGES}\.gz: cannot be read \(.*\); copy it again"):
        MNIST(root)


def test_unknown_splits_and_folders(root):
    with pytest.raises(ValueError, match="split must be one of train, train:kept, train:held_out, test, got 'val'"):
        MNIST(root, "val")
    with pytest.raises(ValueError, match="nowhere: there is no such folder"):
        MNIST(root / "nowhere")


def test_the_real_digits():
    folder = DATA / "mnist"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    train, test = MNIST(folder), MNIST(folder, "test")
    assert (len(train), len(test)) == (60000, 10000)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.digits.mean() / 255 == pytest.approx(0.1307, abs=5e-5)  # the mean that everybody subtracts
