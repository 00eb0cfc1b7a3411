"""Where the pictures and the text files of a YOLO folder are; the reader of the data set is yolo.py."""

import os
from pathlib import Path

from .files import PICTURES, composed, files_below, is_absolute, meant
from .lists import find_all, read_list
from .pictures import pictures, without_ending
from .splits import ALIASES, every_fifth, names_of_split
from .yolo_config import Config


def pictures_of(root: Path, split: str, config: Config) -> tuple[list[str], dict[str, Path]]:
    """Notes, and {name relative to root: file} of the pictures of a split."""
    if split in config.splits:
        found = {}
        for text in config.splits[split]:
            found |= _pictures_at(root, _inside(root, text, config))
        return [], found
    if place := _place_of(root, split):
        return [], _pictures_at(root, place)
    if there := [name for name in ALIASES if name in config.splits or _place_of(root, name)]:
        raise ValueError(
            f"{root}: has no split {split!r} (in data.yaml, images/{split}, {split}/images, {split}.txt), "
            f"but {', '.join(there)}"
        )
    folder = root / "images" if (root / "images").is_dir() else root
    found = _pictures_at(root, folder)
    chosen = every_fifth(list(found), split, root)
    note = f"has no data.yaml, lists or folders of splits; {len(chosen)} pictures, chosen by name, are {split}"
    return [note], {name: found[name] for name in chosen}


def _place_of(root: Path, split: str) -> Path | None:
    """The folder or list of a split that is there."""
    candidates = (
        root / path
        for name in names_of_split(split)
        for path in (f"images/{name}", f"{name}/images", f"{name}.txt", name)
    )
    return next((path for path in candidates if path.exists()), None)


def _pictures_at(root: Path, place: Path) -> dict[str, Path]:
    """{name relative to root: file} of the pictures below a folder, or in a list."""
    if place.is_file():
        known = pictures(root)
        return {name: known[name] for (name,) in find_all(read_list(place, root), (root, known))}
    prefix = place.relative_to(root).as_posix()
    found = {name if prefix == "." else f"{composed(prefix)}/{name}": path for name, path in pictures(place).items()}
    if not found:
        raise ValueError(f"{place}: holds no picture")
    return found


def _inside(root: Path, text: str, config: Config) -> Path:
    """The folder or list in root that data.yaml means. Its paths begin anywhere: at root, at `path`, at its parent
    ("../train/images"), or on another machine; what counts is the end that is found in root.
    """
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    bases = [part for part in config.base.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    tails = [bases[i:] + parts for i in range(len(bases))] if not is_absolute(text) else []
    for tail in (*tails, *(parts[i:] for i in range(max(len(parts), 1)))):
        if os.path.exists(root.joinpath(*tail)):
            return root.joinpath(*tail)
    advice = meant(root.joinpath(*parts), "paths are relative to the folder of this file", root)
    raise ValueError(f"{config.source}: {text!r} is not in {root}; {advice}")


def label_places(name: str) -> list[str]:
    """Where the text file of a picture may be, relative to root: "images" becomes "labels", or beside it."""
    folders = name.split("/")[:-1]
    stem = name.split("/")[-1]
    at = next((i for i in reversed(range(len(folders))) if folders[i].lower() == "images"), None)
    folders_of_labels = [] if at is None else [[*folders[:at], "labels", *folders[at + 1 :]]]
    return ["/".join([*place, f"{stem}.txt"]) for place in (*folders_of_labels, folders, ["labels", *folders])]


def label_file(name: str, texts: dict[str, Path]) -> Path | None:
    """The text file of a picture. texts: by name relative to root, case folded."""
    return next((texts[file.casefold()] for file in label_places(name) if file.casefold() in texts), None)


def without_pictures(root: Path, labels: dict[str, Path | None], texts: dict[str, Path]) -> list[str]:
    """A line that counts the text files in folders called labels to which no picture belongs, in whatever split."""
    stems = {without_ending(Path(name).name).casefold() for name, _ in files_below(root, PICTURES)}
    folders = {file.parent for file in labels.values() if file}
    folders = {folder for folder in folders if "labels" in folder.relative_to(root).as_posix().lower().split("/")}
    lost = [file for file in texts.values() if file.parent in folders and composed(file.stem).casefold() not in stems]
    lost = [file for file in lost if file.name != "classes.txt"]
    return [f"{len(lost)} text files have no picture (first: {lost[0].relative_to(root)})"] if lost else []
