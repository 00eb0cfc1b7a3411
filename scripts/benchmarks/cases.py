"""The cases by name: what is computed, in which sizes."""

import difflib
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import nn
from scripts.benchmarks import layers, steps
from scripts.benchmarks.work import Work
from vision.segmentation import FullResolution, SegNetBasic, UNet


class Case(NamedTuple):
    """One row of the table."""

    name: str
    make: Callable[..., Work]  # our work; PyTorch's side is made from it
    sizes: dict[str, Any]
    small: dict[str, Any]  # the sizes that differ where a test compares the results of both sides
    step: bool = False  # a whole training step, in a process of its own

    @property
    def kind(self) -> str:
        """Which of the table's means it is part of."""
        return "training steps" if self.step else "predictions" if self.name.startswith("predict_") else "layers"

    def work(self, small: bool = False) -> Work:
        """Ours, with the same weights each time."""
        nn.seed(0)
        return self.make(**self.sizes | (self.small if small else {}))


CONVOLUTIONS = [  # in, size, out, kernel: the shapes of VGG and ResNet
    (3, 224, 64, 3), (64, 56, 64, 3), (128, 28, 128, 3), (256, 14, 256, 3), (512, 14, 512, 3), (64, 56, 256, 1),
]  # fmt: skip
TINY = {"x": (2, 6, 9, 9)}


def planes(channels, size):
    """The shape of eight square images."""
    return {"x": (8, channels, size, size)}


def channels(inputs, outputs, kernel):
    return {"in_channels": inputs, "out_channels": outputs, "kernel_size": kernel}


def _layers():
    conv, few = partial(layers.layer, nn.Conv2d), TINY | {"in_channels": 6, "out_channels": 4}
    for c, size, out, kernel in CONVOLUTIONS:
        for way in ("forward", "both"):
            sizes = planes(c, size) | channels(c, out, kernel) | {"padding": kernel // 2, "backward": way == "both"}
            yield f"conv{kernel}x{kernel}_{c}_{size}_{out}.{way}", conv, sizes, few
    first = planes(3, 224) | channels(3, 64, 7) | {"stride": 2, "padding": 3}  # ResNet's first layer
    yield "conv7x7_stride2", conv, first, few
    depthwise = planes(128, 56) | channels(128, 128, 3) | {"groups": 128, "padding": 1}
    yield "conv3x3_depthwise", conv, depthwise, few | {"out_channels": 6, "groups": 6}
    yield "conv3x3_dilated", conv, planes(256, 28) | channels(256, 256, 3) | {"dilation": 2, "padding": 2}, few
    for kernel, padding in ((2, 0), (4, 1)):
        sizes = planes(128, 28) | channels(128, 64, kernel) | {"stride": 2, "padding": padding}
        yield f"conv_transpose{kernel}x{kernel}_stride2", partial(layers.layer, nn.ConvTranspose2d), sizes, few
    tiny = TINY | {"out_channels": 4}
    yield "deform_conv3x3", layers.deform_conv, planes(64, 28) | {"out_channels": 64, "kernel_size": 3}, tiny
    pool = partial(layers.layer, nn.MaxPool2d)
    yield "max_pool2x2", pool, planes(64, 112) | {"kernel_size": 2}, TINY
    yield "max_pool3x3_stride2", pool, planes(64, 112) | {"kernel_size": 3, "stride": 2, "padding": 1}, TINY
    yield "max_unpool2x2", layers.max_unpool, planes(64, 56), TINY
    norm, upsample = partial(layers.layer, nn.BatchNorm2d), partial(layers.layer, nn.Upsample2d, mode="bilinear")
    yield "batch_norm", norm, planes(64, 56) | {"num_features": 64}, TINY | {"num_features": 6}
    yield "upsample_bilinear", upsample, planes(64, 56) | {"scale_factor": 2}, TINY
    features = {"x": (1, 512, 38, 50), "boxes": 128, "stride": 16, "output_size": 7}
    fewer = {"x": (1, 6, 12, 15), "boxes": 9}
    yield "roi_pool", partial(layers.regions, nn.RoIPool), features, fewer
    yield "roi_align", partial(layers.regions, nn.RoIAlign), features | {"sampling_ratio": 2}, fewer
    for name, make in (("lstm", nn.LSTM), ("gru", partial(nn.GRU, reset_after=True))):  # the GRU that PyTorch computes
        for shape in ((64, 64, 128), (16, 128, 512)):
            sizes = {"x": shape, "input_size": shape[2], "hidden_size": 512}
            small = {"x": (5, 3, 4), "input_size": 4, "hidden_size": 6}
            yield f"{name}_{shape[0]}_{shape[1]}", partial(layers.layer, make), sizes, small
    sizes = {"n": 64, "length": 196, "query_size": 512, "key_size": 512, "hidden_size": 512}  # 14 x 14, 64 captions
    small = {"n": 3, "length": 7, "query_size": 4, "key_size": 5, "hidden_size": 6}
    yield "additive_attention", layers.attention, sizes, small
    yield "softmax_cross_entropy", layers.cross_entropy, {"x": (4, 21, 256, 256)}, {"x": (2, 5, 9, 9)}
    for boxes in (6000, 12000):  # as many as Faster R-CNN has before suppression, in testing and in training
        yield f"nms_{boxes}", layers.nms, {"boxes": boxes}, {"boxes": 600}


# Eight 7x7 convolutions of 64 channels: in SegNet-Basic with four poolings and unpoolings, in the other with none.
EIGHT_LAYERS = {"x": (2, 3, 64, 80), "classes": 4, "width": 64, "kernel_size": 7}
FEWER = {"x": (2, 3, 13, 18), "width": 3, "kernel_size": 3}


def _steps():
    image = {"x": (2, 3, 32, 32), "classes": 5}
    for name, make, sizes, small in (
        ("vgg16", partial(steps.images, "vgg16"),
         {"x": (4, 3, 224, 224), "classes": 1000, "width": 64, "hidden": 4096, "dropout": 0.5},
         image | {"width": 8, "hidden": 16, "dropout": 0.0}),
        ("resnet20", partial(steps.images, "resnet20_cifar"),
         {"x": (128, 3, 32, 32), "classes": 10, "n": 3, "width": 16}, image | {"x": (4, 3, 32, 32), "width": 4}),
        ("se_resnet20", partial(steps.images, "se_resnet20_cifar"),
         {"x": (128, 3, 32, 32), "classes": 10, "n": 3, "width": 16},
         image | {"x": (4, 3, 32, 32), "width": 4, "reduction": 2}),
        ("alexnet", partial(steps.images, "alexnet"),
         {"x": (32, 3, 128, 128), "classes": 1000, "width": 64, "hidden": 4096, "dropout": 0.5},
         image | {"x": (2, 3, 64, 72), "width": 8, "hidden": 16, "dropout": 0.0}),
        ("densenet40", partial(steps.images, "densenet40_cifar"),
         {"x": (64, 3, 32, 32), "classes": 10, "blocks": [12, 12, 12]},
         image | {"x": (4, 3, 16, 16), "blocks": [2, 3], "growth": 4}),
        ("efficientnet_b0", partial(steps.images, "efficientnet", drop_connect=0.0, dropout=0.0),
         {"x": (32, 3, 64, 64), "classes": 1000},
         {"x": (6, 3, 64, 64), "classes": 5, "width": 0.25, "depth": 0.5, "momentum": 0.0}),
        ("faster_rcnn", steps.scenes, {"n": 2, "size": (240, 320)},
         {"size": (96, 128), "width": 4, "hidden": 16, "min_size": 2}),
        ("unet", partial(steps.pixels, UNet, in_channels=3, padding="same"),
         {"x": (4, 3, 128, 128), "classes": 2, "width": 64, "dropout": 0.5}, image | {"width": 4, "dropout": 0.0}),
        ("full_resolution", partial(steps.pixels, FullResolution), EIGHT_LAYERS | {"depth": 8}, FEWER | {"depth": 4}),
        ("segnet_basic", partial(steps.pixels, SegNetBasic), EIGHT_LAYERS | {"depth": 4}, FEWER | {"depth": 2}),
        ("language_model", steps.texts,
         {"steps": 64, "n": 32, "characters": 96, "embedding": 128, "hidden": 512, "layers": 2},
         {"steps": 5, "n": 3, "characters": 7, "embedding": 4, "hidden": 6}),
    ):  # fmt: skip
        yield f"step_{name}", make, sizes, small, True


def _predictions():
    for name, system, image, options, small in (
        ("resnet20", "resnet20_cifar", (3, 32, 32), {"classes": 10, "n": 3, "width": 16}, {"width": 4}),
        ("fcn8s", "fcn8s_small", (3, 256, 320), {"classes": 21, "score_std": 0.1}, {"width": 2, "hidden": 4}),
        ("faster_rcnn", "faster_rcnn_small", (3, 240, 320), {"classes": 4}, {"width": 4, "hidden": 16}),
    ):
        for n in (1, 8):
            make = partial(steps.predictions, system)
            yield f"predict_{name}_{n}", make, options | {"x": (n, *image)}, small | {"x": (2, 3, 64, 96)}


CASES = {row[0]: Case(*row) for make in (_layers, _steps, _predictions) for row in make()}


def choose(patterns: list[str], cases: dict[str, Case] | None = None) -> list[Case]:
    """The cases that a pattern names: beginnings of names, or with * and ? whole ones; none: all. In CASES' order.

    Raises ValueError for a pattern that names none.
    """
    cases = CASES if cases is None else cases

    def matches(name, pattern):
        return fnmatchcase(name, pattern) or name.startswith(pattern)

    for pattern in patterns:
        if not any(matches(name, pattern) for name in cases):
            near = difflib.get_close_matches(pattern, cases, n=4, cutoff=0.4)
            advice = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(cases)}"
            raise ValueError(f"there is no case {pattern!r}; {advice}")
    return [case for name, case in cases.items() if not patterns or any(matches(name, p) for p in patterns)]
