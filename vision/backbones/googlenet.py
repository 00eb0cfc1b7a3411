"""GoogLeNet without its heads: modules that look at 1x1, 3x3, 5x5 and a pooling at once, behind 1x1 bottlenecks.

Reference: Szegedy et al. 2015, Going deeper with convolutions, arXiv:1409.4842.
"""

from nn import BatchNorm2d, Concat, Conv2d, LocalResponseNorm, MaxPool2d, ReLU, Sequential
from nn.layer import Layer, positive
from vision.backbones.backbone import Backbone, FeatureMap

POOL = "pool"
MODULES = {  # table 1: channels of 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool proj
    "inception3a": (64, 96, 128, 16, 32, 32), "inception3b": (128, 128, 192, 32, 96, 64), "pool3": POOL,
    "inception4a": (192, 96, 208, 16, 48, 64), "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64), "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128), "pool4": POOL,
    "inception5a": (256, 160, 320, 32, 128, 128), "inception5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


def convolution(in_channels, out_channels, kernel_size, stride=1, *, batch_norm=False, rng) -> Sequential:
    """A convolution that keeps the size but for its stride, batch normalisation if wanted, and ReLU."""
    padding = kernel_size // 2
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=not batch_norm, rng=rng)
    return Sequential(conv, *([BatchNorm2d(out_channels)] if batch_norm else []), ReLU())


class Inception(Layer):
    """y = the four branches of x, concatenated along the channels.    x (N, I, H, W), y (N, b1 + b3 + b5 + bp, H, W).

    branch1: 1x1 to b1 channels; branch2: 1x1 to r3, 3x3 to b3; branch3: 1x1 to r5, 5x5 to b5; branch4: 3x3 max pooling
    with stride 1, 1x1 to bp; each convolution with ReLU. The 1x1 convolutions before the others make these cheap.
    channels: (b1, r3, b3, r5, b5, bp).

    Reference: Szegedy et al. 2015, sec. 4 and 5, fig. 2b.
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...], batch_norm: bool = False, *, rng):
        b1, r3, b3, r5, b5, bp = channels

        def conv(*arguments):
            return convolution(*arguments, batch_norm=batch_norm, rng=rng)

        self.out_channels = b1 + b3 + b5 + bp
        self.body = Concat(
            conv(in_channels, b1, 1),
            Sequential(conv(in_channels, r3, 1), conv(r3, b3, 3)),
            Sequential(conv(in_channels, r5, 1), conv(r5, b5, 5)),
            Sequential(MaxPool2d(3, stride=1, padding=1), conv(in_channels, bp, 1)),
        )

    def children(self):
        """The branches, branch1 to branch4."""
        return ((f"branch{i}", branch) for i, branch in enumerate(self.body.branches, start=1))

    def forward(self, x, training=True):
        return self.body.forward(x, training)

    def backward(self, dy, cache):
        return self.body.backward(dy, cache)


class GoogLeNet(Backbone):
    """images (N, 3, H, W) to features (N, 16 width, about H / 32, about W / 32): 9 modules.

    Stages: conv1 (7x7, stride 2), pool1, conv2 (1x1, 3x3), pool2, inception3a ... inception5b with pool3 and pool4
    between. Responses are normalised across channels after pool1 and before pool2 (n = 5, alpha = 1e-4, beta = 0.75;
    divided by n, as in Caffe), in the stages pool1 and conv2. Pooling is 3x3 with stride 2, sizes are rounded up.

    width: channels of conv1, 64 in the paper; all others in proportion. small_stem: for images of 32 pixels, conv1 is
    3x3 with stride 1, and there are no pool1 and pool2. batch_norm: before each ReLU, and then responses are not
    normalised otherwise. New weights are He's.

    Reference: Szegedy et al. 2015, table 1.
    """

    def __init__(self, width: int = 64, small_stem: bool = False, batch_norm: bool = False, *, rng):
        positive(self, width=width)

        def wide(channels):
            return max(1, (channels * width + 32) // 64)

        layers, stages, channels, stride = {}, {}, wide(64), 1 if small_stem else 2
        norm = {"batch_norm": batch_norm, "rng": rng}

        def end(name):
            stages[name] = FeatureMap(len(layers), channels, stride)

        layers["conv1"] = convolution(3, channels, 3 if small_stem else 7, stride, **norm)
        end("conv1")
        if not small_stem:
            layers["pool1"], stride = _pool(), 2 * stride
            layers |= {} if batch_norm else {"norm1": _response_norm()}
            end("pool1")
        layers["conv2_reduce"] = convolution(channels, channels, 1, **norm)
        layers["conv2"], channels = convolution(channels, wide(192), 3, **norm), wide(192)
        if not small_stem:
            layers |= {} if batch_norm else {"norm2": _response_norm()}
            end("conv2")
            layers["pool2"], stride = _pool(), 2 * stride
        end("conv2" if small_stem else "pool2")
        for name, module in MODULES.items():
            if module == POOL:
                layers[name], stride = _pool(), 2 * stride
            else:
                layers[name] = Inception(channels, tuple(map(wide, module)), batch_norm, rng=rng)
                channels = layers[name].out_channels
            end(name)
        super().__init__(layers, stages)


def _pool():
    return MaxPool2d(3, stride=2, ceil_mode=True)


def _response_norm():
    return LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
