"""PyTorch's side of the layers: each function takes sizes and weights, and gives a function of the inputs."""

import torch
from torch.nn import functional


def conv(o, w):
    options = {name: getattr(o, name) for name in ("stride", "padding", "dilation", "groups") if hasattr(o, name)}
    return lambda x: functional.conv2d(x, w["weight"], w["bias"], **options)


def conv_transpose(o, w):
    return lambda x: functional.conv_transpose2d(x, w["weight"], w["bias"], stride=2, padding=o.padding)


def max_pool(o, w):
    return lambda x: functional.max_pool2d(x, o.kernel, o.stride, o.padding)


def max_unpool(o, w):
    return lambda x, indices: functional.max_unpool2d(x, indices, 2)


def batch_norm(o, w):
    mean, var, scale, shift = w.pop("running_mean"), w.pop("running_var"), w["weight"], w["bias"]
    del w["num_batches_tracked"]
    return lambda x: functional.batch_norm(x, mean, var, scale, shift, training=True)


def upsample_bilinear(o, w):
    return lambda x: functional.interpolate(x, scale_factor=o.scale, mode="bilinear")


def lstm(o, w):
    return _recurrent(torch.nn.LSTM, o, w)


def gru(o, w):
    return _recurrent(torch.nn.GRU, o, w)


def _recurrent(kind, o, w):
    layer = kind(o.inputs, o.hidden, device="meta")
    for name in w:
        w[name] = torch.nn.Parameter(w[name])
    layer.load_state_dict(w, assign=True)

    def call(x):
        y, state = layer(x)
        return y, *(state if isinstance(state, tuple) else (state,))

    return call


def additive_attention(o, w):
    def call(query, keys):
        projected = keys @ w["weight_key"].T
        asked = functional.linear(query, w["weight_query"], w["bias"])
        weights = torch.softmax(torch.tanh(projected + asked[:, None]) @ w["weight_score"], dim=1)
        return torch.bmm(weights[:, None], keys)[:, 0], weights

    return call


def softmax_cross_entropy_over_image(o, w):
    return lambda logits, labels: functional.cross_entropy(logits, labels, ignore_index=-1)
