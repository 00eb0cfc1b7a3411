"""CamVid: street scenes seen from a car, in the layout of the SegNet authors.

    root/train/NAME.png (or .jpg)   the photographs; so val/, test/
    root/trainannot/NAME.png        a label picture for each, of the same name
    root/train.txt                  the names, one a line, or lines "/.../train/NAME.png /.../trainannot/NAME.png"
    root/classes.txt                if there: the class list, see label_maps.py

A split is a list, or a part of one, so that validation need not be the one sequence of val.txt:

    test:Seq05VD                    the frames of a sequence, which is what a name has before "_"
    train:held_out, train:kept      of each sequence the third of five blocks of frames in order; the other four

Reference: Brostow et al. 2009, Semantic object classes in video; Badrinarayanan et al. 2015, arXiv:1511.00561, sec. 4.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from .files import missing, shorten
from .label_maps import numbered, read_label_map
from .labelled_images import LabelledImages, pair_up
from .lists import Line, read_list

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
UNLABELLED = 11  # the value of what belongs to none of them
BLOCKS, HELD_OUT = 5, 2  # of each sequence, and which of them is held out


class CamVid(LabelledImages):
    """One split of CamVid, with its 11 classes unless root/classes.txt names others. Sample: see LabelledImages.

    classes: names in another order, if wanted. Raises ValueError as LabelledImages does, for files that are missing,
    and for a class list or classes that do not fit.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root, listed, (split, _, part) = Path(root), Path(root) / "classes.txt", split.partition(":")
        if not root.is_dir():
            raise missing(root, "folder", f"give the one that holds {split}.txt")
        label_map = read_label_map(listed) if listed.is_file() else numbered(CAMVID_CLASSES, ignore=[UNLABELLED])
        lines = part_of(read_list(root / f"{split}.txt", root), part)
        super().__init__(pair_up(root / split, root / f"{split}annot", lines), label_map.renumbered(classes))


def part_of(lines: Sequence[Line], part: str) -> list[Line]:
    """The lines of a sequence, of the blocks that are "held_out", or of those that are "kept"; all for no part.

    Frames of a block follow each other: a frame held out has no neighbour among those that are kept, but at the two
    ends of its block. Raises ValueError for a part that no line belongs to.
    """
    sequences: dict[str, list[Line]] = {}
    for where, line in sorted(lines, key=lambda each: each[1]):
        sequences.setdefault(Path(line).name.split("_")[0], []).append((where, line))
    if not part:
        return list(lines)
    if part in ("held_out", "kept"):
        held = {line for frames in sequences.values() for _, line in _held_out(frames)}
        chosen = [each for each in lines if (each[1] in held) == (part == "held_out")]
    else:
        chosen = [each for each in lines if each in sequences.get(part, [])]
    if not chosen:
        raise ValueError(f"the split has no part {part!r}: choose kept, held_out or {shorten(sorted(sequences))}")
    return chosen


def _held_out(frames):
    """The block of a sequence's frames, in order, that is held out."""
    return frames[HELD_OUT * len(frames) // BLOCKS : (HELD_OUT + 1) * len(frames) // BLOCKS]
