"""What a classifier has learned, as pictures: first-layer filters, class-activation maps, excitations by class.

Reference: Zeiler and Fergus 2014, arXiv:1311.2901 (filters); Zhou et al. 2016, arXiv:1512.04150 (class-activation
maps); Selvaraju et al. 2017, arXiv:1610.02391 (for other heads); Hu et al. 2018, arXiv:1709.01507, sec. 7.3, fig. 7.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nn import Conv2d, SqueezeExcitation
from nn.dispatch import array_module
from nn.gpu.device import to_device
from nn.layer import Layer
from vision.classification.classifier import ClassificationNetwork
from vision.detection.draw import grid

INK, GROUND, MARGIN, LINE, WIDTH = (16, 16, 16), (255, 255, 255), 6, 16, 512  # colours; pixels


def draw_filters(network: Layer) -> np.ndarray | None:
    """The filters of the first convolution, in colour where it sees three channels; None where there is no convolution.

    Each filter is scaled to black .. white by its own smallest and largest weight.
    """
    first = next((layer for _, layer in network.layers() if isinstance(layer, Conv2d)), None)
    if first is None:
        return None
    weight = to_device(first.weight.value, "cpu").astype(np.float64)  # (O, I, kh, kw)
    weight = weight if weight.shape[1] == 3 else weight.mean(axis=1, keepdims=True).repeat(3, axis=1)
    low, high = (f(weight, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    images = 255 * (weight - low) / np.maximum(high - low, 1e-12) + 0.5
    factor = max(1, 48 // weight.shape[2])
    images = images.astype(np.uint8).transpose(0, 2, 3, 1).repeat(factor, axis=1).repeat(factor, axis=2)
    return grid(list(images), gap=4)


def class_activation(network: ClassificationNetwork, images, labels) -> np.ndarray:
    """(N, h, w): how much each cell of the last map speaks for the label; images (N, 3, H, W), labels (N,).

    map[r, c] = relu(sum over channels k of a[k] x[k, r, c]),   a[k] = mean over cells of d logit / d x[k, r, c]

    Where the head is global average pooling and one layer, a is the label's row of its weights (over the number of
    cells), and the map that of Zhou et al., eq. 2; for other heads it is Selvaraju et al., eq. 1 and 2.
    """
    features, _ = network.backbone.forward(images, training=False)
    logits, cache = network.head.forward(features, training=False)
    xp = array_module(logits)
    dlogits = xp.zeros_like(logits)
    dlogits[xp.arange(len(logits)), xp.asarray(labels)] = 1
    weights = network.head.backward(dlogits, cache).mean(axis=(2, 3), keepdims=True)
    network.head.zero_grad()
    return xp.maximum((weights * features).sum(axis=1), 0)


def draw_activation(image: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) uint8, dark but where the map (h, w), enlarged to its size, is high."""
    scaled = activation / max(float(activation.max()), 1e-12)
    smooth = Image.fromarray(scaled.astype(np.float32)).resize(image.shape[1::-1], Image.Resampling.BILINEAR)
    share = 0.15 + 0.85 * np.clip(np.asarray(smooth), 0, 1)[..., None]
    return (image * share + 0.5).astype(np.uint8)


@contextmanager
def gates_seen(network: Layer) -> Iterator[dict[str, list[np.ndarray]]]:
    """{name of an excitation: gates (N, C) of each forward pass in the block}."""
    layers = {name: layer for name, layer in network.layers() if isinstance(layer, SqueezeExcitation)}
    seen = {name: [] for name in layers}

    def noted(forward, gates):
        def noting(x, training=True):
            y, cache = forward(x, training)
            gates.append(to_device(cache[1], "cpu")[:, :, 0, 0])
            return y, cache

        return noting

    try:
        for name, layer in layers.items():
            layer.forward = noted(layer.forward, seen[name])
        yield seen
    finally:
        for layer in layers.values():
            layer.__dict__.pop("forward", None)


def mean_gates(seen: Mapping[str, Sequence[np.ndarray]], labels: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """{name: (classes, C)}: the mean gate of each channel over the images of a class, labels (N,); NaN without any."""
    gates = {name: np.concatenate(each) for name, each in seen.items()}  # (N, C)
    counts = np.bincount(labels, minlength=classes)[:, None]
    with np.errstate(invalid="ignore"):
        return {name: (np.eye(classes)[labels].T @ each) / counts for name, each in gates.items()}


def draw_excitation(gates: Mapping[str, np.ndarray], classes: Sequence[str]) -> np.ndarray:
    """For each depth a matrix, a row for each class, a column for each channel; black: gate 0, white: 1."""
    font = ImageFont.load_default(LINE - 4)
    left = 2 * MARGIN + max(round(font.getlength(name)) for name in classes)
    height = LINE * (len(classes) + 1) + MARGIN
    picture = Image.new("RGB", (left + WIDTH + MARGIN, height * len(gates) + MARGIN), GROUND)
    draw = ImageDraw.Draw(picture)
    for i, (name, each) in enumerate(gates.items()):
        top = MARGIN + i * height
        draw.text((left, top + LINE / 2), f"{name}, {each.shape[1]} channels", INK, font, anchor="lm")
        grey = Image.fromarray((255 * np.nan_to_num(np.clip(each, 0, 1)) + 0.5).astype(np.uint8))
        strip = grey.resize((WIDTH, LINE * len(classes)), Image.Resampling.NEAREST).convert("RGB")
        picture.paste(strip, (left, top + LINE))
        for k, label in enumerate(classes):
            draw.text((left - MARGIN, top + LINE * (k + 1.5)), label, INK, font, anchor="rm")
    return np.array(picture)
