"""Our side of the training steps: each function makes a work, of the sizes that cases gives it."""

import numpy as np

import vision
from datasets import Shapes
from scripts.benchmarks.work import PredictWork, StepWork, normal
from vision.detection.task import detector_batch
from vision.segmentation import PixelClassifier
from vision.sequence.vocabulary import SPECIAL


def integers(classes, *shape):
    """Labels that both sides draw alike."""
    return np.random.default_rng(4).integers(0, classes, shape)


def images(name, x, classes, **options):
    """A registered classifier on images of shape x."""
    model = vision.build(name, [str(i) for i in range(classes)], **options)
    return StepWork(model, (normal(*x), integers(classes, x[0])))


def pixels(network, x, classes, **options):
    """A network that labels every pixel."""
    model = PixelClassifier(network(classes=classes, rng=np.random.default_rng(0), **options))
    return StepWork(model, (normal(*x), integers(classes, x[0], *x[2:])))


def scenes(n, size, **options):
    """Faster R-CNN small on generated scenes."""
    data = Shapes(n, size, seed=1)
    model = vision.build("faster_rcnn_small", data.classes, **options)
    return StepWork(model, detector_batch(model, [data[i] for i in range(n)]))


def predictions(name, x, classes, **options):
    """A registered model on images of shape x, in inference."""
    return PredictWork(vision.build(name, [str(i) for i in range(classes)], **options), normal(*x))


def texts(steps, n, characters, **options):
    """An LSTM on characters and those that follow them, in n texts side by side that begin here."""
    alphabet = [*SPECIAL, *(chr(256 + i) for i in range(characters - len(SPECIAL)))]
    text = integers(characters, steps + 1, n)
    return StepWork(vision.build("char_lstm", alphabet, **options), (text[:-1], text[1:], True))
