"""Handwritten layers, losses and optimisers: each forward with its backward, in NumPy or CuPy."""

from nn.activation import LeakyReLU, ReLU
from nn.backend import array_module, config
from nn.batchnorm import BatchNorm2d
from nn.checkpoint import read_checkpoint, write_checkpoint
from nn.containers import Concat, Residual, Sequential
from nn.conv import Conv2d
from nn.dropout import Dropout
from nn.init import he_normal, he_uniform, xavier_normal, xavier_uniform
from nn.layer import Layer, Parameter, check_shape
from nn.linear import Linear
from nn.losses import binary_cross_entropy_with_logits, l2, smooth_l1, softmax_cross_entropy
from nn.optim import SGD, Adam, clip_gradient_norm
from nn.pooling import MaxPool2d
from nn.roi_pool import RoIPool
from nn.schedules import constant, polynomial, step_decay, warm_up
from nn.summary import summary

__all__ = [
    "SGD", "Adam", "BatchNorm2d", "Concat", "Conv2d", "Dropout", "Layer", "LeakyReLU", "Linear", "MaxPool2d",
    "Parameter", "ReLU", "Residual", "RoIPool", "Sequential", "array_module", "binary_cross_entropy_with_logits",
    "check_shape", "clip_gradient_norm", "config", "constant", "he_normal", "he_uniform", "l2", "polynomial",
    "read_checkpoint", "smooth_l1", "softmax_cross_entropy", "step_decay", "summary", "warm_up", "write_checkpoint",
    "xavier_normal", "xavier_uniform",
]  # fmt: skip
