"""Reader for boxes, masks and key points in COCO's JSON.

    {"images": [{"id": 285, "file_name": "000000000285.jpg", "width": 640, "height": 425}, ...],
     "categories": [{"id": 1, "name": "person", "keypoints": ["nose", ...]}, {"id": 3, "name": "car"}, ...],
     "annotations": [{"id": 7, "image_id": 285, "category_id": 3, "bbox": [x, y, width, height], "iscrowd": 0,
                      "area": 900.5, "segmentation": [[x1, y1, x2, y2, ...], ...], "keypoints": [x, y, v, ...]}, ...]}

Category ids may have gaps. Images may have no annotations. `segmentation` holds polygons or an RLE, see rle.py.

Reference: Lin et al. 2014, arXiv:1405.0312, and its web page, "Data format".
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from .classes import chosen
from .coco_file import (
    COCOFile,
    by_image,
    category_names,
    find_pictures,
    has_area,
    mirrored,
    read_coco,
    stated_size,
    thing_of,
)
from .files import Folder, meant, missing, shorten
from .json_checks import finite
from .objects import Annotated, ObjectImages
from .splits import every_fifth, names_of_split


class COCODetection(ObjectImages):
    """Photographs with objects from an annotation file of COCO's form and the folder of the images.

    Sample: see ObjectImages. crowd (K,) bool marks regions of many objects, which evaluation ignores; they are
    `difficult`, too, so that training leaves them out. area (K,) is that of the annotation, by which COCO's evaluation
    tells small from large. masks (K, H, W) are there where any annotation has a `segmentation`, key points where any
    has them; an object without a segmentation then has its box for a mask.

    annotations: the file, or what read_coco made of it. classes: names of categories, in the order of their labels
    (default: all, by category id); objects of others are left out, their images stay. masks: False reads none. part:
    "train" or "val" for four fifths or a fifth of the images, where one file holds all. absent: some classes, those of
    another split or of a model, may have no category here.

    `category_ids` has the ids of the classes that are here, and `image_ids` those of the images, as results files name
    them; `keypoint_names`, `skeleton` and `horizontal_order` (for horizontal_flip) describe the key points.

    Raises ValueError as ObjectImages does, and for a file that is not JSON of this form, an id that comes twice or is
    not there, and a class that no category has.
    """

    def __init__(
        self,
        annotations: str | PathLike | COCOFile,
        images: str | PathLike,
        classes: Sequence[str] | None = None,
        *,
        masks: bool = True,
        part: str | None = None,
        absent: bool = False,
    ):
        file = annotations if isinstance(annotations, COCOFile) else read_coco(annotations)
        folder, names = Folder(images), category_names(file)
        classes = chosen(file.path, "category", list(names.values()), classes, absent)
        self.category_ids = tuple(id for name in classes for id in names if names[id] == name)
        in_order = sorted(file.images, key=lambda image: image["file_name"])
        listed = every_fifth(in_order, part, file.path) if part else file.images
        self.image_ids = [image["id"] for image in listed]
        annotated = by_image(file, names, classes)
        wanted = [annotation for id in self.image_ids for annotation in annotated[id]]
        joints = self._read_joints([c for c in file.categories if names[c["id"]] in classes], wanted)
        paths = find_pictures(file.path, folder, listed)

        def record(image):
            id, size = image["id"], stated_size(image)
            things = [thing_of(file.path, a, names[a["category_id"]], joints, size) for a in annotated[id]]
            return Annotated(str(id), paths[id], f"{file.path}, image {id}", things, size)

        extras = ["crowd", "area", *(["masks"] if masks and any(a.get("segmentation") for a in wanted) else [])]
        super().__init__(file.path, map(record, listed), classes, extras, joints, total=len(listed))
        kept = {item.id for item in self.items}
        self.image_ids = [id for id in self.image_ids if str(id) in kept]
        self.problems = self._notes(wanted, part) + self.problems

    def _read_joints(self, categories: list[dict], annotations: list[dict]) -> int:
        """J, and the names of the key points, if all categories that have any have the same; else 0."""
        self.keypoint_names, self.skeleton, self.horizontal_order = (), (), ()
        described = [category for category in categories if _names_of_points(category)]
        same = len({tuple(category["keypoints"]) for category in described}) == 1
        if not same or not any(annotation.get("keypoints") for annotation in annotations):
            return 0
        self.keypoint_names = tuple(described[0]["keypoints"])
        skeleton = described[0].get("skeleton")
        lines = [finite(line, 2) for line in (skeleton if isinstance(skeleton, list) else ())]
        self.skeleton = tuple((int(a) - 1, int(b) - 1) for a, b in filter(None, lines))  # 1-based in the file
        self.horizontal_order = mirrored(self.keypoint_names)
        return len(self.keypoint_names)

    def _notes(self, annotations: list[dict], part: str | None) -> list[str]:
        notes, n = [], len(annotations)
        if part:
            notes.append(f"one file holds all images; {len(self)} of them, chosen by name, are {part}")
        if "masks" in self.extras and (bare := sum(not a.get("segmentation") for a in annotations)):
            notes.append(f"{bare} of {n} objects have no segmentation; their boxes are their masks")
        if without := sum(not has_area(a) for a in annotations):
            notes.append(f"{without} of {n} objects have no area; that of their boxes is taken")
        if self._looks_like_corners():
            notes.append("most boxes reach out of their images; all would lie inside as x1 y1 x2 y2, COCO has x y w h")
        return [f"{self.source}: {note}" for note in notes]

    def _looks_like_corners(self) -> bool:
        boxes = [(thing.box, item.size) for item in self.items for thing in item.things]
        beyond = sum(x2 > w + 1 or y2 > h + 1 for (_, _, x2, y2), (h, w) in boxes)
        inside = all(2 * x1 < x2 <= x1 + w + 1 and 2 * y1 < y2 <= y1 + h + 1 for (x1, y1, x2, y2), (h, w) in boxes)
        return beyond > len(boxes) / 2 and inside


def open_coco(
    root: str | PathLike,
    split: str = "train",
    classes: Sequence[str] | None = None,
    *,
    masks: bool = True,
    absent: bool = False,
) -> COCODetection:
    """The data set of a split in a folder that has any of the usual layouts.

    Annotations: annotations/instances_SPLIT.json (COCO), instances_SPLIT.json, annotations/SPLIT.json, SPLIT.json,
    annotations/person_keypoints_SPLIT.json, SPLIT/_annotations.coco.json (Roboflow); or for all splits together
    instances.json, annotations.json, annotations/instances_default.json (CVAT), result.json (Label Studio), of which
    every fifth image is "val", the others "train", and both "all". Images: images/SPLIT, SPLIT, images, or beside the
    annotations.

    Raises ValueError as COCODetection does, and where there is no such file.
    """
    root = Path(root)
    if not root.is_dir():
        raise missing(root, "folder", "give the one that holds the annotations and the images")
    path, part = _annotations_of(root, split)
    file, names = read_coco(path), [*names_of_split(split), "default"]
    first = file.images[0]["file_name"]
    folders = [root / "images" / name for name in names] + [root / name for name in names]
    for folder in (*folders, root / "images", path.parent / "images", path.parent, root):
        if folder.is_dir() and _holds(Folder(folder), first):
            return COCODetection(file, folder, classes, masks=masks, part=part, absent=absent)
    advice = meant(root / "images" / first, "add the images", root)
    raise ValueError(f"{path}: names the image {first}, which is not there; {advice}")


def _annotations_of(root, split) -> tuple[Path, str | None]:
    """The annotation file of a split, and "train" or "val" where it holds all splits together."""
    for name in names_of_split(split):
        for file in (
            f"annotations/instances_{name}.json", f"instances_{name}.json", f"annotations/{name}.json", f"{name}.json",
            f"annotations/person_keypoints_{name}.json", f"{name}/_annotations.coco.json", f"{name}/annotations.json",
        ):  # fmt: skip
            if (root / file).is_file():
                return root / file, None
    for file in (
        "instances.json", "annotations.json", "annotations/instances.json", "annotations/instances_default.json",
        "result.json", "_annotations.coco.json",
    ):  # fmt: skip
        if (root / file).is_file() and split in ("train", "val", "all"):
            return root / file, None if split == "all" else split
    there = sorted(path.relative_to(root).as_posix() for depth in ("", "*/") for path in root.glob(f"{depth}*.json"))
    wanted = f"annotations/instances_{split}.json or instances_{split}.json"
    if split == "all" and len(there) == 1:
        return root / there[0], None
    raise ValueError(f"{root}: has no {wanted}; JSON files there: {shorten(there) or 'none'}")


def _names_of_points(category: dict) -> bool:
    """Whether a category has names of key points."""
    names = category.get("keypoints")
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)


def _holds(folder: Folder, name: str) -> bool:
    try:
        return folder.get(name) is not None
    except ValueError:
        return False
