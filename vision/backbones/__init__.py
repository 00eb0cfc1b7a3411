"""Convolutional networks without their classifiers, the backbones of other models."""

from vision.backbones.backbone import Backbone, FeatureMap, freeze_cancelled
from vision.backbones.resnet import ResNet
from vision.backbones.vgg import VGG, small_vgg, vgg16, vgg16_plan

__all__ = ["VGG", "Backbone", "FeatureMap", "ResNet", "freeze_cancelled", "small_vgg", "vgg16", "vgg16_plan"]
