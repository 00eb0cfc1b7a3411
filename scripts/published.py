"""Registered networks with published weights: --published NAME in place of a run, --pretrained NAME to begin with."""

from argparse import ArgumentParser, Namespace
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

import vision
from datasets.text import lines_of, read_text
from vision import Model
from vision.registry import MODELS, find
from vision.training.saving import find_pretrained

CLASS_NAMES = ("classes.txt", "imagenet_labels.txt")
ENDINGS = (".npz", ".safetensors", ".pth", ".pt")
PLACES = ("weights", "~/.cache/torch/hub/checkpoints")  # where files are looked for; the second is torchvision's
COUNT = "num_batches_tracked"  # of a batch normalisation: files often leave it out, and inference does without
SHOWN = 3  # arrays named in a message


def add_published_arguments(parser: ArgumentParser):
    """--published, --weights and --class-names."""
    text = "instead of a run: a registered model whose weights are those of --weights"
    parser.add_argument("--published", metavar="NAME", help=text)
    text = f"published weights, .npz, .safetensors or .pth (default: NAME.npz and so on in {' or '.join(PLACES)})"
    parser.add_argument("--weights", metavar="FILE", type=Path, help=text)
    text = f"the names of its classes, one a line (default: {' or '.join(CLASS_NAMES)} beside the weights or above)"
    parser.add_argument("--class-names", metavar="FILE", type=Path, help=text)


def find_weights(name: str, given: Path | None = None) -> Path:
    """The file of a network's published weights: the given one, or the one in PLACES that bears the network's name.

    Raises ValueError, which says where to get it, where there is none or more than one.
    """
    if given:
        return Path(given)
    published = find(name).published
    stems = {name} | {Path(word).stem for word in published.replace("/", " ").split() if word.endswith(ENDINGS)}
    there = [path for place in PLACES for path in sorted(Path(place).expanduser().glob("*")) if path.suffix in ENDINGS]
    found = [path for path in there if path.stem in stems or path.stem.startswith(f"{name}-")]
    if len(found) > 1:
        raise ValueError(f"{name}: there are {' and '.join(map(str, found[:SHOWN]))}; give one of them with --weights")
    if not found:
        get = f"get them from {published}" if published else "no address is known of any"
        wanted = f"{name}: its published weights are not in {' or '.join(PLACES)} ({name}.npz, .safetensors, .pth)"
        raise ValueError(f"{wanted}; give them with --weights FILE; {get}")
    return found[0]


def network_called(text: str) -> str:
    """The registered network that --pretrained names where it is no file. ValueError with the nearest otherwise."""
    if text not in MODELS:
        known = [name for name in MODELS if MODELS[name].published]
        near = get_close_matches(text, known, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"networks are {', '.join(known)}"
        raise ValueError(f"--pretrained {text}: there is no such file, run or network with published weights; {hint}")
    return text


def load_published(args: Namespace, **changes) -> Model:
    """The model --published with all its arrays from --weights. ValueError naming the file and what is not in it.

    changes: options of the model besides those in --set.
    """
    weights = find_weights(args.published, args.weights)
    known = {field.name for field in fields(find(args.published).options)}
    options = {name: value for name, value in args.set if name in known} | changes
    model = vision.build(args.published, class_names(args, weights), **options)
    found = find_pretrained(weights, model)
    missing = [name for name in model.state_dict() if name not in found.fitting and not name.endswith(COUNT)]
    if missing:
        why = "; ".join([*found.left_out[:SHOWN], *(f"missing {name}" for name in missing[:SHOWN])])
        raise ValueError(f"{weights}: {len(missing)} arrays of {args.published} are not in it: {why}")
    model.load_state_dict(found.fitting, strict=False)
    return model


def class_names(args: Namespace, weights: Path) -> list[str]:
    """The lines of --class-names, or the names that the network is registered with, or the lines of the first of
    CLASS_NAMES beside the weights or one folder above them."""
    folder = weights.resolve().parent
    candidates = [each / name for each in (folder, folder.parent) for name in CLASS_NAMES]
    registered = list(find(args.published).classes)
    path = args.class_names or (None if registered else next(filter(Path.is_file, candidates), None))
    if path:
        return lines_of(read_text(path))
    if not registered:
        wanted = "a file with the name of a class on each line, in the order of the network's output"
        raise ValueError(f"--published {args.published} needs --class-names FILE: {wanted}")
    return registered
