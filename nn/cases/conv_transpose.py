"""Cases of the transposed convolution."""

import numpy as np

from nn.cases.base import LayerCase
from nn.layer import Layer
from nn.layers.conv_transpose import ConvTranspose2d

RNG = np.random.default_rng(46)


def case(n, c, h, w, o, kernel, plain=False, **options):
    """A ConvTranspose2d case; the other input has one image, two rows and one column more."""
    inputs = (RNG.standard_normal((n, c, h, w)),), (RNG.standard_normal((n + 1, c, h + 2, w + 1)),)
    return LayerCase(lambda: ConvTranspose2d(c, o, kernel, **options), *inputs, plain=plain)


LAYERS: dict[type[Layer], dict[str, LayerCase]] = {
    ConvTranspose2d: {
        "3x3": case(2, 3, 4, 5, 6, 3),
        "no bias": case(2, 3, 5, 4, 1, (2, 3), bias=False),
        "2x2, stride 2": case(2, 3, 4, 5, 6, 2, stride=2),
        "padding": case(2, 3, 4, 5, 6, 3, padding=1),
        "padding beyond the kernel": case(2, 1, 5, 6, 3, (2, 3), padding=(2, 1)),
        "stride 2, padding": case(2, 3, 4, 5, 6, 4, stride=2, padding=1),
        "output_padding": case(2, 4, 3, 5, 6, 3, stride=2, padding=1, output_padding=1),
        "output_padding, not square": case(1, 2, 3, 4, 5, (3, 2), stride=(2, 3), padding=(0, 1), output_padding=(1, 2)),
        "output_padding of a stride and more": case(
            2, 3, 4, 5, 1, 2, stride=(1, 2), dilation=(4, 6), output_padding=(3, 5)
        ),
        "output_padding of a stride, padding": case(
            2, 1, 4, 3, 5, 2, padding=(1, 2), dilation=(2, 3), output_padding=(1, 2)
        ),
        "stride beyond the kernel": case(2, 3, 4, 5, 1, (1, 2), stride=(2, 4)),
        "dilation": case(1, 2, 3, 4, 5, (3, 2), dilation=(2, 3), padding=(1, 0)),
        "dilation and stride": case(1, 3, 2, 4, 2, (2, 3), dilation=2, stride=(1, 2), padding=1),
        "groups": case(2, 4, 3, 5, 6, (3, 2), groups=2),
        "groups, stride": case(2, 4, 5, 3, 6, (3, 2), groups=2, stride=2, padding=(1, 0), output_padding=(0, 1)),
        "depthwise": case(2, 3, 5, 4, 6, 3, groups=3, padding=1),
        "1x1": case(2, 3, 4, 5, 6, 1),
        "1x1, stride": case(2, 3, 4, 5, 1, 1, stride=(2, 3)),
        "one pixel": case(2, 3, 1, 1, 5, (2, 4)),
        "output of one pixel": case(2, 4, 1, 3, 5, (3, 1), padding=1),
        "batch of 1": case(1, 3, 4, 5, 2, 3, stride=2, padding=1),
        "plain": case(2, 4, 3, 5, 6, (3, 2), groups=2, stride=(1, 2), padding=(1, 0), plain=True),
        "plain, output_padding": case(
            1, 2, 3, 4, 5, (2, 3), dilation=(3, 1), stride=(2, 3), output_padding=2, plain=True
        ),
    },
}
