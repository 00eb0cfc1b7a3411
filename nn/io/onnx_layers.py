"""The layers that are one of ONNX's operators, or a few: what an export writes in place of the textbook's array code.

Reference: https://github.com/onnx/onnx/blob/main/docs/Operators.md, opset 17.
"""

from collections.abc import Callable

import numpy as np

from nn.io.onnx_graph import Graph, Indices, NotExportable
from nn.layer import Layer
from nn.layers.activation import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from nn.layers.adaptive_pool import AdaptiveAvgPool2d, mean_matrix
from nn.layers.avg_pool import AvgPool2d
from nn.layers.batch_norm import BatchNorm1d, BatchNorm2d
from nn.layers.conv import Conv2d
from nn.layers.conv_transpose import ConvTranspose2d
from nn.layers.grid_sample import GridSample
from nn.layers.linear import Linear
from nn.layers.local_norm import LocalResponseNorm
from nn.layers.max_pool import MaxPool2d
from nn.layers.max_unpool import MaxUnpool2d
from nn.layers.prelu import PReLU
from nn.layers.relu6 import HIGHEST, ReLU6
from nn.layers.softmax import LogSoftmax, Softmax
from nn.layers.upsample import Upsample2d

# A kind of layer -> emit(graph, layer, y, x, ...), which adds nodes for the inputs x, ... and the known output y.
EMITTERS: dict[type[Layer], Callable] = {}


def emits(*kinds: type[Layer]):
    """Decorator: the function writes layers of these kinds."""

    def enter(emit):
        """Register the function for these kinds."""
        EMITTERS.update(dict.fromkeys(kinds, emit))
        return emit

    return enter


@emits(Conv2d)
def conv(graph: Graph, layer: Conv2d, y, x):
    """Conv2d: Conv."""
    g = layer.geometry
    return graph.one(
        "Conv", [x, layer.weight.value, layer.bias and layer.bias.value], y, kernel_shape=g.kernel, strides=g.stride,
        pads=g.padding * 2, dilations=g.dilation, group=g.groups,
    )  # fmt: skip


@emits(ConvTranspose2d)
def conv_transpose(graph: Graph, layer: ConvTranspose2d, y, x):
    """ConvTranspose2d: ConvTranspose."""
    g = layer.geometry
    if any(o >= s for o, s in zip(layer.output_padding, g.stride)):
        raise NotExportable("has an output_padding of a stride or more")
    return graph.one(
        "ConvTranspose", [x, layer.weight.value, layer.bias and layer.bias.value], y, kernel_shape=g.kernel,
        strides=g.stride, pads=g.padding * 2, dilations=g.dilation, group=g.groups,
        output_padding=layer.output_padding,
    )  # fmt: skip


@emits(Linear)
def linear(graph: Graph, layer: Linear, y, x):
    """Linear: Gemm, with the weights as they are."""
    return graph.one("Gemm", [x, layer.weight.value, layer.bias and layer.bias.value], y, transB=1)


@emits(BatchNorm1d, BatchNorm2d)
def batch_norm(graph: Graph, layer: BatchNorm2d, y, x):
    """Batch normalisation by its running statistics: BatchNormalization."""
    if not layer.track_running_stats:
        raise NotExportable("normalises by the statistics of the batch")
    ones, zeros = np.ones(layer.num_features, np.float32), np.zeros(layer.num_features, np.float32)
    weight, bias = (ones, zeros) if layer.weight is None else (layer.weight.value, layer.bias.value)
    inputs = [x, weight, bias, layer.running_mean, layer.running_var]
    return graph.one("BatchNormalization", inputs, y, epsilon=float(layer.eps))


@emits(MaxPool2d)
def max_pool(graph: Graph, layer: MaxPool2d, y, x):
    """Padding at the end as far as the last windows reach: ceil_mode in other words."""
    values = y if layer.return_indices else (y,)
    attributes = windows(layer.geometry, x.shape[2:], values[0].shape[2:]) | {"dilations": layer.geometry.dilation}
    outputs = graph.add("MaxPool", [x], values, **attributes)
    return (outputs[0], Indices(graph, outputs[1].name, y[1])) if layer.return_indices else outputs[0]


def windows(g, in_size, out_size) -> dict:
    """Kernel, strides and pads (top, left, bottom, right) of windows that lie on an image as these sizes say."""
    reach = [
        (out - 1) * s + d * (k - 1) + 1 - n - p
        for n, out, k, s, p, d in zip(in_size, out_size, g.kernel, g.stride, g.padding, g.dilation)
    ]
    return {"kernel_shape": g.kernel, "strides": g.stride, "pads": (*g.padding, *(max(r, 0) for r in reach))}


@emits(MaxUnpool2d)
def max_unpool(graph: Graph, layer: MaxUnpool2d, y, x, indices, *_):
    """MaxUnpool2d: MaxUnpool, with the indices of the MaxPool that it undoes."""
    if not isinstance(indices, Indices):
        raise NotExportable("takes indices that are not a MaxPool2d's")
    g, shape = layer.geometry, np.array(y.shape, np.int64)
    if y.shape[2:] == layer._output_size(x.shape[2:], None):
        pads = g.padding * 2
        return graph.one("MaxUnpool", [x, indices, shape], y, kernel_shape=g.kernel, strides=g.stride, pads=pads)
    whole, flat = np.zeros(y.size, y.dtype), np.array([-1], np.int64)  # MaxUnpool takes no smaller size
    positions = graph.one("Reshape", [indices, flat], indices.value.reshape(-1))
    scattered = graph.one("ScatterElements", [whole, positions, x.reshape(x.size)], y.reshape(-1), axis=0)
    return scattered.reshape(y.shape)


@emits(AvgPool2d)
def avg_pool(graph: Graph, layer: AvgPool2d, y, x):
    """AveragePool counts whole windows alone, or the image alone: any other divisor is the array code's."""
    lies = windows(layer.geometry, x.shape[2:], y.shape[2:])
    whole = lies["pads"][2:] <= layer.geometry.padding  # no window reaches beyond the padding
    if layer.divisor_override is not None or (layer.count_include_pad and not whole):
        return None
    return graph.one("AveragePool", [x], y, count_include_pad=int(layer.count_include_pad), **lies)


@emits(AdaptiveAvgPool2d)
def adaptive_avg_pool(graph: Graph, layer: AdaptiveAvgPool2d, y, x):
    """AdaptiveAvgPool2d: GlobalAveragePool for one cell, else two matrix products."""
    if y.shape[2:] == (1, 1):
        return graph.one("GlobalAveragePool", [x], y)
    rows, cols = (mean_matrix(*sizes).astype(x.dtype) for sizes in zip(x.shape[2:], y.shape[2:]))
    return rows @ x @ cols.T


@emits(Upsample2d)
def upsample(graph: Graph, layer: Upsample2d, y, x):
    """Bed of nails is a transposed convolution whose kernel is a 1; the others are Resize."""
    if layer.mode == "bed_of_nails":
        strides = [out // n for n, out in zip(x.shape[2:], y.shape[2:])]
        ones = np.ones((x.shape[1], 1, 1, 1), x.dtype)
        return graph.one(
            "ConvTranspose", [x, ones], y, kernel_shape=(1, 1), strides=strides, group=x.shape[1],
            output_padding=[s - 1 for s in strides],
        )  # fmt: skip
    if layer._scales(x.shape[2:], y.shape[2:]) != [out / n for n, out in zip(x.shape[2:], y.shape[2:])]:
        return None  # a scale that does not come to whole pixels
    sizes, modes = np.array(y.shape, np.int64), {"mode": "nearest", "nearest_mode": "floor"}
    where = {"coordinate_transformation_mode": "asymmetric"}
    if layer.mode == "bilinear":
        modes = {"mode": "linear"}
        where = {"coordinate_transformation_mode": "align_corners" if layer.align_corners else "half_pixel"}
    return graph.one("Resize", [x, None, None, sizes], y, **modes, **where)


@emits(GridSample)
def grid_sample(graph: Graph, layer: GridSample, y, x, grid):
    """GridSample: GridSample, bilinear."""
    where = {"padding_mode": layer.padding_mode, "align_corners": int(layer.align_corners)}
    return graph.one("GridSample", [x, grid], y, mode=layer.mode, **where)


@emits(ReLU)
def relu(graph: Graph, layer, y, x):
    """ReLU: Relu."""
    return graph.one("Relu", [x], y)


@emits(ReLU6)
def relu6(graph: Graph, layer, y, x):
    """ReLU6: Clip."""
    return graph.one("Clip", [x, np.array(0, x.dtype), np.array(HIGHEST, x.dtype)], y)


@emits(LeakyReLU)
def leaky_relu(graph: Graph, layer: LeakyReLU, y, x):
    """LeakyReLU: LeakyRelu."""
    return graph.one("LeakyRelu", [x], y, alpha=float(layer.negative_slope))


@emits(PReLU)
def prelu(graph: Graph, layer: PReLU, y, x):
    """PReLU: PRelu, a slope a channel."""
    slope = layer.weight.value.reshape(-1, *(1,) * (x.ndim - 2))  # (C, 1, 1): a slope a channel
    return graph.one("PRelu", [x, slope], y)


@emits(ELU)
def elu(graph: Graph, layer: ELU, y, x):
    """ELU: Elu."""
    return graph.one("Elu", [x], y, alpha=float(layer.alpha))


@emits(SiLU)
def silu(graph: Graph, layer, y, x):
    """SiLU: x times Sigmoid."""
    gate = graph.one("Sigmoid", [x], 1 / (1 + np.exp(-x.value)))
    return graph.one("Mul", [x, gate], y)


@emits(Sigmoid)
def sigmoid(graph: Graph, layer, y, x):
    """Sigmoid: Sigmoid."""
    return graph.one("Sigmoid", [x], y)


@emits(Tanh)
def tanh(graph: Graph, layer, y, x):
    """Tanh: Tanh."""
    return graph.one("Tanh", [x], y)


@emits(Softplus)
def softplus(graph: Graph, layer, y, x):
    """Softplus: Softplus."""
    return graph.one("Softplus", [x], y)


@emits(Softmax)
def softmax(graph: Graph, layer: Softmax, y, x):
    """Softmax: Softmax along its axis."""
    return graph.one("Softmax", [x], y, axis=layer.axis)


@emits(LogSoftmax)
def log_softmax(graph: Graph, layer: LogSoftmax, y, x):
    """LogSoftmax: LogSoftmax along its axis."""
    return graph.one("LogSoftmax", [x], y, axis=layer.axis)


@emits(LocalResponseNorm)
def local_response_norm(graph: Graph, layer: LocalResponseNorm, y, x):
    """LRN has (size - 1) // 2 channels before and size // 2 after: for an even size, ours are the other way round."""
    if layer.size % 2 == 0 or x.ndim != 4:
        return None
    settings = {"alpha": float(layer.alpha), "beta": float(layer.beta), "bias": float(layer.k), "size": layer.size}
    return graph.one("LRN", [x], y, **settings)
