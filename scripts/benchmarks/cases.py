"""The cases by name: what is computed, in which sizes.

A family is a function of the same name on both sides: in `layers` or `steps` here, in `torch_layers`, `torch_regions`
or `torch_steps` there.
"""

import difflib
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any, NamedTuple


class Case(NamedTuple):
    """One row of the table."""

    name: str
    family: str
    sizes: dict[str, Any]
    small: dict[str, Any]  # the sizes that differ where a test compares the results of both sides
    backward: bool = True  # forward and backward; False: forward alone, as in inference
    step: bool = False  # a whole training step, in a process of its own

    def options(self, small: bool = False) -> SimpleNamespace:
        """The sizes as attributes."""
        return SimpleNamespace(**self.sizes | (self.small if small else {}), backward=self.backward)


CONVOLUTIONS = [  # in, size, out, kernel: the shapes of VGG and ResNet
    (3, 224, 64, 3), (64, 56, 64, 3), (128, 28, 128, 3), (256, 14, 256, 3), (512, 14, 512, 3), (64, 56, 256, 1),
]  # fmt: skip
TINY = {"n": 2, "channels": 6, "size": 9}


def _convolutions():
    for channels, size, out, kernel in CONVOLUTIONS:
        sizes = {"n": 8, "channels": channels, "size": size, "out": out, "kernel": kernel, "padding": kernel // 2}
        for way, backward in (("forward", False), ("both", True)):
            name = f"conv{kernel}x{kernel}_{channels}_{size}_{out}.{way}"
            yield Case(name, "conv", sizes, {**TINY, "out": 4}, backward)
    for name, channels, size, out, kernel, options in (
        ("conv7x7_stride2", 3, 224, 64, 7, {"stride": 2, "padding": 3}),  # ResNet's first layer
        ("conv3x3_depthwise", 128, 56, 128, 3, {"groups": 128, "padding": 1}),
        ("conv3x3_dilated", 256, 28, 256, 3, {"dilation": 2, "padding": 2}),
    ):
        sizes = {"n": 8, "channels": channels, "size": size, "out": out, "kernel": kernel, **options}
        small = {**TINY, "out": 6, "groups": 6} if "groups" in options else {**TINY, "out": 4}
        yield Case(name, "conv", sizes, small)
    for kernel, padding in ((2, 0), (4, 1)):
        sizes = {"n": 8, "channels": 128, "size": 28, "out": 64, "kernel": kernel, "padding": padding}
        yield Case(f"conv_transpose{kernel}x{kernel}_stride2", "conv_transpose", sizes, {**TINY, "out": 4})
    sizes = {"n": 8, "channels": 64, "size": 28, "out": 64, "kernel": 3}
    yield Case("deform_conv3x3", "deform_conv", sizes, {**TINY, "out": 4})


def _layers():
    planes = {"n": 8, "channels": 64, "size": 112}
    yield Case("max_pool2x2", "max_pool", {**planes, "kernel": 2, "stride": 2, "padding": 0}, TINY)
    yield Case("max_pool3x3_stride2", "max_pool", {**planes, "kernel": 3, "stride": 2, "padding": 1}, TINY)
    yield Case("max_unpool2x2", "max_unpool", {**planes, "size": 56}, TINY)
    yield Case("batch_norm", "batch_norm", {**planes, "size": 56}, TINY)
    yield Case("upsample_bilinear", "upsample_bilinear", {**planes, "size": 56, "scale": 2}, TINY)
    features = {"channels": 512, "height": 38, "width": 50, "regions": 128, "stride": 16, "pooled": 7}
    fewer = {"channels": 6, "height": 12, "width": 15, "regions": 9}
    yield Case("roi_pool", "roi_pool", features, fewer)
    yield Case("roi_align", "roi_align", {**features, "samples": 2}, fewer)
    for kind in ("lstm", "gru"):
        for steps, n in ((64, 64), (16, 128)):
            sizes = {"steps": steps, "n": n, "inputs": 128 if n == 64 else 512, "hidden": 512}
            yield Case(f"{kind}_{steps}_{n}", kind, sizes, {"steps": 5, "n": 3, "inputs": 4, "hidden": 6})
    sizes = {"n": 64, "length": 196, "query": 512, "key": 512, "hidden": 512}  # 14 x 14 places asked by 64 captions
    small = {"n": 3, "length": 7, "query": 4, "key": 5, "hidden": 6}
    yield Case("additive_attention", "additive_attention", sizes, small)
    sizes = {"n": 4, "classes": 21, "size": 256}
    yield Case("softmax_cross_entropy", "softmax_cross_entropy_over_image", sizes, {**TINY, "classes": 5})
    for boxes in (6000, 12000):  # Faster R-CNN's numbers before suppression, in testing and in training
        yield Case(f"nms_{boxes}", "nms", {"boxes": boxes}, {"boxes": 600}, backward=False)


# Eight 7x7 convolutions of 64 channels: in SegNet-Basic with four poolings and unpoolings, in the other with none.
EIGHT_LAYERS = {"n": 2, "height": 64, "width": 80, "classes": 4, "channels": 64, "kernel": 7, "layers": 8}
FEWER = {"height": 13, "width": 18, "channels": 3, "kernel": 3, "layers": 4}


def _steps():
    image = {"n": 2, "size": 32, "classes": 5}
    for family, sizes, small in (
        ("vgg16", {"n": 4, "size": 224, "classes": 1000, "width": 64, "hidden": 4096, "dropout": 0.5},
         {**image, "width": 8, "hidden": 16, "dropout": 0.0}),
        ("resnet20", {"n": 128, "size": 32, "classes": 10, "blocks": 3, "width": 16}, {**image, "n": 4, "width": 4}),
        ("faster_rcnn", {"n": 2, "height": 240, "width": 320, "options": {}},
         {"height": 96, "width": 128, "options": {"width": 4, "hidden": 16, "min_size": 2}}),
        ("unet", {"n": 4, "size": 128, "classes": 2, "width": 64, "dropout": 0.5},
         {**image, "width": 4, "dropout": 0.0}),
        ("full_resolution", EIGHT_LAYERS, FEWER), ("segnet_basic", EIGHT_LAYERS, FEWER),
        ("language_model", {"steps": 64, "n": 32, "characters": 96, "embedding": 128, "hidden": 512, "layers": 2},
         {"steps": 5, "n": 3, "characters": 7, "embedding": 4, "hidden": 6}),
    ):  # fmt: skip
        yield Case(f"step_{family}", family, sizes, small, step=True)


CASES = {case.name: case for make in (_convolutions, _layers, _steps) for case in make()}


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
