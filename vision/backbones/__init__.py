"""Classification networks without their heads, cut into named stages: the backbones of other models.

Each network is defined once: here if more than one task uses it, else in the file of its classifier, as ResNetCifar in
vision/classification/resnet_cifar.py. A classifier is a Backbone and a head: see vision/classification/classifier.py.
"""

from vision.backbones.alexnet import AlexNet
from vision.backbones.backbone import Backbone, FeatureMap, freeze_cancelled
from vision.backbones.densenet import DenseNet
from vision.backbones.efficientnet import EfficientNet
from vision.backbones.googlenet import GoogLeNet
from vision.backbones.perceptual import perceptual_distance
from vision.backbones.remembered import Remembered
from vision.backbones.residual import BasicBlock, Bottleneck, PaddedShortcut, Style
from vision.backbones.resnet import ResNet
from vision.backbones.small_cnn import SmallCNN
from vision.backbones.squeezenet import SqueezeNet
from vision.backbones.vgg import VGG, small_vgg, vgg16, vgg16_plan, vgg_plan

__all__ = [
    "VGG",
    "AlexNet",
    "Backbone",
    "BasicBlock",
    "Bottleneck",
    "DenseNet",
    "EfficientNet",
    "FeatureMap",
    "GoogLeNet",
    "PaddedShortcut",
    "Remembered",
    "ResNet",
    "SmallCNN",
    "SqueezeNet",
    "Style",
    "freeze_cancelled",
    "perceptual_distance",
    "small_vgg",
    "vgg16",
    "vgg16_plan",
    "vgg_plan",
]
