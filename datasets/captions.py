"""Readers for photographs with captions: COCO's annotation file, a list of images in JSON, Flickr8k's token file."""

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from .coco_file import IDS
from .files import Folder, composed, missing, shorten
from .header_index import HeaderIndex
from .headers import notes_on
from .json_checks import entries, kind
from .listing import Listed
from .lists import read_list, split_line
from .pictures import none_left, read_image
from .text import read_json, read_lines


class Captioned(NamedTuple):
    """An image file and what people wrote below it."""

    id: str
    path: Path
    captions: list[str]


class CaptionedImages:
    """Photographs, each with one or more captions.

    Sample: image (H, W, 3) uint8; caption list of str, in NFC; id str. `captions` (a list for each image) has them all
    without reading an image: for a vocabulary.

    source: the file that all this stands in, for the messages. Raises ValueError, before anything is trained: for no
    image at all, an image file that is missing or damaged, an image that is listed twice or has no caption, a caption
    without letters or digits. Of each image file the header is read, about 0.1 ms. `problems` says what looks wrong.
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
        index = HeaderIndex(self.records[0].path.parent)
        headers = index.read([record.path for record in self.records])
        self.headers = {r.path: header for r, header in zip(self.records, headers) if header}
        self.records = [record for record in self.records if record.path in self.headers]
        if not self.records:
            raise none_left(source, len(seen) // 2)
        self.captions = [record.captions for record in self.records]
        notes = notes_on(self.headers, annotated=False) + index.notes
        self.problems = [f"{source}: {note}" for note in notes] + self._unspaced()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        record = self.records[index]
        return {"id": record.id, "image": read_image(record.path), "caption": list(record.captions)}

    def listing(self) -> Iterator[Listed]:
        """The id, size and file of each image."""
        return (Listed(record.id, self.headers[record.path][:2], record.path) for record in self.records)

    def _unspaced(self) -> list[str]:
        """A line for captions in scripts that are written without spaces between the words."""
        found = [caption for captions in self.captions for caption in captions if any(map(_is_unspaced, caption))]
        if not found:
            return []
        return [
            f"{self.source}: {len(found)} captions are written without spaces between words (first: {found[0]:.30}): "
            "a run of such characters is read as one word; put spaces between the words"
        ]


class COCOCaptions(CaptionedImages):
    """Captions in COCO's layout, such as annotations/captions_val2017.json and the folder val2017.

        {"images": [{"id": 285, "file_name": "000000000285.jpg", ...}, ...],
         "annotations": [{"id": 1, "image_id": 285, "caption": "A bear."}, ...], ...}

    Raises ValueError as CaptionedImages does, and for a file that is not readable as JSON of this form, captions of an
    image that is not listed, and a caption's id that comes twice.

    Reference: Chen et al. 2015, arXiv:1504.00325.
    """

    def __init__(self, annotations: str | PathLike, images: str | PathLike):
        path, folder = Path(annotations), Folder(images)
        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError(f"{path}: must hold an object with 'images' and 'annotations', is a {kind(content)}")
        listed = entries(path, content.get("images"), "images", id=IDS, file_name=str)
        written = entries(path, content.get("annotations"), "annotations", image_id=IDS)
        captions, seen = {image["id"]: [] for image in listed}, set()
        for i, annotation in enumerate(written):
            if type(annotation.get("id", 0)) not in IDS or annotation.get("id") in seen:
                raise ValueError(f"{path}: annotations[{i}]: the id {annotation['id']} comes twice; remove one")
            if annotation["image_id"] not in captions:
                raise ValueError(f"{path}: annotations[{i}]: there is no image {annotation['image_id']} under 'images'")
            seen |= {annotation["id"]} if "id" in annotation else set()
            captions[annotation["image_id"]].append(annotation.get("caption"))
        super().__init__(
            path, (Captioned(str(v["id"]), folder.find(v["file_name"]), captions[v["id"]]) for v in listed)
        )  # fmt: skip


class ListedCaptions(CaptionedImages):
    """One split of a list of images in JSON: root/captions.json, and the files in root/images.

        [{"id": 285, "file": "000000000285.jpg", "split": "train", "captions": ["A bear.", ...], ...}, ...]

    Raises ValueError as CaptionedImages does, for a file that is not readable as JSON of this form, and for a split
    that no image belongs to.
    """

    def __init__(self, root: str | PathLike, split: str = "train"):
        path = in_folder(Path(root), "captions.json", "images")
        folder = Folder(Path(root) / "images")
        listed = entries(path, read_json(path), "the list", id=IDS, file=str, split=str, captions=list)
        self.split, splits = split, sorted({entry["split"] for entry in listed})
        if split not in splits:
            raise ValueError(f"{path}: has no split {split!r}, but {', '.join(splits) or 'no image at all'}")
        chosen = [entry for entry in listed if entry["split"] == split]
        super().__init__(path, (Captioned(str(e["id"]), folder.find(e["file"]), e["captions"]) for e in chosen))


def in_folder(root: Path, name: str, images: str) -> Path:
    """The file of the captions in the folder of a data set. ValueError that says what there is where it is not."""
    wanted = f"give the folder that holds {name} and the folder {images}"
    if not root.is_dir():
        raise missing(root, "folder", wanted)
    if not (root / name).is_file():
        there = [path.relative_to(root).as_posix() for path in [*root.glob("*.json"), *root.glob("*/*.json")]]
        raise missing(root / name, "file", f"{wanted}; JSON files there: {shorten(sorted(there), 8) or 'none'}")
    return root / name


class Flickr8kCaptions(CaptionedImages):
    """Captions in the layout of Flickr8k (and Flickr30k): a token file, a folder of images, the names of a split.

        Flickr8k.token.txt           name.jpg#0, a tab, the caption; #0 to #4 for the five of an image
        Flickr_8k.trainImages.txt    the names of the split, one a line; None: all images of the token file

    Raises ValueError as CaptionedImages does, for a line of another form, a caption with the index of another, and a
    name in the list that has no caption. (The published token file names an image, 2258277193_586949ec62.jpg.1, that
    does not exist: no list of a split has it.)

    Reference: Hodosh et al. 2013, Framing image description as a ranking task, sec. 2.
    """

    def __init__(self, tokens: str | PathLike, images: str | PathLike, split_list: str | PathLike | None = None):
        path, folder = Path(tokens), Folder(images)
        captions = _read_tokens(path)
        if split_list is None:
            names, source = list(captions), path
        else:
            names, source = _names_in(Path(split_list), path, captions), Path(split_list)
        super().__init__(source, (Captioned(name, folder.find(name), captions[name]) for name in names))


def _names_in(split_list: Path, tokens: Path, captions: dict) -> list[str]:
    """The names in the list of a split, in order; several on a line are several names."""
    names = []
    for where, line in read_list(split_list):
        names += [line] if line in captions else split_line(line)
        if unknown := [name for name in names if name not in captions]:
            raise ValueError(f"{where}: {unknown[0]} has no caption in {tokens}; remove it from the list")
    return names


def _checked(source, record):
    """The captions of a record, white space tidied up. ValueError where there is none, or one without words."""
    if not record.captions:
        raise ValueError(
            f"{source}: image {record.id} ({record.path.name}) has no caption; add one or remove the image"
        )
    for number, caption in enumerate(record.captions, 1):
        if not isinstance(caption, str) or not any(map(str.isalnum, caption)):
            what = "has no words" if isinstance(caption, str) and caption.strip() else "is empty"
            what = what if isinstance(caption, str) else "is no text"
            raise ValueError(f"{source}: image {record.id}: caption {number} {what}; got {caption!r}, wanted words")
    return [" ".join(composed(caption).split()) for caption in record.captions]


def _read_tokens(path):
    """{name: [caption, ...]} of a token file, the captions in the order of their indices."""
    captions = {}
    for number, line in enumerate(read_lines(path), 1):
        head, tab, caption = line.partition("\t")
        name, mark, k = head.rpartition("#")
        if not line.strip():
            continue
        if not (tab and mark and name and k.isdecimal()):
            raise ValueError(f"{path}: line {number}: must be name.jpg#0, a tab and a caption, got {line[:60]!r}")
        if int(k) in captions.setdefault(name, {}):
            raise ValueError(f"{path}: line {number}: {head} comes twice; remove one")
        captions[name][int(k)] = caption
    return {name: [by_index[k] for k in sorted(by_index)] for name, by_index in captions.items()}


def _is_unspaced(character: str) -> bool:
    """Whether a character is of a script without spaces: Thai, Lao, Myanmar, Khmer, kana, Chinese."""
    code = ord(character)
    return (
        0x0E00 <= code < 0x0F00
        or 0x1000 <= code < 0x10A0
        or 0x1780 <= code < 0x1800
        or 0x3040 <= code < 0x3100
        or 0x3400 <= code < 0xA000
        or 0x20000 <= code < 0x32000
    )
