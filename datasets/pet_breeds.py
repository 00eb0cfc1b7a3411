"""Photographs of pets with their breed: root/images, and root/index.csv with the columns name, split and breed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from .classes import alike, checked_classes
from .files import composed
from .header_index import HeaderIndex
from .headers import notes_on
from .index_file import names_in, read_index
from .listing import Listed
from .lists import find_all
from .pictures import none_left, pictures, read_image


class PetBreeds:
    """Sample: image (H, W, 3) uint8; label int, 0 for `classes[0]`; id str, the name in the index.

    The splits are trainval and test; train and val are parts of trainval (every fifth, by name, is val), unless the
    index has a val. classes: breeds in the order of their labels (default: all of the index, sorted); photographs of
    others are left out. `counts` has the photographs of each breed, `problems` what looks wrong. Raises ValueError
    for a missing or damaged index, a split or breed that it does not have, and a picture that is missing or damaged.

    Reference: Parkhi et al. 2012, Cats and dogs, the Oxford-IIIT pet data set.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        path, folder = Path(root) / "index.csv", Path(root) / "images"
        index = read_index(path, "breed")
        breeds = {name: composed(row["breed"]) for name, row in index.items()}
        known = sorted(set(breeds.values()))
        self.classes = checked_classes(self, known if classes is None else [composed(name) for name in classes])
        if lost := [name for name in self.classes if name not in known]:
            raise ValueError(f"{path}: has no photograph of the breed {lost[0]!r}; breeds there: {', '.join(known)}")
        names = [name for name in names_in(index, split, path) if breeds[name] in self.classes]
        held = pictures(folder)
        files = [held[name] for (name,) in find_all([(str(path), name) for name in names], (folder, held))]
        if len(files) < len(names):
            raise ValueError(f"{path}: two of its names are one picture; remove one of the lines")
        kept = HeaderIndex(folder)
        self.items = [
            (name, file, header, self.classes.index(breeds[name]))
            for name, file, header in zip(names, files, kept.read(files))
            if header is not None
        ]
        if not self.items:
            raise none_left(folder, len(names))
        counts = Counter(label for *_, label in self.items)
        self.counts = {name: counts[label] for label, name in enumerate(self.classes)}
        notes = notes_on({file: header for _, file, header, _ in self.items}, annotated=False)
        notes += [f"{name} has no picture in this split" for name, count in self.counts.items() if not count]
        self.problems = [f"{folder}: {note}" for note in notes + alike(self.classes) + kept.notes]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        name, file, _, label = self.items[index]
        return {"id": name, "image": read_image(file), "label": label}

    def listing(self) -> Iterator[Listed]:
        """The name, size and file of each picture."""
        return (Listed(name, header[:2], file) for name, file, header, _ in self.items)
