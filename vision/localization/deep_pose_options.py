"""The options of DeepPose.

Reference: Toshev and Szegedy 2014, DeepPose: human pose estimation via deep neural networks, arXiv:1312.4659.
"""

from dataclasses import dataclass
from typing import Literal

from vision.options import ImageOptions


@dataclass(frozen=True)
class Options(ImageOptions):
    """On the published SqueezeNet, for people in crops of 3 to 4."""

    backbone: Literal["small_cnn", "squeezenet", "alexnet"] = "squeezenet"  # the CNN of each stage
    width: int = 16  # of the CNN: its channels are multiples of it
    frozen: str | None = None  # last stage of the CNN that is not trained, such as fire8; none: all are trained
    cascade: int = 3  # S: the first network, and S - 1 that refine
    sigma: float = 0.6  # side of a crop, in units of the diameter of the pose
    crop: int = 80  # pixels of both sides of a crop as its network sees it
    slower: float = 0.1  # rate of the CNNs, relative to the new layers
    crops: int = 4  # points of each person, drawn at random, whose crops a step of a later stage learns from
    spread: float = 1.0  # standard deviations of simulated errors, in units of those measured on the training pictures
    channels: int = 64  # of the 1x1 convolution before the fully connected layers
    hidden: int = 512  # units of the fully connected layers
    dropout: float = 0.0  # before and behind the fully connected layer
    height: int = 192  # pixels of the image of the first stage
    breadth: int = 144  # pixels of the width of that image
    short_side: int = 144  # not used: pictures are scaled to height x breadth
    mean: float | tuple[float, float, float] = (123, 117, 104)  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = (1, 1, 1)  # then each channel is divided by this


@dataclass(frozen=True)
class SmallOptions(Options):
    """From random weights, for the four extreme points of a generated object."""

    backbone: Literal["small_cnn", "squeezenet", "alexnet"] = "small_cnn"  # the CNN of each stage
    width: int = 12  # of the CNN: its channels are multiples of it
    slower: float = 1.0  # rate of the CNNs, relative to the new layers
    sigma: float = 0.8  # side of a crop, in units of the diameter of the pose
    crop: int = 32  # pixels of both sides of a crop as its network sees it
    hidden: int = 128  # units of the fully connected layers
    height: int = 64  # pixels of the image of the first stage
    breadth: int = 64  # pixels of the width of that image
    std: float | tuple[float, float, float] = (64, 64, 64)  # then each channel is divided by this
