"""The plain networks that recurrent attention is compared with: they see the whole image at once.

Reference: Mnih et al. 2014, Recurrent models of visual attention, arXiv:1406.6247, sec. 4.1 and tables 1 and 2.
"""

from dataclasses import dataclass

from nn import Conv2d, Flatten, Linear, ReLU, Sequential
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive
from vision.classification.classifier import Classifier, ClassifierOptions
from vision.registry import Tiny, register


class Grey(Layer):
    """y = the mean of the three channels.    x (N, 3, H, W), y (N, 1, H, W). H and W are `size`."""

    def __init__(self, size: int):
        positive(self, size=size)
        self.size = size

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, self.size, self.size)))
        return x.mean(axis=1, keepdims=True), None

    def backward(self, dy, cache):
        check_shape(self, dy=(dy, ("N", 1, self.size, self.size)))
        return array_module(dy).repeat(dy / 3, 3, axis=1)  # y = (x[0] + x[1] + x[2]) / 3


# The rate falls almost linearly, as in the paper. No mirroring or rotation: that would change the digit.
RECIPE = {
    "epochs": 30, "batch_size": 128, "optimiser": "adam", "lr": 0.001, "weight_decay": 0.0, "schedule": "polynomial",
    "warm_up": 0, "clip_norm": 0.0, "flip_horizontal": 0.0, "jitter": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """Images are of one size, short_side = max_side; pixels are in 0 .. 1, so that black is 0."""

    hidden: int = 256  # units of each hidden layer
    short_side: int = 28  # pixels of the shorter side
    max_side: int = 28  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = (0, 0, 0)  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = (255, 255, 255)  # then each channel is divided by this


PAPER = {"system": "Plain networks for MNIST", "paper": "Mnih et al. 2014, arXiv:1406.6247"}
FIGURES = "MNIST: fully connected 1.5 %, convolution 1.4 % wrong; translated on 60x60: 7.79 % (1 of 3 epochs), 4.04 %"
TINY = Tiny({"hidden": 6, "short_side": 32, "max_side": 32}, size=(32, 32))


@register("mnist_fc", "classification", RECIPE, options=Options, tiny=TINY, **PAPER)
def mnist_fc(classes, options: Options, rng) -> Classifier:
    """Two fully connected layers of `hidden` units, each with ReLU, and one for the classes."""
    size, hidden = options.short_side, options.hidden
    layers = Grey(size), Flatten(), Linear(size * size, hidden, rng=rng), ReLU()
    return _classifier(layers, hidden, classes, options, rng)


@register("mnist_conv", "classification", RECIPE, options=Options, tiny=TINY, **PAPER, figures=FIGURES)
def mnist_conv(classes, options: Options, rng) -> Classifier:
    """8 filters of 10x10 with stride 5, a fully connected layer of `hidden` units, each with ReLU, and the classes."""
    size = options.short_side
    layers = Grey(size), Conv2d(1, 8, 10, stride=5, rng=rng), ReLU(), Flatten()
    return _classifier(layers, 8 * ((size - 10) // 5 + 1) ** 2, classes, options, rng)


def _classifier(layers, features, classes, options, rng):
    last = Linear(features, options.hidden, rng=rng), ReLU(), Linear(options.hidden, len(classes), rng=rng)
    return Classifier(Sequential(*layers, *last), classes, options)
