"""Find the pictures of a folder that are most like yours, by the vectors of a trained embedder.

example:
  python -m scripts.similar runs/mine my_pictures query.jpg --out found

writes found/similar.png, a row for each query with the most similar pictures behind it, and found/similar.json with
their files and similarity. The folder is searched with all folders in it.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets import read_image
from datasets.files import PICTURES, files_below
from nn.io.checkpoint import replacing
from scripts.command_line import Parser, add_device, command, count, list_failed, make_sure_of
from scripts.imports import add_import, import_files
from scripts.pictures import save_drawn
from scripts.predict import find_inputs
from vision.embedding import Embedder, search
from vision.embedding.draw import draw_retrieval
from vision.embedding.embedder import TOGETHER
from vision.training.saving import find_checkpoint, load_model

RESULT = "similar"


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    make_sure_of(args.device)
    import_files(args.imports)
    path = find_checkpoint(args.checkpoint)
    model = load_model(path)[0].to(args.device)
    if not isinstance(model, Embedder):
        raise ValueError(f"{path}: {model.name} is no embedder; give the run of one, such as triplet_net")
    failed = []
    gallery, vectors = embedded(model, pictures_in(args.gallery), failed)
    queries, wanted = embedded(model, find_inputs(args.queries, "image"), failed)
    started = time.monotonic()
    found = search(model.similarity, wanted, vectors, args.k)
    seconds = time.monotonic() - started
    args.out.mkdir(parents=True, exist_ok=True)
    save_drawn(sheet(queries, gallery, found.indices), args.out, RESULT)
    with replacing(args.out / f"{RESULT}.json") as file:
        file.write(json.dumps(records(queries, gallery, found), indent=2).encode() + b"\n")
    print(f"{len(queries)} queries among {len(gallery)} pictures: searched in {seconds:.3f} s; see {args.out}")
    return list_failed(failed, "read", len(gallery) + len(queries) + len(failed))


def build_parser() -> Parser:
    parser = Parser("scripts.similar", __doc__)
    text = "a checkpoint (.npz) of an embedder, or the folder of a run: its best.npz"
    parser.add_argument("checkpoint", metavar="RUN_OR_CHECKPOINT", type=Path, help=text)
    parser.add_argument("gallery", metavar="FOLDER", type=Path, help="the pictures to search")
    parser.add_argument("queries", metavar="QUERY", type=Path, nargs="+", help="pictures, or folders of them")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the results (needed)")
    parser.add_argument("-k", metavar="N", type=count, default=8, help="pictures to find for each query (default: 8)")
    add_import(parser)
    add_device(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder and its folders; ValueError where there is none."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one with pictures to search")
    paths = [path for _, path in files_below(folder, PICTURES)]
    if not paths:
        raise ValueError(f"{folder}: this folder holds no pictures ({', '.join(sorted(PICTURES))}); give another")
    return paths


def embedded(model: Embedder, paths: list[Path], failed: list[str]) -> tuple[list[Path], np.ndarray]:
    """The paths of the pictures that can be read, and their vectors (N, D); ValueError where there is none."""
    kept, vectors = [], []
    for start in tqdm(range(0, len(paths), TOGETHER), unit=f" {TOGETHER} pictures", disable=None, leave=False):
        images = []
        for path in paths[start : start + TOGETHER]:
            try:
                images.append(model.preprocess.scaled(read_image(path)))
                kept.append(path)
            except (ValueError, MemoryError) as error:
                failed.append(f"{path}: {str(error).removeprefix(f'{path}: ')}")
        if images:
            vectors.append(model.embeddings(images))
    if not kept:
        raise ValueError(f"none of {len(paths)} pictures can be read: {failed[0]}")
    return kept, np.concatenate(vectors)


def sheet(queries: list[Path], gallery: list[Path], indices: np.ndarray) -> np.ndarray:
    """A row for each query."""
    shown = [[read_image(gallery[i]) for i in row] for row in indices.tolist()]
    return draw_retrieval([read_image(path) for path in queries], shown)


def records(queries: list[Path], gallery: list[Path], found) -> list[dict]:
    """[{file, found: [{file, similarity}]}]."""
    rows = zip(queries, found.indices.tolist(), found.similarity.tolist())
    return [
        {
            "file": str(path),
            "found": [{"file": str(gallery[i]), "similarity": round(s, 6)} for i, s in zip(row, values)],
        }
        for path, row, values in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
