"""Parts of a model by the beginnings of their names: frozen ones, and groups with a learning rate of their own.

A beginning is one or more whole words of a dotted name: "backbone.conv1" means backbone.conv1.weight, but not
backbone.conv10.weight.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches

from nn.layer import Layer
from vision.backbones import Backbone


def freeze(model: Layer, beginnings: Iterable[str]):
    """Hold the parameters whose names begin so, and the statistics of the normalisations among them.

    The first stages of a backbone that are held as a whole cost no backward pass any more: see Backbone.freeze.
    Raises ValueError for a beginning that no parameter has, and where nothing is left to train.
    """
    beginnings, parameters = list(beginnings), model.parameters()
    check_beginnings(parameters, beginnings)
    for name, parameter in parameters.items():
        parameter.trainable = parameter.trainable and longest(beginnings, name) is None
    if beginnings and not any(parameter.trainable for parameter in parameters.values()):
        raise ValueError(f"freezing {' '.join(beginnings)} leaves nothing to train; freeze less")
    for name, layer in model.layers():
        if hasattr(layer, "frozen") and not isinstance(layer, Backbone) and longest(beginnings, name) is not None:
            layer.frozen = True
    for backbone in backbones(model) if beginnings else ():
        backbone.stop_below_trained()


def backbones(layer: Layer) -> Iterator[Backbone]:
    """The backbones in a layer: its attributes are searched, as children() may name only what is inside of them."""
    if isinstance(layer, Backbone):
        yield layer
    for _, child in Layer.children(layer):
        yield from backbones(child)


def scale_rates(groups: list[dict], lr: float, scales: Mapping[str, float]) -> list[dict]:
    """The groups of an optimiser, split where a beginning in `scales` multiplies the rate; the longest one holds.

    Raises ValueError for a beginning that no parameter has.
    """
    if not scales:
        return groups
    check_beginnings([name for group in groups for name in group["parameters"]], scales)
    split = []
    for group in groups:
        parts = {}
        for name, parameter in group["parameters"].items():
            parts.setdefault(scales.get(longest(scales, name), 1.0), {})[name] = parameter
        split += [group | {"parameters": part, "lr": lr * scale} for scale, part in parts.items()]
    return split


def biases(model: Layer) -> set[str]:
    """The names of the biases of a model, without those of normalisations."""
    owners = dict(model.layers())
    paths = (name.rpartition(".") for name in model.parameters())
    return {
        f"{owner}.{name}" if owner else name
        for owner, _, name in paths
        if name.startswith("bias") and "Norm" not in type(owners.get(owner)).__name__
    }


def scale_biases(groups: list[dict], lr: float, scale: float, names: Collection[str]) -> list[dict]:
    """The groups of an optimiser, split where the rate of the parameters of these names is multiplied."""
    if scale == 1:
        return groups
    split = []
    for group in groups:
        for factor, chosen in ((1.0, False), (scale, True)):
            part = {name: p for name, p in group["parameters"].items() if (name in names) == chosen}
            split += [group | {"parameters": part, "lr": group.get("lr", lr) * factor}] if part else []
    return split


def longest(beginnings: Iterable[str], name: str) -> str | None:
    """The longest of the beginnings that a dotted name has, or None."""
    return max((each for each in beginnings if f"{name}.".startswith(f"{each}.")), key=len, default=None)


def check_beginnings(names: Iterable[str], beginnings: Iterable[str]):
    """Raise ValueError, with the nearest ones or all first words, for a beginning that none of the names has."""
    words = [name.split(".") for name in names]
    known = dict.fromkeys(".".join(each[:n]) for each in words for n in range(1, len(each) + 1))
    for beginning in beginnings:
        if beginning not in known:
            near = get_close_matches(beginning, known, 3)
            first = dict.fromkeys(each[0] for each in words)
            hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(first)}, or parts of them"
            raise ValueError(f"no parameter's name begins with {beginning!r}: {hint}")
