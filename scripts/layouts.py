"""Kinds of data, their splits, and what a folder looks like: for a wrong --data or --root, what may be meant."""

from argparse import Namespace
from collections.abc import Container
from difflib import get_close_matches
from pathlib import Path

from datasets.files import PICTURES, files_in
from scripts.readers import READERS, readers_of

MOST = 50  # folders beside or below a wrong --root that are looked at


def default_splits(task: str, data: str, root: str | None = None) -> tuple[str | None, str | None]:
    """The default splits for training and validation; (None, None) for an unknown kind of data.

    Of a VOC folder whose lists are train and val, these.
    """
    readers = readers_of(task)
    if data not in readers:
        return None, None
    lists = Path(root or "") / "ImageSets" / "Main"
    if data == "voc" and readers[data].train == "trainval" and not (lists / "trainval.txt").is_file():
        if all((lists / f"{split}.txt").is_file() for split in ("train", "val")):
            return "train", "val"
    return readers[data].train, readers[data].val


def nearest(task: str, data: str) -> str:
    """The nearest kind of data for a task, or the tasks that have the one of this name; "" where there is none."""
    others = [other for other in READERS if data in READERS[other]]
    near = get_close_matches(data, readers_of(task), 1)
    if others:
        return f": that is data for {', '.join(others)}"
    return f": did you mean {near[0]}?" if near else ""


def looks_like(root: Path) -> str | None:
    """The NAME of --data whose layout a folder has; None where it has none of them for sure."""
    here = {path.name: path for path in _inside(root)}
    labels = [path.suffix.lower() for path in _inside(root / "labels")]
    annotations = [path.name for path in (*here.values(), *_inside(root / "annotations")) if path.suffix == ".json"]
    folders = [path for path in here.values() if path.is_dir()]
    if {"JPEGImages", "Annotations"} <= here.keys():
        return "voc"
    if "captions.json" in here:
        return "listed_captions"
    if any("instances" in name or "_annotations.coco" in name for name in annotations):
        return "coco"
    if any(path.suffix == ".tar" for path in (*here.values(), *_inside(root / "train"))):
        return "shards"
    if "classes.txt" in here and "images" in here and set(labels) & set(PICTURES):
        return "folders"
    if {"data.yaml", "dataset.yaml"} & here.keys() or ".txt" in labels:
        return "yolo"
    if len(folders) > 1 and all(files_in(folder, PICTURES) for folder in folders):
        return "class_folders"
    return None


def meant(arguments: Namespace, readers: Container[str]) -> str:
    """What may be wrong with --root, --data or --classes where they cannot be read, in a few words; "" for nothing."""
    root, classes = Path(arguments.root), arguments.classes or ()
    if any("," in name for name in classes):
        return f"; --classes takes names with spaces between them: --classes {' '.join(classes).replace(',', ' ')}"
    if (kind := looks_like(root)) in readers:
        return f"; {root} looks like data for --data {kind}" if kind != arguments.data else ""
    for folder in (root.parent, *(each for each in _inside(root) if each.is_dir())):
        if looks_like(folder) == arguments.data:
            return f"; did you mean --root {folder}?"
    return ""


def _inside(folder: Path) -> list[Path]:
    """What a folder holds, MOST entries at most."""
    try:
        return sorted(folder.iterdir())[:MOST] if folder.is_dir() else []
    except OSError:
        return []
