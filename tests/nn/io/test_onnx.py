"""ONNX files: the bytes of the format, single layers and array code against onnxruntime, what is refused."""

import numpy as np
import pytest

import nn
from nn.io.onnx_export import export_onnx
from nn.io.onnx_file import field, message, varint
from nn.layer import Layer

RNG = np.random.default_rng(0)


def test_varints_and_fields_are_those_of_the_specification():
    """The worked examples of protobuf.dev/programming-guides/encoding."""
    assert varint(1) == b"\x01" and varint(150) == b"\x96\x01"
    assert varint(-2) == b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    assert field(1, 150) == b"\x08\x96\x01"
    assert field(2, b"testing") == b"\x12\x07testing"
    assert message([(3, message([(1, 150)]))]) == b"\x1a\x03\x08\x96\x01"
    assert field(1, 1.0) == b"\x0d\x00\x00\x80\x3f"


def running(path, images):
    """What onnxruntime computes, after onnx has checked types and shapes."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"images": images})


class Arrays(Layer):
    """Array code of all kinds, as models have it between their layers."""

    def forward(self, x, training=True):
        h = x - x.mean(axis=(2, 3), keepdims=True)
        h = np.concatenate([h[:, 1:], -h[:, :1], h[:, ::2, ::-1]], axis=1)
        h = np.pad(h, ((0, 0), (0, 0), (1, 2), (0, 1))) * 2.0 + 1
        h = np.where(h > 0.5, h, 0.1 * h)
        rows, columns = np.array([0, 2, 1]), np.array([3, 0])
        h = h[:, :, rows[:, None], columns]
        h = h.reshape(len(x), -1).swapaxes(0, 1).T
        return (h * h).sum(axis=1, keepdims=True) ** 0.5 + h.max(axis=1)[:, None], None


class Unpooled(Layer):
    def __init__(self, cut=0):
        self.cut = cut
        self.pool, self.unpool = nn.MaxPool2d(2, ceil_mode=True, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, x, training=True):
        x = x[:, :, :, : x.shape[3] - self.cut]
        (y, indices), _ = self.pool.forward(x, training)
        return self.unpool.forward(y, indices, x.shape[2:])[0], None


class Turned(Layer):
    """x sampled at a grid that depends on x."""

    def __init__(self, **options):
        self.sample = nn.GridSample(**options)

    def forward(self, x, training=True):
        grid = np.tanh(x[:, :2, 1:, 2:]).transpose(0, 2, 3, 1) * 1.3
        return self.sample.forward(x, grid)[0], None


LAYERS = {
    "conv": lambda: nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    "conv, groups": lambda: nn.Conv2d(3, 6, 3, groups=3, bias=False),
    "transposed": lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1),
    "transposed, groups": lambda: nn.ConvTranspose2d(3, 6, 2, 3, 1, 2, 3, dilation=2),
    "batch norm": lambda: nn.BatchNorm2d(3),
    "batch norm, plain": lambda: nn.BatchNorm2d(3, affine=False),
    "max pool": lambda: nn.MaxPool2d(3, 2, 1),
    "max pool, ceil": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "max pool, dilation": lambda: nn.MaxPool2d(2, 1, dilation=2),
    "max unpool": lambda: Unpooled(1), "max unpool, odd": Unpooled,
    "average pool": lambda: nn.AvgPool2d(2, 2, 1),
    "average pool, ceil": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "average pool, image alone": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "average pool, divisor": lambda: nn.AvgPool2d(2, divisor_override=3),
    "global": nn.GlobalAvgPool2d,
    "adaptive": lambda: nn.AdaptiveAvgPool2d((2, 3)),
    "adaptive to one": lambda: nn.AdaptiveAvgPool2d(1),
    "nearest": lambda: nn.Upsample2d(scale_factor=2),
    "nearest, size": lambda: nn.Upsample2d((7, 13)),
    "bilinear": lambda: nn.Upsample2d((13, 11), mode="bilinear"),
    "bilinear, corners": lambda: nn.Upsample2d((13, 11), mode="bilinear", align_corners=True),
    "bilinear, odd scale": lambda: nn.Upsample2d(scale_factor=1.3, mode="bilinear"),
    "bed of nails": lambda: nn.Upsample2d(scale_factor=(2, 3), mode="bed_of_nails"),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 7, 5)),
    "relu": nn.ReLU, "relu6": nn.ReLU6, "leaky": lambda: nn.LeakyReLU(0.2), "prelu": lambda: nn.PReLU(3),
    "elu": nn.ELU, "silu": nn.SiLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "softplus": nn.Softplus,
    "softmax": lambda: nn.Softmax(axis=1), "log softmax": lambda: nn.LogSoftmax(axis=1),
    "local response": lambda: nn.LocalResponseNorm(3, alpha=0.5, beta=0.7, k=1.5),
    "local response, even": lambda: nn.LocalResponseNorm(2, alpha=0.5),
    "l2 norm": lambda: nn.L2Norm(3),
    "layer norm": lambda: nn.LayerNorm(7),
    "squeeze and excitation": lambda: nn.SqueezeExcitation(3, 2),
    "dropout": nn.Dropout,
    "residual": lambda: nn.Residual(nn.Conv2d(3, 3, 1)),
    "concatenated": lambda: nn.Concat(nn.Conv2d(3, 2, 1), nn.ReLU()),
    "grid sample": Turned,
    "grid sample, border, corners": lambda: Turned(padding_mode="border", align_corners=True),
    "grid sample, nearest, reflection": lambda: Turned(mode="nearest", padding_mode="reflection"),
    "array code": Arrays,
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_onnxruntime_computes_the_same(name, tmp_path):
    layer, images = LAYERS[name](), RNG.standard_normal((2, 3, 6, 7), np.float32)
    for _, each in layer.layers():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean[...], each.running_var[...] = RNG.standard_normal(3), RNG.uniform(0.5, 2, 3)
    written = export_onnx(layer, RNG.standard_normal(images.shape, np.float32), tmp_path / "m.onnx")
    wanted = layer(images)
    (got,) = running(tmp_path / "m.onnx", images)
    assert got.shape == wanted.shape == written["y"].shape
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_weights_keep_their_names_and_unused_nodes_are_left_out(tmp_path):
    onnx = pytest.importorskip("onnx")

    class Net(Layer):
        def __init__(self):
            self.conv, self.unused = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 3)

        def forward(self, x, training=True):
            self.unused.forward(x)
            return self.conv.forward(x)

    export_onnx(Net(), np.zeros((1, 3, 4, 4), np.float32), tmp_path / "m.onnx", metadata={"classes": "a b"})
    model = onnx.load(tmp_path / "m.onnx")
    assert [node.op_type for node in model.graph.node] == ["Conv", "Identity"]
    assert [each.name for each in model.graph.initializer] == ["conv.weight", "conv.bias"]
    assert model.graph.node[0].name.startswith("conv/Conv")
    assert {each.key: each.value for each in model.metadata_props} == {"classes": "a b"}


class InPlace(Layer):
    def forward(self, x, training=True):
        y = np.zeros(x.shape, x.dtype)
        y[:] = x
        return y, None


class Branching(Layer):
    def forward(self, x, training=True):
        return (x if x.sum() > 0 else -x), None


class Constant(Layer):
    def forward(self, x, training=True):
        return np.ones(3), None


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (InPlace, r"0 \(InPlace\) copies elements into another array"),
        (Branching, r"0 \(Branching\) branches by the values of an array"),
        (lambda: nn.BatchNorm2d(3, track_running_stats=False), r"0 \(BatchNorm2d\) normalises by the statistics"),
        (lambda: nn.ConvTranspose2d(3, 3, 2, 1, 0, 1, dilation=2), r"\(ConvTranspose2d\) has an output_padding"),
        (Constant, "y does not depend on the images"),
        (lambda: nn.AdaptiveMaxPool2d(2), r"0 \(AdaptiveMaxPool2d\)"),
        (Layer, "Layer has no forward"),
    ],
)
def test_what_has_no_counterpart_is_named(layer, message, tmp_path):
    with pytest.raises(ValueError, match=f"Sequential has no ONNX form: .*{message}"):
        export_onnx(nn.Sequential(layer()), np.ones((2, 3, 4, 4), np.float32), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists() and not nn.config.plain
    assert nn.Conv2d.forward.__module__ == "nn.layers.conv" and "forward" not in vars(nn.BatchNorm2d)
