"""Generated scenes, for every task on images."""

from datasets import Shapes

SEEDS = {"train": 1, "val": 2, "test": 3}
SPLITS = ("train", "val")


def open_shapes(arguments, split: str, classes=None) -> Shapes:
    """Generated scenes; each split has its own seed, so test scenes are not training scenes."""
    if split not in SEEDS:
        raise ValueError(f"--data shapes has the splits {', '.join(SEEDS)}; there is no {split!r}")
    if arguments.root:
        raise ValueError(f"--root {arguments.root} does not go with --data shapes, which is generated; give --data voc")
    n = arguments.shapes_train if split == "train" else arguments.shapes_val
    known = {"classes": classes} if classes else {}
    return Shapes(n, tuple(arguments.shapes_size), SEEDS[split], **known)
