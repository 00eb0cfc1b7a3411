"""Reader for pictures in a folder for each class.

root/train/cat/1.jpg, root/train/dog/1.jpg     so root/val/..., root/test/...
root/cat/1.jpg, root/dog/1.jpg                 one folder for all: a fifth of each class, drawn by a seed, is "val"
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from .classes import alike, checked_classes, chosen
from .files import PICTURES, UNREAD, composed, is_hidden, missing, names_below, shorten
from .header_index import HeaderIndex
from .headers import notes_on
from .listing import Listed
from .pictures import none_left, read_image, without_ending
from .splits import ALIASES, canonical, names_of_split, random_fifth


class ClassFolders:
    """Pictures with the class that their folder names. Sample: image (H, W, 3) uint8; label int, 0 for `classes[0]`;
    id str, the file as it lies in the folder of the split, such as cat/1.jpg.

    Where root has a folder for the split (or for "val" one called valid or validation) its folders are the classes.
    Where root has only train, or no splits at all, a fifth of the pictures of each class is "val", the rest is "train",
    and all are "trainval"; seed chooses which. classes: names in the order of their labels (default: all in the folder
    of the split, sorted); pictures of others are left out. absent: some classes, those of a model, may have no folder.

    Of each file the header is read here, about 0.1 ms. `labels` are those of all pictures, `counts` has the number of
    pictures of each class; `problems` says which classes have none, and what else looks wrong. Raises ValueError for a
    missing folder or split, no picture, a class that is not there in any split, and a picture that is damaged.
    """

    def __init__(
        self,
        root: str | PathLike,
        split: str = "train",
        classes: Sequence[str] | None = None,
        *,
        seed: int = 0,
        absent: bool = False,
    ):
        self.root, self.split = Path(root), split
        if not self.root.is_dir():
            raise missing(root, "folder", "give the one that holds train, val, or the folders of the classes")
        split = canonical(split)
        folder, drawn, others = _folder_of(self.root, split)
        found, unread = {}, []
        for name, path in names_below(folder, PICTURES + UNREAD):
            if name.lower().endswith(UNREAD):
                unread.append(name)
            else:
                found.setdefault(name.split("/")[0] if "/" in name else None, []).append((name, path))
        loose = found.pop(None, [])
        if not found:
            raise ValueError(f"{folder}: holds no folder with pictures; give each class a folder")
        known = {*found, *(composed(path.name) for other in others for path in other.iterdir())}
        classes = (
            sorted(found) if classes is None else chosen(folder, "folder of the class", sorted(known), classes, absent)
        )
        self.classes = checked_classes(self, classes)
        self.items = []  # (id, path, label)
        for label, name in enumerate(self.classes):
            files = found.get(name, [])
            files = random_fifth(files, split, self.root, seed + label) if drawn else files
            self.items += [(file, path, label) for file, path in files]
        if not self.items:
            raise ValueError(
                f"{folder}: holds no picture of the split {split!r} and the classes {shorten(self.classes)}"
            )
        unkept = self._read_headers(folder)
        self.labels = [label for *_, label in self.items]
        counts = Counter(label for _, _, label in self.items)
        self.counts = {name: counts[label] for label, name in enumerate(self.classes)}
        empty = sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
        empty = [name for name in empty if composed(name) not in found]
        notes = self._notes(found, loose, drawn, empty) + _unread(unread) + unkept
        self.problems = [f"{folder}: {note}" for note in notes]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        name, path, label = self.items[index]
        return {"id": name, "image": read_image(path), "label": label}

    def listing(self) -> Iterator[Listed]:
        """The id, size and file of each picture."""
        return (Listed(name, header[:2], path) for (name, path, _), header in zip(self.items, self.headers))

    def _read_headers(self, folder) -> list[str]:
        """The header of each picture; what there is to say about the file that keeps them."""
        index = HeaderIndex(folder)
        headers = index.read([path for _, path, _ in self.items])
        if not any(headers):
            raise none_left(folder, len(headers))
        self.items = [item for item, header in zip(self.items, headers) if header]
        self.headers = [header for header in headers if header]
        return index.notes

    def _notes(self, found, loose, drawn, empty) -> list[str]:
        notes = [f"holds all splits; {len(self)} pictures, drawn by a seed, are {self.split}"] if drawn else []
        notes += [f"{name} has no picture in this split" for name, count in self.counts.items() if not count]
        if len(self.classes) == 1:
            notes.append(f"{self.classes[0]} is the only class: there is nothing to tell apart")
        if empty:
            notes.append(f"{len(empty)} folders hold no picture: {shorten(empty)}")
        if left := [name for name in found if name not in self.classes]:
            notes.append(f"{len(left)} folders are not among the classes and are left out: {shorten(left)}")
        if loose:
            notes.append(f"{len(loose)} pictures lie in no folder of a class and are left out (first: {loose[0][0]})")
        several = len({os.path.splitext(path)[1] for _, path, _ in self.items}) > 1  # endings
        stems = Counter(without_ending(name) for name, _, _ in self.items) if several else {}
        twice = [name for name, n in stems.items() if n > 1]
        if twice:
            notes.append(f"{len(twice)} names come twice, with other endings, and all are used (first: {twice[0]})")
        headers = dict(zip((path for _, path, _ in self.items), self.headers))
        return notes + alike(self.classes, self.counts) + notes_on(headers, annotated=False)


def _unread(found: list[str]) -> list[str]:
    """A line about pictures of kinds that are not read."""
    if not found:
        return []
    return [f"{len(found)} files are of kinds that are not read (first: {found[0]}); save them as JPEG or PNG"]


def _folder_of(root: Path, split: str) -> tuple[Path, bool, list[Path]]:
    """(the folder that holds those of the classes, whether the split is to be drawn from it, all folders of splits)."""
    there, inside = {}, {path.name.casefold(): path for path in root.iterdir() if _holds_classes(path)}
    for name in {**ALIASES, split: ()}:  # Train and VAL are splits, too
        folders = [inside[each.casefold()] for each in names_of_split(name) if each.casefold() in inside]
        there |= {name: folders[0]} if folders else {}
    folders, only_train = list(there.values()), list(there) == ["train"]
    if not there:
        return root, split != "trainval", [root]
    if only_train and split in ("train", "val", "trainval"):
        return there["train"], split != "trainval", folders
    if split not in there:
        named = ", ".join(folder.name for folder in folders)
        raise ValueError(f"{root}: has no folder of the split {split!r}, but {named}")
    return there[split], False, folders


def _holds_classes(folder: Path) -> bool:
    """Whether a folder holds folders, so that it is one of a split; a class called train holds pictures."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as inside:  # knows without asking for each of a million files whether it is a folder
        return any(each.is_dir() and not is_hidden(each.name) for each in inside)
