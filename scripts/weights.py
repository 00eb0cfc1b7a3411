"""The weights that a new run starts from: --weights, a checkpoint of the same model, or --pretrained, parts of it."""

import os
from argparse import Namespace

from nn.io.checkpoint import read_checkpoint
from nn.io.state import read_state
from scripts.published import ENDINGS, find_weights, network_called
from vision import Model
from vision.training.saving import KEYS, find_checkpoint, find_pretrained, load_state


def load_start(args: Namespace, model: Model):
    """Load what --pretrained and --weights name, and print what stays random. Raises ValueError naming the file.

    With the name of a network in --pretrained, --weights is the file of its published weights.
    """
    if args.pretrained and not os.path.exists(args.pretrained) and os.path.splitext(args.pretrained)[1] not in ENDINGS:
        load_parts(find_weights(network_called(args.pretrained), args.weights), model)
        return
    if args.pretrained:
        load_parts(find_checkpoint(args.pretrained), model)
    if args.weights:
        load_whole(args.weights, model)


def load_parts(path: str | os.PathLike, model: Model):
    """Load what fits of a file's weights; print how much that is, what does not fit, and what stays random."""
    found, names = find_pretrained(path, model), model.state_dict()
    model.load_state_dict(found.fitting, strict=False)
    rest = [name for name in names if name not in found.fitting]
    print(f"{path}: {len(found.fitting)} of {len(names)} arrays; random are {', '.join(rest) or 'none'}")
    for line in found.left_out:
        print(f"note: {path}: {line}: left out")


def load_whole(path: str | os.PathLike, model: Model):
    """Load a checkpoint of the same model: a file, or the folder of a run."""
    path = find_checkpoint(path) if os.path.isdir(path) else path
    try:
        arrays, meta = read_checkpoint(path)
    except ValueError:
        if _holds_weights(path):
            message = "holds weights, but is no checkpoint of scripts.train: give it with --pretrained, not --weights"
            raise ValueError(f"{path}: {message}") from None
        raise
    load_state(path, model, arrays, meta)


def _holds_weights(path):
    try:
        return bool(read_state(path, KEYS))
    except ValueError:
        return False
