"""Our side of the training steps: each function makes the work of one family, of the sizes in `o` (see cases)."""

import numpy as np

import vision
from datasets import Shapes
from scripts.benchmarks.work import StepWork, normal
from vision.detection.task import detector_batch
from vision.segmentation import FullResolution, PixelClassifier, SegNetBasic, UNet
from vision.sequence.vocabulary import SPECIAL


def vgg16(o):
    model = vision.build("vgg16", names(o), width=o.width, hidden=o.hidden, dropout=o.dropout)
    return StepWork(model, labelled_images(o))


def resnet20(o):
    return StepWork(vision.build("resnet20_cifar", names(o), n=o.blocks, width=o.width), labelled_images(o))


def labelled_images(o):
    return normal(o.n, 3, o.size, o.size), np.random.default_rng(4).integers(0, o.classes, o.n)


def names(o):
    return [str(i) for i in range(o.classes)]


def unet(o):
    rng = np.random.default_rng(0)
    model = PixelClassifier(UNet(3, o.classes, width=o.width, padding="same", dropout=o.dropout, rng=rng))
    labels = np.random.default_rng(4).integers(0, o.classes, (o.n, o.size, o.size))
    return StepWork(model, (normal(o.n, 3, o.size, o.size), labels))


def full_resolution(o):
    model = FullResolution(o.classes, o.channels, o.layers, o.kernel, rng=np.random.default_rng(0))
    return StepWork(PixelClassifier(model), labelled_scenes(o))


def segnet_basic(o):
    sizes = {"width": o.channels, "kernel_size": o.kernel, "depth": o.layers // 2}
    return StepWork(PixelClassifier(SegNetBasic(o.classes, **sizes, rng=np.random.default_rng(0))), labelled_scenes(o))


def labelled_scenes(o):
    labels = np.random.default_rng(4).integers(0, o.classes, (o.n, o.height, o.width))
    return normal(o.n, 3, o.height, o.width), labels


def faster_rcnn(o):
    """On generated scenes."""
    scenes = Shapes(o.n, (o.height, o.width), seed=1)
    model = vision.build("faster_rcnn_small", scenes.classes, **o.options)
    return StepWork(model, detector_batch(model, [scenes[i] for i in range(o.n)]))


def language_model(o):
    """Characters and those that follow them, in n texts side by side that begin here."""
    characters = [*SPECIAL, *(chr(256 + i) for i in range(o.characters - len(SPECIAL)))]
    model = vision.build("char_lstm", characters, hidden=o.hidden, layers=o.layers, embedding=o.embedding)
    text = np.random.default_rng(4).integers(0, o.characters, (o.steps + 1, o.n))
    return StepWork(model, (text[:-1], text[1:], True))
