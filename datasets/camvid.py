"""CamVid: street scenes seen from a car, in the layout of the SegNet authors.

    root/train/NAME.png (or .jpg)   the photographs; so val/, test/
    root/trainannot/NAME.png        a label picture for each, of the same name
    root/train.txt                  the names, one a line, or lines "/.../train/NAME.png /.../trainannot/NAME.png"
    root/classes.txt                if there: the class list, see label_maps.py

Reference: Brostow et al. 2009, Semantic object classes in video; Badrinarayanan et al. 2015, arXiv:1511.00561, sec. 4.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from .files import missing
from .label_maps import numbered, read_label_map
from .labelled_images import LabelledImages, pair_up
from .lists import read_list

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
UNLABELLED = 11  # the value of what belongs to none of them


class CamVid(LabelledImages):
    """One split of CamVid, with its 11 classes unless root/classes.txt names others. Sample: see LabelledImages.

    classes: names in another order, if wanted. Raises ValueError as LabelledImages does, for files that are missing,
    and for a class list or classes that do not fit.
    """

    def __init__(self, root: str | PathLike, split: str = "train", classes: Sequence[str] | None = None):
        root, listed = Path(root), Path(root) / "classes.txt"
        if not root.is_dir():
            raise missing(root, "folder", f"give the one that holds {split}.txt")
        label_map = read_label_map(listed) if listed.is_file() else numbered(CAMVID_CLASSES, ignore=[UNLABELLED])
        pairs = pair_up(root / split, root / f"{split}annot", read_list(root / f"{split}.txt", root))
        super().__init__(pairs, label_map.renumbered(classes))
