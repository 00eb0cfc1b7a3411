"""Write pictures in folders of their classes into tar files, which are read faster: see datasets/shards.py.

example, the splits of my_pictures (train/cat/1.jpg, val/dog/2.jpg and so on), 1,000 pictures in a tar file:
  python -m scripts.shards my_pictures --out my_shards --splits train val
  python -m scripts.train --model resnet20_cifar --data shards --root my_shards --run-dir runs/shards
"""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets import ClassFolders
from nn.io.checkpoint import replacing
from scripts.command_line import Parser, command, count, count_or_none


@command
def main(arguments: list[str]) -> int | None:
    parser = Parser("scripts.shards", __doc__)
    parser.add_argument("root", type=Path, metavar="DIR", help="folder as for --data class_folders")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the tar files")
    parser.add_argument("--splits", nargs="+", default=["train", "val"], metavar="NAME", help="default: train val")
    parser.add_argument("--size", type=count, default=1000, metavar="N", help="pictures in a tar file")
    text = "pictures go into the tar files in an order drawn by this seed, so that each holds all classes"
    parser.add_argument("--seed", type=count_or_none, default=0, metavar="N", help=text)
    args = parser.parse_args(arguments)
    if args.out.exists() and any(args.out.iterdir()):
        raise ValueError(f"--out {args.out}: is not empty; give a new folder")
    classes = None
    for split in args.splits:
        data = ClassFolders(args.root, split, classes, absent=classes is not None)
        if classes is None:
            classes = data.classes
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
        files = write_shards(data, args.out, split, args.size, args.seed)
        print(f"{split}: {len(data)} pictures of {len(classes)} classes in {files} tar files in {args.out}")


def write_shards(data: ClassFolders, folder: Path, split: str, size: int, seed: int) -> int:
    """Write the pictures of a data set, as they are, and their labels; the number of tar files. Equal pictures give
    equal bytes.
    """
    order = np.random.default_rng(seed).permutation(len(data)).tolist()
    starts = range(0, len(order), size)
    for number, start in enumerate(tqdm(starts, f"writing {split}", unit=" tar files", disable=None, leave=False)):
        with (
            replacing(folder / f"{split}-{number:06}.tar") as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for position, index in enumerate(order[start : start + size], start):
                _, path, label = data.items[index]
                _add(tar, f"{position:08}{Path(path).suffix.lower()}", Path(path).read_bytes())
                _add(tar, f"{position:08}.cls", str(label).encode())
    return len(starts)


def _add(tar: tarfile.TarFile, name: str, content: bytes):
    info = tarfile.TarInfo(name)  # dated 1970, without an owner
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


if __name__ == "__main__":
    sys.exit(main())
