"""SSD on MobileNet, as in TensorFlow's detection zoo: one sigmoid a class, 1x1 heads, folded batch normalisation.

Reference: Howard et al. 2017, MobileNets, arXiv:1704.04861, sec. 4.6; Huang et al. 2017, Speed/accuracy trade-offs for
modern convolutional object detectors, arXiv:1611.10012, sec. 3 and the code it comes with, for what differs from SSD.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nn import Sequential, binary_cross_entropy_with_logits, one_hot, sigmoid
from nn.dispatch import array_module
from vision.backbones.mobilenet import MobileNet, same_conv, scaled
from vision.detection.ssd import SSD, Options
from vision.detection.ssd_networks import RECIPE, SYSTEM, TINY
from vision.registry import Tiny, register

# The categories of COCO whose number is their column in the published heads; 12, 26, 29 ... are not used.
COCO = dict(enumerate(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,,backpack,umbrella,,,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,,dining table,,,toilet,,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,,book,clock,vase,scissors,teddy bear,hair drier,toothbrush".split(","), start=1,
))  # fmt: skip
COLUMNS = 91  # of the published heads, 0 for background
HEAD = re.compile(r"BoxPredictor_(\d)\.(Class|BoxEncoding)Predictor\.(weight|bias)")
EXTRA = re.compile(r"Conv2d_13_pointwise_([12])_Conv2d_(\d)_\w+\.(weight|bias)")


@dataclass(frozen=True)
class MobileNetOptions(Options):
    """TensorFlow's: pixels are (value - 128) / 128, boxes from 0.2 to 0.95 of the side."""

    mean: float | tuple[float, float, float] = 128  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = 128  # then each channel is divided by this
    sizes: tuple[float, ...] = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)  # s_k of each map, of the side; and one more
    ratios: tuple[tuple[float, ...], ...] = ((2,), *((2, 3),) * 5)  # aspect ratios of each map, also upright
    score_threshold: float = 0.02  # lower scores are no detections
    nms_iou: float = 0.6  # IoU above which NMS drops a detection
    detections_per_image: int = 100  # detections kept at most
    width: float = 0.75  # factor of all channels
    batch_norm: bool = False  # in place of biases: for training; the published weights have it folded in


class SSDMobileNet(SSD):
    """SSD whose scores are sigmoids, one for each class and one for background, with 1x1 heads and no L2Norm.

    A cell of the first map has three default boxes: a square of 0.1 of the side, and two of ratio 2 at s_1. Those of
    the other maps come in the order square, ratios, square between two sizes.
    """

    def __init__(self, classes, options: MobileNetOptions, *, rng: np.random.Generator):
        norm = {"batch_norm": options.batch_norm, "rng": rng}
        backbone = MobileNet(options.width, **norm)
        extras, channels = [], [backbone.out_channels]
        for channel in (512, 256, 256, 128):
            middle, after = scaled(channel // 2, options.width), scaled(channel, options.width)
            layers = same_conv("reduce", channels[-1], middle, 1, **norm) | same_conv(
                "next", middle, after, 3, 2, **norm
            )
            extras.append(Sequential(*layers.values()))
            channels.append(after)
        super().__init__(
            classes, backbone, ("Conv2d_11", "Conv2d_13"), extras, channels[1:], options,
            norm=Sequential(), head_size=1, rng=rng,
        )  # fmt: skip

    def default_shapes(self):
        side, shapes = self.options.short_side, []
        for own, square, *others in super().default_shapes():
            shapes.append(np.stack([own, *others, square]))
        small = [(0.1 * side, 0.1 * side), *shapes[0][1:3]]
        return np.array(small, np.float32), *shapes[1:]

    def class_loss(self, logits, labels, n: int):
        """Binary cross-entropy of every class, background among them, where labels (N, A) are not -1."""
        targets, counted = one_hot(labels, logits.shape[2], axis=2), (labels >= 0)[..., None]
        return binary_cross_entropy_with_logits(logits, targets, counted, normaliser=n)

    def background_loss(self, logits):
        """(N, A): -log p(background) and -log(1 - p) of all classes."""
        xp, classes = array_module(logits), logits.shape[2]
        z = logits.real * xp.where(xp.arange(classes) == 0, -1, 1).astype(logits.real.dtype)
        return (xp.maximum(z, 0) + xp.log(1 + xp.exp(-xp.abs(z)))).sum(axis=2)  # log(1 + exp(z)), without overflow

    def scores(self, logits):
        return sigmoid(logits)[..., 1:]

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The published file's arrays under the names here; of the class heads the columns of these classes of COCO."""
        renamed, columns = {}, self._columns()
        for name, array in arrays.items():
            if found := EXTRA.fullmatch(name):
                renamed[f"extras.{int(found[2]) - 2}.{0 if found[1] == '1' else 3}.{found[3]}"] = array
            elif found := HEAD.fullmatch(name):
                head, kind, what = found.groups()
                if kind == "BoxEncoding":
                    array = by_columns(array, 4, [1, 0, 3, 2])  # there ty, tx, th, tw
                elif columns is not None:
                    array = by_columns(array, COLUMNS, columns)
                renamed[f"{'class' if kind == 'Class' else 'box'}_heads.{head}.{what}"] = array
            else:
                renamed[f"backbone.{name}"] = array
        return renamed | dict(arrays)

    def _columns(self):
        """Columns of the published class heads for background and the classes; None if one is not COCO's."""
        columns = {name: column for column, name in COCO.items() if name}
        return [0, *(columns[name] for name in self.classes)] if columns.keys() >= set(self.classes) else None


def by_columns(array, count, columns):
    """Of a head's weights or biases (k count, ...) for each of the k default boxes these of its `count` outputs."""
    return array.reshape(-1, count, *array.shape[1:])[:, columns].reshape(-1, *array.shape[1:])


@register(
    "ssd_mobilenet", "detection", RECIPE, options=MobileNetOptions,
    tiny=Tiny(TINY | {"width": 0.07, "ratios": [[2], [2, 3], [2, 3]]}, size=(32, 32)), **SYSTEM,
    figures="on MobileNet with published weights: AP50 0.334, COCO AP 0.203 on 125 photographs of 80 classes",
    published="TensorFlow's detection zoo (ssd_mobilenet_v1_0.75_depth_300x300_coco14_sync), its arrays as .npz",
    classes=[name for name in COCO.values() if name],
)  # fmt: skip
def ssd_mobilenet(classes, options: MobileNetOptions, rng) -> SSDMobileNet:
    """SSD300 on MobileNet, 1,917 default boxes; of TensorFlow's detection zoo the weights of ssd_mobilenet_v1_0.75."""
    return SSDMobileNet(classes, options, rng=rng)
