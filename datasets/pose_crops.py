"""Pictures of one person each, with the points of the pose: crops around people, listed in people.json.

{"names": ["nose", ...], "skeleton": [[16, 14], ...], "people": [{"file": "785_00.jpg", "split": "train",
 "box": [x1, y1, x2, y2], "keypoints": [[x, y, v], ...]}, ...]}
"""

from os import PathLike
from pathlib import Path

import numpy as np

from .coco_file import mirrored
from .files import Folder, missing
from .json_checks import entries, finite
from .objects import Annotated, ObjectImages, Thing
from .splits import every_fifth
from .text import read_json

FIELDS = {"file": str, "split": str, "box": list, "keypoints": list}


class PoseCrops(ObjectImages):
    """root/people.json and root/images: one person a picture. Sample: see ObjectImages; boxes (1, 4), keypoints
    (1, J, 3).

    split: as people.json has it; where it has no "val", that is the people of every fifth photograph (image_id) of
    "train", "train" the others, and "trainval" all of them. keypoint_names, skeleton (0-based pairs) and
    horizontal_order (for horizontal_flip) describe the points. Raises ValueError as ObjectImages does, and for a
    file of another form.
    """

    def __init__(self, root: str | PathLike, split: str = "train"):
        root, path = Path(root), Path(root) / "people.json"
        if not path.is_file():
            raise missing(path, "file", "give the folder that holds people.json and images")
        content = read_json(path)
        names = content.get("names") if isinstance(content, dict) else None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: must hold the names of the points under 'names'")
        people = entries(path, content.get("people"), "people", **FIELDS)
        self.keypoint_names, self.horizontal_order = tuple(names), mirrored(names)
        lines = [finite(line, 2) for line in content.get("skeleton") or ()]
        self.skeleton = tuple((int(a) - 1, int(b) - 1) for a, b in filter(None, lines))  # 1-based in the file
        chosen, folder = _of_split(path, people, split), Folder(root / "images")

        def record(person):
            where = f"{path}, {person['file']}"
            things = [Thing("person", _box(where, person["box"]), keypoints=_points(where, person, len(names)))]
            return Annotated(Path(person["file"]).stem, folder.find(person["file"]), where, things)

        super().__init__(path, map(record, chosen), ("person",), joints=len(names))


def _of_split(path, people, split):
    there = {person["split"] for person in people}
    if split in ("train", "val") and "val" not in there:
        train = [person for person in people if person["split"] == "train"]
        images = every_fifth(sorted({_photograph(person) for person in train}), split, path)
        chosen = [person for person in train if _photograph(person) in images]
    elif split == "trainval":
        chosen = [person for person in people if person["split"] != "test"]
    else:
        chosen = [person for person in people if person["split"] == split]
    if not chosen:
        raise ValueError(f"{path}: has nobody in the split {split!r}, only in {', '.join(sorted(there))}")
    return chosen


def _photograph(person) -> str:
    """The photograph that a crop is from: its people stay in one split."""
    return str(person.get("image_id", person["file"]))


def _box(where, box):
    if finite(box, 4) is None:
        raise ValueError(f"{where}: box must be [x1, y1, x2, y2], got {box!r:.60}")
    return tuple(box)


def _points(where, person, joints) -> np.ndarray:
    points = [finite(point, 3) for point in person["keypoints"] if isinstance(point, list)]
    if len(points) != joints or None in points or any(point[2] not in (0, 1, 2) for point in points):
        raise ValueError(f"{where}: keypoints must be [x, y, v] of each of {joints}, v 0, 1 or 2")
    array = np.array(points, float)
    array[array[:, 2] == 0] = 0
    return array
