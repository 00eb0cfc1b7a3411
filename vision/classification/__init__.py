"""Image classification: one label for a whole image."""

from vision.classification import alexnet, darknet, resnet, se_resnet, task
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions, ImageClassifier
from vision.classification.deformable_resnet import DeformableResNet
from vision.classification.densenet import densenet40_cifar, densenet121, densenet_bc100_cifar
from vision.classification.efficientnet import efficientnet, efficientnet_lite0
from vision.classification.fractalnet import FractalNet
from vision.classification.glimpse import GlimpseNetwork
from vision.classification.googlenet import GoogLeNetClassifier
from vision.classification.mnist_networks import Grey
from vision.classification.recurrent_attention import RecurrentAttention
from vision.classification.resnet_cifar import ResNetCifar
from vision.classification.spatial_transformer import SpatialTransformer
from vision.classification.squeezenet import squeezenet1_0
from vision.classification.stn_mnist import TransformedCNN
from vision.classification.transfer import Transfer
from vision.classification.vgg import VGGNetwork

__all__ = [
    "ClassificationNetwork",
    "Classifier",
    "ClassifierOptions",
    "DeformableResNet",
    "FractalNet",
    "GlimpseNetwork",
    "GoogLeNetClassifier",
    "Grey",
    "ImageClassifier",
    "RecurrentAttention",
    "ResNetCifar",
    "SpatialTransformer",
    "Transfer",
    "TransformedCNN",
    "VGGNetwork",
    "alexnet",
    "darknet",
    "densenet40_cifar",
    "densenet121",
    "densenet_bc100_cifar",
    "efficientnet",
    "efficientnet_lite0",
    "resnet",
    "se_resnet",
    "squeezenet1_0",
    "task",
]
