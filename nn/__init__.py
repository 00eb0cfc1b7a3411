"""Handwritten layers, losses and optimisers: each forward with its backward, in NumPy or CuPy. See nn/README.md."""

from nn.activation import ELU, LeakyReLU, PReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from nn.adaptive import AdaGrad, Adam, AdamW, RMSProp
from nn.adaptive_pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d, SpatialPyramidPool
from nn.attention import AdditiveAttention
from nn.averaging import ExponentialMovingAverage
from nn.avg_pool import AvgPool2d, GlobalAvgPool2d
from nn.backend import array_module, config
from nn.batchnorm import BatchNorm1d, BatchNorm2d
from nn.checkpoint import read_checkpoint, write_checkpoint
from nn.containers import Concat, Residual, Sequential
from nn.conv import Conv2d
from nn.conv_transpose import ConvTranspose2d
from nn.deform_conv import DeformConv2d
from nn.device import device_of, to_device
from nn.dropout import Dropout, Dropout2d, DropPath, StochasticDepth
from nn.embedding import Embedding
from nn.grid_sample import AffineGrid, GridSample
from nn.gru import GRU, GRUCell
from nn.hinge import hinge, multiclass_hinge
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
from nn.layer import Layer, Parameter, check_shape
from nn.layer_norm import LayerNorm
from nn.linear import Linear
from nn.local_norm import L2Norm, LocalResponseNorm
from nn.losses import binary_cross_entropy_with_logits, l1, l2, smooth_l1, softmax_cross_entropy
from nn.lstm import LSTM, LSTMCell, swap_lstm_gates
from nn.metric_losses import contrastive, triplet
from nn.optim import SGD
from nn.optimiser import clip_gradient_norm, decay_groups
from nn.pooling import MaxPool2d
from nn.rnn import RNN, RNNCell
from nn.roi_align import RoIAlign
from nn.roi_pool import RoIPool
from nn.roi_warp import RoIWarp
from nn.schedules import constant, cosine, polynomial, step_decay, warm_up
from nn.softmax import LogSoftmax, Softmax
from nn.squeeze_excitation import SqueezeExcitation
from nn.state import load_state, read_metadata, read_state, save_state
from nn.summary import summary
from nn.unpooling import MaxUnpool2d
from nn.upsample import Upsample2d

__all__ = [  # noqa: RUF022  (by subject)
    # the contract
    "Layer", "Parameter", "array_module", "check_shape", "config", "device_of", "summary", "to_device",
    # layers of layers
    "Concat", "Residual", "Sequential",
    # convolution
    "Conv2d", "ConvTranspose2d", "DeformConv2d", "Linear",
    # pooling and upsampling
    "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "GlobalAvgPool2d", "MaxPool2d", "MaxUnpool2d",
    "SpatialPyramidPool", "Upsample2d",
    # regions and sampling
    "AffineGrid", "GridSample", "RoIAlign", "RoIPool", "RoIWarp",
    # normalisation, activation, regularisation
    "BatchNorm1d", "BatchNorm2d", "DropPath", "Dropout", "Dropout2d", "ELU", "L2Norm", "LayerNorm", "LeakyReLU",
    "LocalResponseNorm", "LogSoftmax", "PReLU", "ReLU", "SiLU", "Sigmoid", "Softmax", "Softplus", "SqueezeExcitation",
    "StochasticDepth", "Tanh",
    # sequences and attention
    "AdditiveAttention", "Embedding", "GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell", "swap_lstm_gates",
    # losses
    "binary_cross_entropy_with_logits", "contrastive", "hinge", "l1", "l2", "multiclass_hinge", "smooth_l1",
    "softmax_cross_entropy", "triplet",
    # optimisation
    "SGD", "AdaGrad", "Adam", "AdamW", "ExponentialMovingAverage", "RMSProp", "clip_gradient_norm", "constant",
    "cosine", "decay_groups", "polynomial", "step_decay", "warm_up",
    # initialisation
    "bilinear_kernel", "he_normal", "he_uniform", "identity_affine", "lstm_forget_bias", "orthogonal", "xavier_normal",
    "xavier_uniform",
    # files
    "load_state", "read_checkpoint", "read_metadata", "read_state", "save_state", "write_checkpoint",
]  # fmt: skip
