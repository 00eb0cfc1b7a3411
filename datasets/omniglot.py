"""Reader for Omniglot: handwritten characters of many alphabets, each drawn once by twenty people.

images_background*.zip    NAME/ALPHABET/characterNN/XXXX_YY.png, YY the drawer; so images_evaluation.zip
all_runs.zip              20 runs: runNN/training/classKK.png, runNN/test/itemKK.png, runNN/class_labels.txt

Images are 105x105, black on white. In a one-shot run each of 20 test images is of one of 20 classes, of which there is
one training image each.

Reference: Lake, Salakhutdinov and Tenenbaum 2015, Human-level concept learning through probabilistic program induction.
"""

import io
import zipfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from .files import missing
from .listing import Listed
from .mnist import rgb

SIDE = 105
VAL_PART = 5  # one of so many alphabets is for validation
RUNS = "all_runs.zip"
SPLITS = ("train", "val", "trainval", "test")


class Omniglot:
    """Characters as classes. Sample: image (105, 105, 3) uint8; label int; id str, such as Greek/character01/0394_02.

    split: "train" and "val", other alphabets each: the last fifth of them in alphabetical order is "val"; "trainval":
    all of images_background*.zip; "test": those of images_evaluation.zip. rotations: each character turned by 0, 90,
    180 and 270 degrees makes four classes, as in Santoro et al. 2016, arXiv:1605.06065, sec. 4.1.

    `labels` (N,) int64, `alphabets` and `drawers` (N,) of the samples. Raises ValueError with the path: a missing or
    damaged file, an image of another size, an unknown split, a split without an alphabet.
    """

    def __init__(self, root: str | PathLike, split: str = "train", rotations: bool = False):
        if split not in SPLITS:
            raise ValueError(f"Omniglot: split must be one of {', '.join(SPLITS)}, got {split!r}")
        self.root, self.split, self.turns = Path(root), split, 4 if rotations else 1
        path = _archive(self.root, "images_evaluation" if split == "test" else "images_background")
        names, images = read_pictures(path)
        parts = [name.removesuffix(".png").split("/")[-3:] for name in names]
        there = sorted({alphabet for alphabet, _, _ in parts})
        held = len(there) - max(1, len(there) // VAL_PART) if split in ("train", "val") else 0
        wanted = set({"train": there[:held], "val": there[held:]}.get(split, there))
        if not wanted:
            raise ValueError(f"{path}: has {len(there)} alphabets, too few for a split {split!r}; take trainval")
        kept = [i for i, (alphabet, _, _) in enumerate(parts) if alphabet in wanted]
        self.images, self.ids = images[kept], ["/".join(parts[i]) for i in kept]
        characters = ["/".join(parts[i][:2]) for i in kept]
        self.characters = sorted(set(characters))
        own = np.array([self.characters.index(name) for name in characters], np.int64)
        self.labels = np.concatenate([own + turn * len(self.characters) for turn in range(self.turns)])
        self.alphabets = np.array([parts[i][0] for i in kept] * self.turns)
        self.drawers = np.array([parts[i][2].rpartition("_")[2] for i in kept] * self.turns)
        endings = ("", *(f", turned {90 * turn}" for turn in range(1, self.turns)))
        self.classes = tuple(name + ending for ending in endings for name in self.characters)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        index = range(len(self))[index]
        turn, which = divmod(index, len(self.ids))
        image = np.rot90(self.images[which], turn)
        return {"id": self._id(index), "image": rgb(image), "label": int(self.labels[index])}

    def listing(self) -> Iterator[Listed]:
        """The id and size of each image."""
        return (Listed(self._id(index), (SIDE, SIDE)) for index in range(len(self)))

    def _id(self, index):
        turn, which = divmod(index, len(self.ids))
        return self.ids[which] + (f", turned {90 * turn}" if turn else "")


class OmniglotRuns:
    """The published one-shot runs. Sample: image, id, label int, run int, and support bool: the one image of a class.

    The classes are those of all runs: label 20 r + k is class k of run r. Raises ValueError with the path: a missing or
    damaged file, a run whose class_labels.txt names an image that is not there.
    """

    def __init__(self, root: str | PathLike):
        self.path = Path(root) / RUNS
        if not self.path.is_file():
            raise missing(self.path, advice="give the folder that holds it")
        names, self.images = read_pictures(self.path)
        self.index = {name: i for i, name in enumerate(names)}
        self.items, self.classes = [], ()
        for run, (folder, text) in enumerate(_class_labels(self.path)):
            pairs = [line.split() for line in text.splitlines() if line.strip()]
            if not pairs or any(len(pair) != 2 or not {*pair} <= self.index.keys() for pair in pairs):
                wanted = "lines of two images of the archive, a test and a training image"
                raise ValueError(f"{self.path}: class_labels.txt of {folder} must hold {wanted}; copy it again")
            supports = sorted({training for _, training in pairs})
            labels = {name: len(self.classes) + k for k, name in enumerate(supports)}
            self.items += [(name, labels[name], run, True) for name in supports]
            self.items += [(test, labels[training], run, False) for test, training in pairs]
            self.classes += tuple(name.removesuffix(".png") for name in supports)
        if not self.items:
            raise ValueError(f"{self.path}: holds no class_labels.txt of a run; give the archive as published")

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        name, label, run, support = self.items[index]
        image = rgb(self.images[self.index[name]])
        return {"id": name, "image": image, "label": label, "run": run, "support": support}

    def listing(self) -> Iterator[Listed]:
        """The id and size of each image."""
        return (Listed(name, (SIDE, SIDE)) for name, _, _, _ in self.items)


class OneShotTrials:
    """One-shot runs drawn from characters as the published ones are: `ways` characters of one alphabet, two drawers.

    The one drawer's images are the supports, the other's are to be recognised. Samples as those of OmniglotRuns. Run r
    depends on (seed, r) alone. Raises ValueError where no alphabet has as many characters.
    """

    def __init__(self, characters: Omniglot, runs: int = 40, ways: int = 20, seed: int = 0):
        self.characters, self.classes, self.items = characters, (), []
        alphabets = [
            name
            for name in np.unique(characters.alphabets)
            if len(np.unique(characters.labels[characters.alphabets == name])) >= ways
        ]
        if not alphabets:
            raise ValueError(f"OneShotTrials: no alphabet of the split has {ways} characters")
        for run in range(runs):
            rng = np.random.default_rng([seed, run])
            inside = characters.alphabets == alphabets[rng.integers(len(alphabets))]
            labels = rng.choice(np.unique(characters.labels[inside]), ways, replace=False)
            drawers = rng.choice(np.unique(characters.drawers[inside]), 2, replace=False)
            for drawer, support in zip(drawers, (True, False)):
                for k, label in enumerate(labels):
                    (which,) = np.flatnonzero((characters.labels == label) & (characters.drawers == drawer))[:1]
                    self.items.append((int(which), run * ways + k, run, support))
            self.classes += tuple(f"run{run + 1:02d}/{characters.classes[label]}" for label in labels)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        which, label, run, support = self.items[index]
        sample = self.characters[which]
        return sample | {"id": f"run{run + 1:02d}/{sample['id']}", "label": label, "run": run, "support": support}

    def listing(self) -> Iterator[Listed]:
        """The id and size of each image."""
        return (
            Listed(f"run{run + 1:02d}/{self.characters.ids[which]}", (SIDE, SIDE)) for which, _, run, _ in self.items
        )


def read_pictures(path: Path) -> tuple[list[str], np.ndarray]:
    """The names in order, and the images (N, 105, 105) uint8, of all PNGs in a zip file; ValueError with the path."""
    names, images = [], []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".png") and not name.startswith("__MACOSX"):
                    image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L"))
                    if image.shape != (SIDE, SIDE):
                        raise ValueError(
                            f"{name} must have {SIDE}x{SIDE} pixels, has {image.shape[1]}x{image.shape[0]}"
                        )
                    names.append(name)
                    images.append(image)
    except Exception as error:  # zipfile and Pillow raise many types on damaged data
        raise ValueError(f"{path}: cannot be read ({error}); copy it again") from error
    if not names:
        raise ValueError(f"{path}: holds no PNG; give the archive as published")
    return names, np.stack(images)


def _class_labels(path):
    """(folder, text of its class_labels.txt) of each run, in order; ValueError with the path."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/class_labels.txt")]
            names = sorted(name for name in names if not name.startswith("__MACOSX"))
            return [(name.split("/")[-2], archive.read(name).decode()) for name in names]
    except Exception as error:  # zipfile raises many types on damaged data
        raise ValueError(f"{path}: cannot be read ({error}); copy it again") from error


def _archive(root, beginning):
    """The archive of this kind in a folder: the whole one where there are several."""
    if not root.is_dir():
        raise missing(root, "folder", f"give the one that holds {beginning}.zip and {RUNS}")
    found = sorted(root.glob(f"{beginning}*.zip"), key=lambda path: len(path.name))
    if not found:
        raise ValueError(f"{root}: holds no {beginning}.zip or {beginning}_small1.zip; give the folder that does")
    return found[0]
