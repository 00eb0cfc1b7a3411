"""Samples in tar files, "shards": one large file is read faster than thousands of small ones, above all over a network.

root/train-000000.tar, train-000001.tar, ... val-000000.tar, ...    or root/train/*.tar, root/val/*.tar
root/*.tar                  without splits: every fifth tar file, by name, is "val", the others are "train"
root/classes.txt            the names of the classes, one a line

Files of one sample have one name up to the first dot, as in WebDataset: 0001.jpg with 0001.cls (a class: its index in
classes.txt, or its name), 0001.png or 0001.seg.png (a label picture), 0001.xml (boxes, as in Pascal VOC), 0001.txt (a
caption a line).

Nothing is unpacked: what a shard holds is known from an index, see tar_members.py, so that samples can be read in any
order, shared out and resumed as those of other data sets. An epoch takes the shards in an order drawn by its seed, and
mixes the samples as a buffer of BUFFER samples would that is filled from them.

Reference for the layout: Aizman, Maltby and Breuel 2019, High performance I/O for large scale deep learning,
arXiv:2001.01858.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from .captions import Captioned, CaptionedImages
from .classes import alike, checked_classes, chosen
from .files import PICTURES, composed, files_in, missing, shorten
from .header_index import HeaderIndex
from .headers import notes_on
from .label_maps import read_label_map
from .labelled_images import LabelledImages, Pair
from .listing import Listed
from .objects import ObjectImages
from .pictures import none_left, read_image
from .progress import reading
from .splits import canonical, every_fifth, names_of_split
from .tar_members import TarMember, members_of
from .text import decoded, lines_of, read_lines
from .voc import annotated

BUFFER = 1000  # samples that are mixed
MASKS = ("seg.png", "png")  # endings of label pictures

Sample = dict[str, TarMember]  # the files of a sample by their endings


class InShards:
    """What data sets in shards have in common."""

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """The indices of all samples in the order of an epoch: see Loader."""
        shards = {}
        for index, each in enumerate(self.listing()):
            shards.setdefault(each.path.shard, []).append(index)
        shards = list(shards.values())
        stream = np.concatenate([shards[i] for i in rng.permutation(len(shards)).tolist()])
        return through_buffer(stream, BUFFER, rng)


class ClassShards(InShards):
    """Pictures with a class. Sample: image (H, W, 3) uint8; label int, 0 for `classes[0]`; id str.

    Without classes.txt the labels must be names, which become the classes, sorted, or integers from 0, which name
    them. classes: names in the order of their labels (default: all); samples of others are left out. absent: some may
    have no sample. Raises ValueError for a missing folder or split, a damaged shard or picture, a sample without a
    picture or label, two files of one name, and a label that is no class.
    """

    def __init__(
        self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None, absent: bool = False
    ):
        root = Path(root)
        shards = shards_of(root, split)
        samples, notes = samples_of(root, shards)
        names = {key: composed(_text(_file(key, sample, "cls")).strip()) for key, sample in samples.items()}
        known = _classes(root, names.values())
        of_index = {str(index): name for index, name in enumerate(known)} if set(names.values()) - set(known) else {}
        for key, text in names.items():
            names[key] = of_index.get(text, text)
            if names[key] not in known:
                raise ValueError(f"{samples[key]['cls']}: the label {text!r} is no class: {shorten(known)}")
        self.classes = checked_classes(self, chosen(root, "class", known, classes, absent))
        labels = {name: label for label, name in enumerate(self.classes)}
        items = [(key, _picture(key, samples[key]), labels[name]) for key, name in names.items() if name in labels]
        index = HeaderIndex(shards[0].parent)
        headers = index.read([path for _, path, _ in items])
        self.items = [item for item, header in zip(items, headers) if header]
        self.headers = [header for header in headers if header]
        if not self.items:
            raise none_left(root, len(items)) if items else ValueError(f"{root}: holds no sample of these classes")
        self.labels = [label for _, _, label in self.items]
        counts = Counter(self.labels)
        self.counts = {name: counts[label] for label, name in enumerate(self.classes)}
        paths = [path for _, path, _ in self.items]
        notes += index.notes + [f"{name} has no sample in this split" for name, n in self.counts.items() if not n]
        notes += alike(self.classes, self.counts) + notes_on(dict(zip(paths, self.headers)), annotated=False)
        self.problems = [f"{root}: {note}" for note in notes]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        key, picture, label = self.items[index]
        return {"id": key, "image": read_image(picture), "label": label}

    def listing(self) -> Iterator[Listed]:
        """The id, size and file of each picture."""
        return (Listed(key, header[:2], path) for (key, path, _), header in zip(self.items, self.headers))


class LabelledShards(InShards, LabelledImages):
    """Photographs with label pictures, of the values or colours that classes.txt lists: see LabelledImages."""

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root, pairs = Path(root), []
        samples, notes = samples_of(root, shards_of(root, split))
        label_map = read_label_map(root / "classes.txt").renumbered(classes)
        for key, sample in samples.items():
            ending = next((each for each in MASKS if each in sample), MASKS[-1])
            labels = _file(key, sample, ending)
            others = {each: file for each, file in sample.items() if each != ending}
            pairs.append(Pair(key, _picture(key, others), labels))
        super().__init__(pairs, label_map)
        self.problems += [f"{root}: {note}" for note in notes]


class BoxedShards(InShards, ObjectImages):
    """Photographs with boxes in annotations as Pascal VOC's: see ObjectImages.

    classes: names in the order of their labels (default: those of classes.txt, or those that occur, sorted).
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root = Path(root)
        samples, notes = samples_of(root, shards_of(root, split))
        entries = [(key, _picture(key, sample), _file(key, sample, "xml")) for key, sample in samples.items()]
        records = [annotated(*entry)[0] for entry in reading(entries, len(entries), "annotations")]
        if classes is None:
            classes = _classes(root, (thing.name for record in records for thing in record.things))
        if not classes:
            raise ValueError(f"{root}: the annotations of {split!r} hold no object at all; draw boxes before training")
        super().__init__(root, records, classes, least=1.0)
        self.problems += [f"{root}: {note}" for note in notes]


class CaptionedShards(InShards, CaptionedImages):
    """Photographs with captions, one a line: see CaptionedImages."""

    def __init__(self, root: str | PathLike, split: str = "train"):
        samples, notes = samples_of(Path(root), shards_of(Path(root), split))
        records = []
        for key, sample in samples.items():
            lines = lines_of(_text(_file(key, sample, "txt")))
            records.append(Captioned(key, _picture(key, sample), [line for line in lines if line.strip()]))
        super().__init__(root, records)
        self.problems += [f"{root}: {note}" for note in notes]


def shards_of(root: Path, split: str) -> list[Path]:
    """The tar files of a split, in order of their names. ValueError where there is none."""
    if not root.is_dir():
        raise missing(root, "folder", "give the one that holds the tar files")
    names = names_of_split(canonical(split))
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is not None:
        found = files_in(folder, (".tar",))
    else:
        every = files_in(root, (".tar",))
        found = [path for path in every if path.name.casefold().startswith(tuple(f"{name}-" for name in names))]
        if not found and not any(path.name.startswith(("train-", "val-", "test-")) for path in every):
            found = every if split == "trainval" else every_fifth(every, canonical(split), root)
    if not found:
        raise ValueError(f"{root}: holds no tar files of the split {split!r}; call them {split}-000000.tar and so on")
    return found


def samples_of(root: Path, shards: Sequence[Path]) -> tuple[dict[str, Sample], list[str]]:
    """{key: the files of the sample} in the order of the shards, and notes on the index; a key is train-000000/0001.

    Raises ValueError as members_of does, and for two files of one name.
    """
    members, notes = members_of(root, shards)
    samples: dict[str, Sample] = {}
    for member in members:
        folder, slash, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        key, ending = composed(f"{member.shard.stem}/{folder}{slash}{stem}"), ending.lower()
        if ending in samples.setdefault(key, {}):
            raise ValueError(f"{member.shard}: {member.name} comes twice; remove one, or give each sample a name")
        samples[key][ending] = member
    return samples, notes


def through_buffer(stream: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """The order in which a stream leaves a buffer of `size` elements, of which each next one takes the place of one
    that is drawn; at its end the buffer is drawn from until it is empty.
    """
    buffer, out = stream[:size].tolist(), []
    drawn = rng.integers(len(buffer), size=max(0, len(stream) - size)) if len(stream) else np.zeros(0, int)
    for value, index in zip(stream[size:].tolist(), drawn.tolist()):
        out.append(buffer[index])
        buffer[index] = value
    return np.array(out + [buffer[i] for i in rng.permutation(len(buffer)).tolist()], int)


def _classes(root: Path, labels) -> list[str]:
    """The classes of classes.txt; without one those that labels name, or 0 to the largest."""
    if (root / "classes.txt").is_file():
        return [composed(line.strip()) for line in read_lines(root / "classes.txt") if line.strip()]
    names = set(labels)
    if names and all(name.isdecimal() and len(name) < 7 for name in names):
        return [str(index) for index in range(max(map(int, names)) + 1)]
    return sorted(names)


def _file(key: str, sample: Sample, ending: str) -> TarMember:
    if ending not in sample:
        first = next(iter(sample.values()))
        raise ValueError(f"{first.shard}: the sample {key} has no .{ending}, only .{', .'.join(sample)}")
    return sample[ending]


def _picture(key: str, sample: Sample) -> TarMember:
    """The picture of a sample. ValueError where it has none, or several."""
    found = [file for ending, file in sample.items() if f".{ending}" in PICTURES]
    if len(found) != 1:
        shard = next(iter(sample.values())).shard if sample else key
        what = f"{len(found)} pictures ({', '.join(file.name for file in found)})" if found else "no picture"
        raise ValueError(f"{shard}: the sample {key} has {what}; it must have one")
    return found[0]


def _text(member: TarMember) -> str:
    return decoded(member.read_bytes(), member)
