"""Readers for photographs with captions: COCO's annotation file, a list of images in JSON, Flickr8k's token file."""

import json
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from .images import image_size, read_image


class Captioned(NamedTuple):
    """An image file and what people wrote below it."""

    id: str
    path: Path
    captions: list[str]


class CaptionedImages:
    """Photographs, each with one or more captions.

    Sample: image (H, W, 3) uint8; caption list of str; id str. `captions` (a list for each image) has them all without
    reading an image: for a vocabulary.

    source: the file that all this stands in, for the messages. Raises ValueError, before anything is trained: for no
    image at all, an image file that is missing or damaged, an image that is listed twice or has no caption, an empty
    caption. Of each image file the header is read, about 0.1 ms.
    """

    def __init__(self, source: str | PathLike, records: Iterable[Captioned]):
        self.source, self.records, seen = Path(source), [], {}
        for record in records:
            if record.id in seen or record.path in seen:
                raise ValueError(f"{source}: image {record.id} ({record.path.name}) is listed twice; remove one")
            seen[record.id] = seen[record.path] = True
            self.records.append(record._replace(captions=_checked(source, record)))
        if not self.records:
            raise ValueError(f"{source}: lists no image")
        for record in self.records:
            image_size(record.path)
        self.captions = [record.captions for record in self.records]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        record = self.records[index]
        return {"id": record.id, "image": read_image(record.path), "caption": list(record.captions)}


class COCOCaptions(CaptionedImages):
    """Captions in COCO's layout, such as annotations/captions_val2017.json and the folder val2017.

        {"images": [{"id": 285, "file_name": "000000000285.jpg", ...}, ...],
         "annotations": [{"id": 1, "image_id": 285, "caption": "A bear."}, ...], ...}

    Raises ValueError as CaptionedImages does, and for a file that is not readable as JSON of this form, captions of an
    image that is not listed, and a caption's id that comes twice.

    Reference: Chen et al. 2015, arXiv:1504.00325.
    """

    def __init__(self, annotations: str | PathLike, images: str | PathLike):
        path, folder = Path(annotations), _folder(images)
        content = _read_json(path)
        if not isinstance(content, dict):
            raise ValueError(f"{path}: must hold an object with 'images' and 'annotations', is a {_kind(content)}")
        listed = _entries(path, content.get("images"), "images", id=int, file_name=str)
        written = _entries(path, content.get("annotations"), "annotations", id=int, image_id=int, caption=str)
        captions, seen = {image["id"]: [] for image in listed}, set()
        for i, annotation in enumerate(written):
            if annotation["id"] in seen:
                raise ValueError(f"{path}: annotations[{i}]: the id {annotation['id']} comes twice; remove one")
            if annotation["image_id"] not in captions:
                raise ValueError(f"{path}: annotations[{i}]: there is no image {annotation['image_id']} under 'images'")
            seen.add(annotation["id"])
            captions[annotation["image_id"]].append(annotation["caption"])
        super().__init__(
            path, (Captioned(str(v["id"]), folder / v["file_name"], captions[v["id"]]) for v in listed)
        )  # fmt: skip


class ListedCaptions(CaptionedImages):
    """One split of a list of images in JSON: root/captions.json, and the files in root/images.

        [{"id": 285, "file": "000000000285.jpg", "split": "train", "captions": ["A bear.", ...], ...}, ...]

    Raises ValueError as CaptionedImages does, for a file that is not readable as JSON of this form, and for a split
    that no image belongs to.
    """

    def __init__(self, root: str | PathLike, split: str = "train"):
        path, folder = Path(root) / "captions.json", _folder(Path(root) / "images")
        entries = _entries(path, _read_json(path), "the list", id=int, file=str, split=str, captions=list)
        self.split, splits = split, sorted({entry["split"] for entry in entries})
        if split not in splits:
            raise ValueError(f"{path}: has no split {split!r}, but {', '.join(splits) or 'no image at all'}")
        chosen = [entry for entry in entries if entry["split"] == split]
        super().__init__(path, (Captioned(str(e["id"]), folder / e["file"], e["captions"]) for e in chosen))


class Flickr8kCaptions(CaptionedImages):
    """Captions in the layout of Flickr8k (and Flickr30k): a token file, a folder of images, the names of a split.

        Flickr8k.token.txt           name.jpg#0, a tab, the caption; #0 to #4 for the five of an image
        Flickr_8k.trainImages.txt    the names of the split, one a line; None: all images of the token file

    Raises ValueError as CaptionedImages does, for a line of another form, a caption's number that comes twice, and a
    name in the list that has no caption. (The published token file names an image, 2258277193_586949ec62.jpg.1, that
    there is not: no list of a split has it.)

    Reference: Hodosh et al. 2013, Framing image description as a ranking task, sec. 2.
    """

    def __init__(self, tokens: str | PathLike, images: str | PathLike, split_list: str | PathLike | None = None):
        path, folder = Path(tokens), _folder(images)
        captions = _read_tokens(path)
        if split_list is None:
            names, source = list(captions), path
        else:
            names, source = _read_text(Path(split_list)).split(), Path(split_list)
            if unknown := [name for name in names if name not in captions]:
                raise ValueError(f"{split_list}: {unknown[0]} has no caption in {path}; remove it from the list")
        super().__init__(source, (Captioned(name, folder / name, captions[name]) for name in names))


def _checked(source, record):
    """The captions of a record, white space tidied up. ValueError where there is none, or an empty one."""
    if not record.captions:
        raise ValueError(
            f"{source}: image {record.id} ({record.path.name}) has no caption; add one or remove the image"
        )
    for number, caption in enumerate(record.captions, 1):
        if not isinstance(caption, str) or not caption.strip():
            raise ValueError(f"{source}: image {record.id}: caption {number} is empty; got {caption!r}, wanted words")
    return [" ".join(caption.split()) for caption in record.captions]


def _read_tokens(path):
    """{name: [caption, ...]} of a token file, the captions in the order of their numbers."""
    captions = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        place, tab, caption = line.partition("\t")
        name, mark, k = place.rpartition("#")
        if not line.strip():
            continue
        if not (tab and mark and name and k.isdecimal()):
            raise ValueError(f"{path}: line {number}: must be name.jpg#0, a tab and a caption, got {line[:60]!r}")
        if int(k) in captions.setdefault(name, {}):
            raise ValueError(f"{path}: line {number}: {place} comes twice; remove one")
        captions[name][int(k)] = caption
    return {name: [numbered[k] for k in sorted(numbered)] for name, numbered in captions.items()}


def _read_text(path):
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as UTF-8 text ({error}); copy it again") from error


def _read_json(path):
    try:
        return json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); copy it again") from error


def _entries(path, value, name, **fields):
    """`value` if it is a list of objects, each with all the fields in the given types."""
    if not isinstance(value, list):
        raise ValueError(f"{path}: {name} must be a list, got {_kind(value)}")
    for i, entry in enumerate(value):
        for field, kind in fields.items():
            got = entry.get(field) if isinstance(entry, dict) else None
            if type(got) is not kind:
                raise ValueError(f"{path}: {name}[{i}] must have {field!r}, {_kind(kind())}, got {_kind(got)}")
    return value


def _kind(value):
    """What a JSON value is, in words."""
    kinds = {dict: "object", list: "list", str: "text", int: "whole number", float: "number", bool: "true or false"}
    return kinds.get(type(value), "nothing")


def _folder(path):
    if not Path(path).is_dir():
        raise ValueError(f"{path}: there is no such folder; give the one that holds the images")
    return Path(path)
