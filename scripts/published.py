"""A registered network with published weights: scripts.predict --published NAME --weights FILE."""

from argparse import Namespace
from dataclasses import fields
from pathlib import Path

import vision
from datasets.text import lines_of, read_text
from vision import Model
from vision.registry import find
from vision.training.saving import find_pretrained

CLASS_NAMES = ("classes.txt", "imagenet_labels.txt")
COUNT = "num_batches_tracked"  # of a batch normalisation: files often leave it out, and inference does without
SHOWN = 3  # arrays named in a message


def load_published(args: Namespace, **changes) -> Model:
    """The model --published with all its arrays from --weights. ValueError naming the file and what is not in it.

    changes: options of the model besides those in --set.
    """
    if not args.weights:
        raise ValueError(f"--published {args.published} needs --weights FILE: its published weights")
    known = {field.name for field in fields(find(args.published).options)}
    options = {name: value for name, value in args.set if name in known} | changes
    model = vision.build(args.published, class_names(args), **options)
    found = find_pretrained(args.weights, model)
    missing = [name for name in model.state_dict() if name not in found.fitting and not name.endswith(COUNT)]
    if missing:
        why = "; ".join([*found.left_out[:SHOWN], *(f"missing {name}" for name in missing[:SHOWN])])
        raise ValueError(f"{args.weights}: {len(missing)} arrays of {args.published} are not in it: {why}")
    model.load_state_dict(found.fitting, strict=False)
    return model


def class_names(args: Namespace) -> list[str]:
    """The lines of --class-names, or of the first of CLASS_NAMES beside the weights or one folder above them."""
    folder = Path(args.weights).resolve().parent
    places = [place / name for place in (folder, folder.parent) for name in CLASS_NAMES]
    path = args.class_names or next(filter(Path.is_file, places), None)
    if path is None:
        wanted = "a file with the name of a class on each line, in the order of the network's output"
        raise ValueError(f"--published {args.published} needs --class-names FILE: {wanted}")
    return lines_of(read_text(path))
