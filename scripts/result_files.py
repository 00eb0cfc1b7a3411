"""Files of --write: what scripts.predict found, as COCO's and VOC's programs read it.

coco: coco_results.json, the list that COCO's evaluation takes, and coco_instances.json, the same as a data set
voc:  Annotations/NAME.xml, and ImageSets/Main/predicted.txt; with the pictures in JPEGImages it is a VOC folder
"""

import json
from collections.abc import Sequence
from pathlib import Path

from datasets import read_coco
from datasets.coco_file import category_names
from datasets.results import coco_areas, coco_data_set, coco_results, voc_annotation
from nn.io.checkpoint import replacing

FORMATS = {"coco": ("detection", "instances", "segmentation"), "voc": ("detection", "instances")}  # and their tasks
RESULTS, DATA_SET, LIST = "coco_results.json", "coco_instances.json", "ImageSets/Main/predicted.txt"


class ResultFiles:
    """The files of the formats chosen, for a model of the task.

    ids: a file of COCO's form whose ids of images (by file name) and categories (by name) are taken; without it they
    are 1, 2, 3, ... Of pixel labels it may lack the first class, the background, which is then left out; where objects
    are told apart, the background is no category at all.

    Raises ValueError for a format that the task does not have, and for classes that ids lacks.
    """

    def __init__(self, formats: Sequence[str], task: str, classes: Sequence[str], ids: Path | None = None):
        if wrong := [name for name in formats if task not in FORMATS[name]]:
            raise ValueError(f"--write {wrong[0]} is for {' and '.join(FORMATS[wrong[0]])}; this model is for {task}")
        if ids and "coco" not in formats:
            raise ValueError("--coco-ids goes with --write coco")
        self.formats, self.task, self.ids = formats, task, ids
        self.categories = dict(enumerate(classes, 1))
        self.image_ids, self.images, self.results, self.names, self.left_out = None, [], [], [], {None}
        if ids:
            file = read_coco(ids)
            by_name = {name: id for id, name in category_names(file).items()}
            needed = classes[task == "segmentation" :]
            if lost := [name for name in needed if name not in by_name]:
                raise ValueError(f"--coco-ids {ids}: has no category {lost[0]!r}, a class of the model")
            self.categories = {by_name.get(name): name for name in classes}
            self.image_ids = {Path(image["file_name"]).name: image["id"] for image in file.images}

    def add(self, path: Path, name: str, size: tuple[int, int], found: dict, out: Path):
        """Take what is found in the picture `path` of size (height, width), whose results are called `name`."""
        if "coco" in self.formats:
            id, ids = self._image_id(path), list(self.categories)
            self.images.append({"id": id, "file_name": path.name, "height": size[0], "width": size[1]})
            rows = (coco_areas if self.task == "segmentation" else coco_results)(id, ids, found)
            self.left_out |= set(ids[:1] if "instances" in found else [])
            self.results += [row for row in rows if row["category_id"] not in self.left_out]
        if "voc" in self.formats:
            kinds = [list(self.categories.values())[label - 1] for label in found["labels"]]
            file = out / "Annotations" / f"{name}.xml"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(voc_annotation(path.name, size, kinds, found["boxes"]))
            self.names.append(name)

    def finish(self, out: Path) -> list[str]:
        """Write the files that hold all pictures; returns the names of what was written, for a message."""
        if "voc" in self.formats:
            (out / LIST).parent.mkdir(parents=True, exist_ok=True)
            (out / LIST).write_text("".join(f"{name}\n" for name in self.names), encoding="utf-8")
        if "coco" in self.formats:
            categories = {id: name for id, name in self.categories.items() if id not in self.left_out}
            content = {RESULTS: self.results, DATA_SET: coco_data_set(self.images, categories, self.results)}
            for name, value in content.items():
                with replacing(out / name) as file:
                    file.write(json.dumps(value).encode() + b"\n")
        return [*([RESULTS, DATA_SET] if "coco" in self.formats else []), *(["Annotations"] if self.names else [])]

    def _image_id(self, path):
        if self.image_ids is None:
            return len(self.images) + 1
        if path.name not in self.image_ids:
            raise ValueError(f"{path}: {self.ids} lists no image of this name")
        return self.image_ids[path.name]
