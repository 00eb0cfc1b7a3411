"""What a file of COCO's form holds, checked entry by entry; the reader of the data set is coco.py."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .files import Folder, composed, shorten
from .json_checks import entries, finite, kind
from .objects import Thing
from .rle import decode
from .text import read_json

IDS = (int, str)
Id = int | str


class COCOFile(NamedTuple):
    """The lists of an annotation file, their fields still unchecked but for ids and names."""

    path: Path
    images: list[dict]
    categories: list[dict]
    annotations: list[dict]


def read_coco(path: str | PathLike) -> COCOFile:
    """The lists of an annotation file. ValueError where it is not JSON of this form, or an id is no id."""
    path, content = Path(path), read_json(path)
    if not isinstance(content, dict):
        wanted = "an object with 'images', 'annotations' and 'categories'"
        raise ValueError(f"{path}: must hold {wanted}, is a {kind(content)}")
    images = entries(path, content.get("images"), "images", id=IDS, file_name=str)
    categories = entries(path, content.get("categories"), "categories", id=IDS, name=str)
    fields = {"image_id": IDS, "category_id": IDS, "bbox": list}
    annotations = entries(path, content.get("annotations"), "annotations", **fields)
    if not images:
        raise ValueError(f"{path}: lists no picture")
    if not categories:
        raise ValueError(f"{path}: lists no category; give each class an id and a name under 'categories'")
    return COCOFile(path, images, categories, annotations)


def category_names(file: COCOFile) -> dict[Id, str]:
    """{id: name} of the categories, in order of the ids. ValueError for an id or a name that comes twice."""
    names = {category["id"]: composed(category["name"].strip()) for category in file.categories}
    ids, texts = ([category[key] for category in file.categories] for key in ("id", "name"))
    for what, listed in (("id", ids), ("name", [composed(text.strip()) for text in texts])):
        if twice := [each for i, each in enumerate(listed) if each in listed[:i]]:
            wrong = f"an id or a name comes twice, the {what} {twice[0]!r}"
            raise ValueError(f"{file.path}: categories: {wrong}; give each once")
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def by_image(file: COCOFile, names: dict[Id, str], classes: Sequence[str]) -> dict[Id, list[dict]]:
    """{image id: its annotations of the classes}. ValueError for ids that come twice or are not there."""
    found, seen = {image["id"]: [] for image in file.images}, set()
    if len(found) < len(file.images):
        raise ValueError(f"{file.path}: images: an id comes twice; give each image its own")
    for i, annotation in enumerate(file.annotations):
        where = f"{file.path}: annotations[{i}]"
        _check_id(where, "image", annotation["image_id"], found)
        _check_id(where, "category", annotation["category_id"], names)
        if type(annotation.get("id", 0)) not in IDS:
            raise ValueError(f"{where}: must have an id that is {kind(0)} or {kind('')}, or none")
        if annotation.get("id") in seen:
            raise ValueError(f"{where}: the id {annotation['id']!r} comes twice; remove one")
        if "id" in annotation:
            seen.add(annotation["id"])
        if names[annotation["category_id"]] in classes:
            found[annotation["image_id"]].append(annotation)
    return found


def _check_id(where, what, id, known):
    """ValueError for an id that is not known, with the same one as a text or a number, or the known ones if few."""
    if id in known:
        return
    other = next((each for each in known if str(each) == str(id)), None)
    hint = f", only {shorten([repr(each) for each in known], 10)}" if len(known) <= 100 else ""
    hint = hint if other is None else f", but {other!r}: write ids in one way, as numbers or as texts"
    lists = {"image": "images", "category": "categories"}[what]
    raise ValueError(f"{where}: there is no {what} {id!r} under {lists!r}{hint}")


def find_pictures(path: Path, folder: Folder, images: Sequence[dict]) -> dict[Id, Path]:
    """{image id: file}. ValueError that counts the images that are not there, and for a file that is listed twice."""
    lost = []
    try:
        found = {image["id"]: folder.get(image["file_name"]) for image in images}
        if lost := [image["file_name"] for image in images if found[image["id"]] is None]:
            folder.find(lost[0])
    except ValueError as error:
        more = f" (and {len(lost) - 1} more of {len(images)} images)" if len(lost) > 1 else ""
        raise ValueError(f"{path}: {error}{more}") from None
    files = list(found.values())
    if len(set(files)) < len(files):
        twice = next(file for i, file in enumerate(files) if file in files[:i])
        raise ValueError(f"{path}: images: {twice.name} is listed twice; remove one")
    return found


def stated_size(image: dict) -> tuple[int, int] | None:
    """(height, width) of an image entry, None where it does not say them."""
    size = image.get("height"), image.get("width")
    return size if all(type(side) is int and side > 0 for side in size) else None


def thing_of(path: Path, annotation: dict, name: str, joints: int, size: tuple[int, int] | None) -> Thing:
    """The object of an annotation. ValueError where a box, a shape or key points are none."""
    where = f"{path}: annotation {annotation.get('id', 'without id')} of image {annotation['image_id']}"
    bbox = finite(annotation["bbox"], 4)
    if bbox is None:
        raise ValueError(f"{where}: bbox must be [x, y, width, height], got {annotation['bbox']!r:.60}")
    x, y, w, h = bbox
    crowd = _crowd(where, annotation.get("iscrowd"))
    area = annotation["area"] if has_area(annotation) else w * h
    shape = _shape(where, annotation.get("segmentation"), size)
    points = _points(where, annotation.get("keypoints"), joints) if joints else None
    return Thing(name, (x, y, x + w, y + h), f"[{x:g}, {y:g}, {w:g}, {h:g}]", crowd, crowd, float(area), shape, points)


def _crowd(where, value) -> bool:
    """Whether iscrowd says so. ValueError for what is neither 0 nor 1."""
    known = {None: False, 0: False, 1: True, "0": False, "1": True, "false": False, "true": True, "": False}
    value = value.lower() if isinstance(value, str) else value
    if isinstance(value, (list, dict)) or value not in known:
        raise ValueError(f"{where}: iscrowd must be 0 or 1, got {value!r:.60}")
    return known[value]


def has_area(annotation: dict) -> bool:
    """Whether the annotation says its area."""
    return type(annotation.get("area")) in (int, float)


def mirrored(names: Sequence[str]) -> tuple[int, ...]:
    """For each key point the index of its counterpart: "left" and "right" are exchanged in its name."""
    words = {"left": "right", "right": "left"}

    def other(name):
        side = next((side for side in words if side in name), None)
        return name.replace(side, words[side], 1) if side else name

    return tuple(names.index(other(name)) if other(name) in names else i for i, name in enumerate(names))


def _shape(where, shape, size):
    """The polygons or the RLE, None for an empty list."""
    if not shape:
        return None
    if isinstance(shape, dict):
        try:
            decode(shape, size)
        except ValueError as error:
            raise ValueError(f"{where}: segmentation: {error}") from error
        return shape
    for polygon in shape if isinstance(shape, list) else [None]:
        values = finite(polygon)
        if values is None or len(values) < 6 or len(values) % 2:
            wanted = "a list of polygons [x1, y1, x2, y2, x3, y3, ...], or an RLE"
            raise ValueError(f"{where}: segmentation must be {wanted}, got {shape!r:.60}")
    return shape


def _points(where, points, joints) -> np.ndarray | None:
    """(J, 3) x, y, v; points that are absent are (0, 0, 0). None for an empty list."""
    if not points:
        return None
    values = finite(points, 3 * joints)
    if values is None:
        raise ValueError(f"{where}: keypoints must be x, y, v of each of {joints}, got {points!r:.60}")
    array = np.array(values).reshape(joints, 3)
    if not np.isin(array[:, 2], (0, 1, 2)).all():
        raise ValueError(f"{where}: v of a key point must be 0 (absent), 1 (hidden) or 2 (visible)")
    array[array[:, 2] == 0] = 0
    return array
