"""What a model found, in files that other programs read: COCO's results, a COCO data set, VOC's annotations.

A COCO results file is a list: [{"image_id": 285, "category_id": 3, "bbox": [x, y, width, height], "score": 0.9}, ...],
with "segmentation", an RLE, in place of the box for masks.

Reference: cocodataset.org, "Results format"; Everingham et al. 2010, the development kit of Pascal VOC.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from xml.etree import ElementTree

import numpy as np

from .coco_file import IDS, Id
from .json_checks import entries, finite
from .rle import decode, encode
from .shapes import mask_boxes
from .text import read_json


def coco_results(image_id: Id, category_ids: Sequence[Id], found: dict) -> list[dict]:
    """The entries of one picture. found: labels (D,) from 1, scores (D,), and masks (D, H, W) bool or boxes (D, 4).

    A result with a mask has no box: pycocotools takes the size of an object from the box where there is one.
    """
    rows = []
    for i, (label, score) in enumerate(zip(found["labels"], found["scores"])):
        row = {"image_id": image_id, "category_id": category_ids[label - 1]}
        row |= {"segmentation": encode(found["masks"][i])} if "masks" in found else {"bbox": _xywh(found["boxes"][i])}
        rows.append(row | {"score": float(score)})
    return rows


def coco_areas(image_id: Id, category_ids: Sequence[Id], found: dict) -> list[dict]:
    """The entries of one picture whose pixels are labelled: a mask of each class that occurs, and its mean score.

    found: labels (H, W) from 0, -1 for none, and scores (H, W). With instances (H, W), 0 for none and an index for each
    object, there is a mask of each object, and none of the rest.
    """
    labels, scores = found["labels"], found["scores"]
    areas = found["instances"] if "instances" in found else labels + 1
    masks = [areas == k for k in np.unique(areas[areas > 0])]
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[labels[mask][0]],
            "segmentation": encode(mask),
            "score": float(scores[mask].mean()),
        }
        for mask in masks
    ]


def coco_data_set(images: Sequence[dict], classes: Mapping[Id, str], results: Sequence[dict]) -> dict:
    """The results as a data set of COCO's form, to be looked at, corrected, or read by COCODetection.

    images: entries with id, file_name, width and height; classes: names by category id. `score` is kept.
    """
    annotations = []
    for number, row in enumerate(results, 1):
        if "segmentation" in row:
            mask = decode(row["segmentation"])
            row = row | {"bbox": _xywh(mask_boxes(mask[None])[0]) if mask.any() else [0.0] * 4}
            area = int(mask.sum())
        else:
            area = row["bbox"][2] * row["bbox"][3]
        annotations.append({"id": number, **row, "area": area, "iscrowd": 0})
    categories = [{"id": id, "name": name} for id, name in classes.items()]
    return {"images": list(images), "categories": categories, "annotations": annotations}


def read_coco_results(path: str | PathLike, category_ids: Sequence[Id]) -> dict[Id, dict]:
    """{image id: boxes (D, 4) float32, labels (D,), scores (D,), and masks (D, H, W) where they have any}, as written.

    category_ids: those of the classes, in the order of their labels. Raises ValueError for a file of another form.
    """
    rows = entries(path, read_json(path), "results", image_id=IDS, category_id=IDS)
    label = {id: i for i, id in enumerate(category_ids, 1)}
    by_image = {}
    for i, row in enumerate(rows):
        if row["category_id"] not in label:
            raise ValueError(f"{path}: results[{i}]: there is no category {row['category_id']!r} among {category_ids}")
        read = (label[row["category_id"]], *_read_row(f"{path}: results[{i}]", row))
        by_image.setdefault(row["image_id"], []).append(read)
    found = {}
    for id, read in by_image.items():
        labels, boxes, masks, scores = zip(*read)
        found[id] = {"boxes": np.stack(boxes), "labels": np.array(labels, np.int64), "scores": np.array(scores)}
        if any(mask is not None for mask in masks):
            if len({None if mask is None else mask.shape for mask in masks}) > 1:
                raise ValueError(f"{path}: image {id}: its results must all have masks, of one size")
            found[id]["masks"] = np.stack(masks)
    return found


def voc_annotation(file_name: str, size: tuple[int, int], names: Sequence[str], boxes: np.ndarray) -> bytes:
    """The XML of a picture of size (height, width): VOC's corners count from 1, to a hundredth of a pixel."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = file_name
    _children(ElementTree.SubElement(root, "size"), width=size[1], height=size[0], depth=3)
    for name, (x1, y1, x2, y2) in zip(names, np.asarray(boxes, np.float64)):
        thing = ElementTree.SubElement(root, "object")
        _children(thing, name=name, difficult=0)
        corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
        _children(ElementTree.SubElement(thing, "bndbox"), **{key: f"{v:.2f}" for key, v in corners.items()})
    ElementTree.indent(root)
    return ElementTree.tostring(root, "utf-8", xml_declaration=True) + b"\n"


def _xywh(box) -> list[float]:
    """COCO's box: a corner and the sides, in float64, in which x + width gives back the float32 corner."""
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]


def _read_row(where, row):
    """The box, the mask or None, and the score of an entry."""
    score, mask = finite([row.get("score")], 1), None
    if score is None:
        raise ValueError(f"{where}: must have a score that is a number, got {row.get('score')!r}")
    if isinstance(row.get("segmentation"), dict):
        try:
            mask = decode(row["segmentation"])
        except ValueError as error:
            raise ValueError(f"{where}: segmentation: {error}") from error
    box = finite(row.get("bbox"), 4)
    if box is None and mask is None:
        raise ValueError(f"{where}: must have a bbox [x, y, width, height] or a segmentation that is an RLE")
    if box is None:
        box = _xywh(mask_boxes(mask[None])[0]) if mask.any() else [0.0] * 4
    x, y, w, h = box
    return np.array([x, y, x + w, y + h], np.float32), mask, score[0]


def _children(parent, **texts):
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = str(text)
