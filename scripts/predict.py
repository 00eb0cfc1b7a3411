"""Find things in your own pictures: writes annotated copies and all results as JSON.

example:
  python -m scripts.predict runs/mine holiday.jpg more_pictures/ --out predictions

writes predictions/holiday.png, ... and predictions/predictions.json; boxes are [x1, y1, x2, y2] in the pixels of the
picture as it is shown (turned upright if its EXIF data says so), x2 and y2 exclusive.
"""

import json
import sys
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from datasets import read_image
from nn.checkpoint import replacing
from scripts.command_line import Parser, command, fraction
from scripts.data import task_of
from scripts.run_folder import find_checkpoint
from vision.saving import load_model

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
RESULT = "predictions.json"


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    images = find_images(args.images)
    model, _ = load_model(find_checkpoint(args.checkpoint))
    task = task_of(model.config["model"])
    args.out.mkdir(parents=True, exist_ok=True)
    names = picture_names(images)
    records = [
        predict(model, task, image, args.out / name, args.threshold)
        for image, name in zip(tqdm(images, unit=" images", disable=None), names)
    ]
    with replacing(args.out / RESULT) as file:
        file.write(json.dumps(records, indent=2).encode() + b"\n")
    print(f"{len(records)} pictures and {RESULT} are in {args.out}")


def build_parser() -> Parser:
    parser = Parser("scripts.predict", __doc__)
    text = "a checkpoint (.npz), or the folder of a run: its best.npz"
    parser.add_argument("checkpoint", metavar="RUN_OR_CHECKPOINT", type=Path, help=text)
    parser.add_argument(
        "images", metavar="IMAGE_OR_FOLDER", type=Path, nargs="+", help="pictures, or folders of pictures"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the results (needed)")
    text = "leave out what the model is less sure of (default: 0.5)"
    parser.add_argument("--threshold", metavar="P", type=fraction, default=0.5, help=text)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def find_images(paths: list[Path]) -> list[Path]:
    """The files named, and the pictures in the folders named, in order. ValueError for what is not there."""
    images = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder; give pictures, or folders that hold some")
        inside = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not inside:
            raise ValueError(f"{path}: this folder holds no pictures ({', '.join(sorted(SUFFIXES))}); give another")
        images += inside
    return images


def picture_names(images: list[Path]) -> list[str]:
    """A file name for each annotated picture: the image's own, numbered where it comes twice."""
    names, taken = [], set()
    for image in images:
        name, k = f"{image.stem}.png", 2
        while name in taken:
            name, k = f"{image.stem}_{k}.png", k + 1
        taken.add(name)
        names.append(name)
    return names


def predict(model, task, path: Path, out: Path, threshold: float) -> dict:
    """Write the annotated picture to `out`; returns the record for the JSON file."""
    image = read_image(path)
    found = task.select(task.predict(model, {"image": image}), threshold)
    classes = model.config["classes"]
    Image.fromarray(task.draw(image, found, classes, None)).save(out)
    h, w = image.shape[:2]
    return {"file": str(path), "width": w, "height": h, "picture": out.name, "found": task.describe(found, classes)}


if __name__ == "__main__":
    sys.exit(main())
