"""Handwritten layers, losses and optimisers: each forward with its backward, in NumPy or CuPy. See nn/README.md."""

from nn.config import config
from nn.containers import Concat, Residual, Sequential
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.init import (
    bilinear_kernel,
    he_normal,
    he_uniform,
    identity_affine,
    lstm_forget_bias,
    orthogonal,
    xavier_normal,
    xavier_uniform,
)
from nn.io.checkpoint import read_checkpoint, write_checkpoint
from nn.io.state import load_state, read_metadata, read_state, save_state
from nn.layer import Layer, Parameter, check_shape
from nn.layers.activation import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh, sigmoid
from nn.layers.adaptive_pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d, SpatialPyramidPool
from nn.layers.attention import AdditiveAttention
from nn.layers.avg_pool import AvgPool2d, GlobalAvgPool2d
from nn.layers.batch_norm import BatchNorm1d, BatchNorm2d
from nn.layers.conv import Conv2d
from nn.layers.conv_transpose import ConvTranspose2d
from nn.layers.deform_conv import DeformConv2d
from nn.layers.deform_roi_pool import DeformRoIPool
from nn.layers.dropout import Dropout, Dropout2d, DropPath, StochasticDepth
from nn.layers.embedding import Embedding
from nn.layers.flatten import Flatten
from nn.layers.grid_sample import AffineGrid, GridSample
from nn.layers.gru import GRU, GRUCell
from nn.layers.layer_norm import LayerNorm
from nn.layers.linear import Linear
from nn.layers.local_norm import L2Norm, LocalResponseNorm
from nn.layers.lstm import LSTM, LSTMCell, swap_lstm_gates
from nn.layers.max_pool import MaxPool2d
from nn.layers.max_unpool import MaxUnpool2d
from nn.layers.prelu import PReLU
from nn.layers.relu6 import ReLU6
from nn.layers.rnn import RNN, RNNCell
from nn.layers.roi_align import RoIAlign
from nn.layers.roi_pool import RoIPool
from nn.layers.roi_warp import RoIWarp
from nn.layers.same_pad import SamePad2d
from nn.layers.softmax import LogSoftmax, Softmax, log_softmax, softmax
from nn.layers.squeeze_excitation import SqueezeExcitation
from nn.layers.upsample import Upsample2d
from nn.layers.warp_grids import ProjectiveGrid, ThinPlateGrid
from nn.layers.weighted_l1 import WeightedL1
from nn.losses.classification import (
    binary_cross_entropy_with_logits,
    hinge,
    multiclass_hinge,
    softmax_cross_entropy,
)
from nn.losses.common import one_hot
from nn.losses.metric import contrastive, triplet
from nn.losses.regression import l1, l2, smooth_l1
from nn.optim.adaptive import AdaGrad, Adam, AdamW, RMSProp
from nn.optim.clipping import clip_gradient_norm
from nn.optim.ema import ExponentialMovingAverage
from nn.optim.optimiser import decay_groups
from nn.optim.schedules import constant, cosine, polynomial, step_decay, warm_up
from nn.optim.sgd import SGD
from nn.random import seed
from nn.record import record
from nn.summary import summary

__all__ = [  # noqa: RUF022  (by subject)
    # the contract
    "Layer", "Parameter", "array_module", "check_shape", "config", "device_of", "record", "summary", "to_device",
    # layers of layers
    "Concat", "Residual", "Sequential",
    # convolution
    "Conv2d", "ConvTranspose2d", "DeformConv2d", "Flatten", "Linear", "SamePad2d", "WeightedL1",
    # pooling and upsampling
    "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "GlobalAvgPool2d", "MaxPool2d", "MaxUnpool2d",
    "SpatialPyramidPool", "Upsample2d",
    # regions and sampling
    "AffineGrid", "DeformRoIPool", "GridSample", "ProjectiveGrid", "RoIAlign", "RoIPool", "RoIWarp", "ThinPlateGrid",
    # normalisation, activation, regularisation
    "BatchNorm1d", "BatchNorm2d", "DropPath", "Dropout", "Dropout2d", "ELU", "L2Norm", "LayerNorm", "LeakyReLU",
    "LocalResponseNorm", "LogSoftmax", "PReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softmax", "Softplus",
    "SqueezeExcitation", "StochasticDepth", "Tanh",
    # sequences and attention
    "AdditiveAttention", "Embedding", "GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell", "swap_lstm_gates",
    # functions
    "log_softmax", "one_hot", "sigmoid", "softmax",
    # losses
    "binary_cross_entropy_with_logits", "contrastive", "hinge", "l1", "l2", "multiclass_hinge", "smooth_l1",
    "softmax_cross_entropy", "triplet",
    # optimisation
    "SGD", "AdaGrad", "Adam", "AdamW", "ExponentialMovingAverage", "RMSProp", "clip_gradient_norm", "constant",
    "cosine", "decay_groups", "polynomial", "step_decay", "warm_up",
    # initialisation
    "bilinear_kernel", "he_normal", "he_uniform", "identity_affine", "lstm_forget_bias", "orthogonal", "seed",
    "xavier_normal", "xavier_uniform",
    # files
    "load_state", "read_checkpoint", "read_metadata", "read_state", "save_state", "write_checkpoint",
]  # fmt: skip
