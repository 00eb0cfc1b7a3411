"""Features of all regions of a data set, in files: more than memory holds, computed once.

    FOLDER/store.json    what the features depend on, how many regions each image has, how wide the layers are
    FOLDER/regions.npy   (rows, 11 + classes) float32: see the columns below
    FOLDER/LAYER.npy     (rows, width) float16, a memory map
    FOLDER/done.npy      (images,) bool: what was stored before a kill is not computed again

Reference: Girshick et al. 2014, R-CNN, arXiv:1311.2524, sec. 2.2 and 2.3.
"""

import errno
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nn.io.checkpoint import replacing

# Columns of regions.npy: the region; the object that it overlaps most, its label (0: no object) and the IoU; the label
# where the region is the box of an object itself, else 0; then, for each class, the largest IoU with its objects.
BOX, OBJECT, LABEL, IOU, TRUTH, OVERLAPS = slice(0, 4), slice(4, 8), 8, 9, 10, 11


class FeatureStore:
    """The store in a folder, made if there is none.

    of: JSON-able, what the features depend on; counts: regions of each image; layers: {name: width}. Attributes:
    regions (rows, 11 + classes), counts, starts: the first row of each image, new: whether it was made now.

    Raises OSError where the disk has not enough room, before anything is written, and ValueError where the folder holds
    features of another model or of other regions.
    """

    def __init__(self, folder: str | os.PathLike, of: Mapping, counts: Sequence[int], layers: Mapping, classes: int):
        self.folder, self.layers, self.counts = Path(folder), dict(layers), np.array(counts, np.int64)
        self.starts, self.rows = np.cumsum(self.counts) - self.counts, int(self.counts.sum())
        self.bytes = self.rows * (2 * sum(layers.values()) + 4 * (OVERLAPS + classes))
        about = {"of": dict(of), "layers": self.layers, "counts": self.counts.tolist(), "classes": classes}
        self.new = not (self.folder / "store.json").exists()
        if self.new:
            self._make(about, classes)
        else:
            self._compare(about)
        self.regions, self._done = self._open("regions"), self._open("done")
        self._features = {layer: self._open(layer) for layer in self.layers}

    def __str__(self) -> str:
        widths = " + ".join(f"{layer} {width}" for layer, width in self.layers.items())
        return f"{self.rows} regions of {len(self.counts)} images, {widths}: {self.bytes / 1e9:.2f} GB in {self.folder}"

    def _make(self, about, classes):
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if self.bytes > free:
            needed = f"features need {self.bytes / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB left"
            advice = "free some space, store fewer regions or a narrower layer"
            raise OSError(errno.ENOSPC, f"{needed}: {advice}", self.folder)
        arrays = {"regions": ((self.rows, OVERLAPS + classes), np.float32), "done": ((len(self.counts),), bool)}
        arrays |= {layer: ((self.rows, width), np.float16) for layer, width in self.layers.items()}
        for name, (shape, dtype) in arrays.items():
            np.lib.format.open_memmap(self.folder / f"{name}.npy", "w+", dtype, shape).flush()
        with replacing(self.folder / "store.json") as file:
            file.write(json.dumps(about, indent=1).encode())

    def _compare(self, about):
        try:
            held = json.loads((self.folder / "store.json").read_text())
            differ = [name for name, value in about.items() if held[name] != value]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{self.folder}: damaged, not a store of features; remove the folder") from None
        if differ:
            other = {"of": "model", "layers": "choice of layers", "counts": "set of regions", "classes": "data set"}
            raise ValueError(f"{self.folder}: of another {other[differ[0]]}; remove the folder to store features anew")

    def _open(self, name):
        try:
            return np.load(self.folder / f"{name}.npy", mmap_mode="r+")
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.folder}: damaged, {name}.npy: {error}; remove the folder") from error

    def is_done(self, image: int) -> bool:
        """Whether the features of an image are stored."""
        return bool(self._done[image])

    def write(self, image: int, regions: np.ndarray, features: Mapping[str, np.ndarray]):
        """Store an image: regions (K, 11 + classes), and of each layer features (K, width)."""
        rows = slice(self.starts[image], self.starts[image] + self.counts[image])
        self.regions[rows] = regions
        for layer, own in features.items():
            with np.errstate(over="ignore"):
                self._features[layer][rows] = own
            if not np.isfinite(self._features[layer][rows]).all():
                raise ValueError(f"{self.folder}: {layer} reaches {abs(own).max():.3g}, which float16 cannot hold")
        self._done[image] = True

    def flush(self):
        """All that was written is on the disk."""
        for array in (*self._features.values(), self.regions, self._done):
            array.flush()

    def read(self, layer: str, rows) -> np.ndarray:
        """(n, width) float32 of a layer; rows: indices or a slice."""
        return self._features[layer][rows].astype(np.float32)

    def of_image(self, image: int) -> slice:
        """The rows of an image."""
        return slice(int(self.starts[image]), int(self.starts[image] + self.counts[image]))


def reopened(folder: str | os.PathLike, of: Mapping) -> FeatureStore:
    """The store that is in a folder. Raises ValueError where there is none, or one of another model."""
    try:
        about = json.loads((Path(folder) / "store.json").read_text())
        return FeatureStore(folder, of, about["counts"], about["layers"], about["classes"])
    except (OSError, KeyError, TypeError, json.JSONDecodeError):
        raise ValueError(f"{folder}: holds no store of features, or a damaged one; start the run anew") from None
