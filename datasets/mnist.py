"""Reader for MNIST in its own IDX format, plain or gzipped.

    root/train-images-idx3-ubyte   magic 00 00 08 03, the sizes 60000, 28, 28, then a byte for each pixel
    root/train-labels-idx1-ubyte   magic 00 00 08 01, the size 60000, then a byte for each label
    root/t10k-...                  the same for the 10,000 test images; each file may also end in .gz

The third byte of the magic is the type of the values (08: unsigned bytes), the fourth how many sizes follow, each a
big-endian 32-bit integer.

A split is a pair of files, or a part of the training files, so that choices need not be made on the test digits:

    train:held_out, train:kept     the last twelfth of the training digits, 5,000 of 60,000; the others

Reference: LeCun et al. 1998, Gradient-based learning applied to document recognition, sec. III A.
"""

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from .files import missing
from .listing import Listed

FILES = {"train": "train", "test": "t10k"}
SPLITS = ("train", "train:kept", "train:held_out", "test")
PARTS = 12  # of the training digits, the last of which is held out
SIDE = 28
UNSIGNED_BYTE = 8
GZIP = b"\x1f\x8b"


class MNIST:
    """The 60,000 training images or the 10,000 test images of handwritten digits, in the official order.

    Sample: image (28, 28, 3) uint8, its channels equal, white on black; label int, 0 .. 9; id str (split and index).
    `digits` (N, 28, 28) uint8 and `labels` (N,) int64 are all of the split, read here.

    Raises ValueError for another split, and with the path at fault: a missing or damaged file, a header that is not
    that of such a file, unequal counts of images and labels.
    """

    classes = tuple("0123456789")

    def __init__(self, root: str | PathLike, split: str = "train"):
        if split not in SPLITS:
            raise ValueError(f"MNIST: split must be one of {', '.join(SPLITS)}, got {split!r}")
        self.root, self.split, (file, _, part) = Path(root), split, split.partition(":")
        if not self.root.is_dir():
            raise missing(root, "folder", "give the one that holds train-images-idx3-ubyte(.gz)")
        ends = "images-idx3-ubyte", "labels-idx1-ubyte"
        images, labels = (_find(self.root / f"{FILES[file]}-{end}") for end in ends)
        self.digits, self.labels = read_idx(images), read_idx(labels).astype(np.int64)
        n, sizes = len(self.digits), self.labels.shape
        if self.digits.shape != (n, SIDE, SIDE):
            raise ValueError(f"{images}: must hold images of {SIDE}x{SIDE}, has the sizes {self.digits.shape}")
        if sizes != (n,):
            raise ValueError(f"{labels}: must hold a label for each of {n} images, has the sizes {sizes}")
        if (worst := self.labels.max(initial=0)) > 9:
            raise ValueError(f"{labels}: labels must lie in 0 .. 9, label {self.labels.argmax()} is {worst}")
        if part:
            kept = n * (PARTS - 1) // PARTS
            chosen = slice(kept) if part == "kept" else slice(kept, None)
            self.digits, self.labels = self.digits[chosen], self.labels[chosen]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        index = range(len(self))[index]
        return {"id": f"{self.split}/{index}", "image": rgb(self.digits[index]), "label": int(self.labels[index])}

    def listing(self) -> Iterator[Listed]:
        """The id and size of each image."""
        return (Listed(f"{self.split}/{index}", (SIDE, SIDE)) for index in range(len(self)))


def rgb(grey: np.ndarray) -> np.ndarray:
    """(H, W, 3) of (H, W): three equal channels, a copy."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def read_idx(path: str | PathLike) -> np.ndarray:
    """The array of unsigned bytes in an IDX file, gzipped or not, whatever its name says; read-only.

    Raises ValueError with the path: a damaged file, another type of values, more or fewer values than the header says.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        file = io.BytesIO(gzip.decompress(content) if content.startswith(GZIP) else content)
    except FileNotFoundError:
        raise missing(path, advice="give the folder that holds it") from None
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read ({error}); copy it again") from error
    sizes = _read_header(path, file)
    values, count = file.read(), math.prod(sizes)
    if len(values) != count:
        says = f"{' x '.join(map(str, sizes))} = {count} values"
        raise ValueError(f"{path}: its header says {says}, it holds {len(values)}; copy it again")
    return np.frombuffer(values, np.uint8).reshape(sizes)


def _read_header(path, file):
    """The sizes of the array."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(
            f"{path}: is no IDX file: must begin with two zero bytes, begins with {magic[:2].hex(' ') or 'nothing'}"
        )
    if magic[2] != UNSIGNED_BYTE:
        raise ValueError(f"{path}: must hold unsigned bytes (IDX type 08), holds type {magic[2]:02x}")
    sizes = file.read(4 * magic[3])
    if not sizes or len(sizes) < 4 * magic[3]:
        raise ValueError(f"{path}: its header says {magic[3]} sizes, there are {len(sizes) // 4}; copy it again")
    return tuple(np.frombuffer(sizes, ">u4").tolist())


def _find(path):
    """The path as it is, or with .gz; a dot for the hyphen, as some copies have it (train-images.idx3-ubyte)."""
    dotted = path.with_name(path.name.replace("-idx", ".idx"))
    for each in (path, path.with_name(f"{path.name}.gz"), dotted, dotted.with_name(f"{dotted.name}.gz")):
        if each.is_file():
            return each
    raise missing(path, "file", "give the folder that holds it, plain or with .gz")
