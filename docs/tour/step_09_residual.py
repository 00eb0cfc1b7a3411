"""Step 9. A residual block, and its 2^n paths.

Question: why can a network of a hundred layers be trained at all?

In a stack of layers the gradient of the input is a product, one factor for each layer. If the typical factor is 0.7,
it is 0.7^50 = 0.00000002 after fifty: the first layers do not learn. A residual block adds its input to its output:

    y = x + F(x)            F: a few layers, with an output of the shape of x

x is used twice, so its gradient is a sum (step 2): dy as it is, and dy through F.

    dx = dy + F.backward(dy)

Over n blocks the product becomes (1 + F_n)(1 + F_(n-1)) ... (1 + F_1). Multiply it out: each block either passes dy on
or sends it through F, so there are 2^n terms, one for each PATH through the network. C(n, k) of the paths go through k
of the F. The path through none of them brings dy to the first block unchanged, however deep the network is; and since
the gradient shrinks with every F on its way, it is the short paths that teach a deep network (Veit et al. 2016). F must
begin small, by its weights or by a normalisation inside: else the product of the (1 + F) explodes instead.

Deep networks without shortcuts fail in a way that is often misread. They do not overfit (a low loss on the training
examples, a high one on others): their TRAINING loss is high. He et al. 2016 call it degradation. A deeper network could
copy the shallower one and be as good, but gradient descent does not find that; with F(x) = 0 a residual block does it.
"""

import sys
from itertools import product
from math import comb

import numpy as np

from docs.tour import drawing
from docs.tour.step_04_softmax_cross_entropy import spirals, train
from nn import BatchNorm1d, Layer, Linear, ReLU, Residual, Sequential


class Block(Layer):
    """y = x + F(x)."""

    def __init__(self, body):
        self.body = body

    def forward(self, x, training=True):
        y, cache = self.body.forward(x, training)
        return x + y, cache

    def backward(self, dy, cache):
        return dy + self.body.backward(dy, cache)


def body(width, rng, scale=0.7):
    """F: Linear, ReLU, its weights multiplied by `scale`."""
    f = Sequential(Linear(width, width, rng=rng), ReLU()).astype(np.float64)
    f[0].weight.value *= scale
    return f


def along(blocks, caches, dy, through):
    """The gradient of one path: through F in the blocks where `through` is 1, past it elsewhere."""
    for block, cache, inside in zip(reversed(blocks), reversed(caches), reversed(through)):
        dy = block.body.backward(dy, cache) if inside else dy
    return dy


def spiral_network(depth, shortcuts, rng):
    """Points (N, 2) to 3 scores: a Linear layer, `depth` blocks of width 16, a Linear layer."""
    bodies = [Sequential(Linear(16, 16, rng=rng), BatchNorm1d(16), ReLU()) for _ in range(depth)]
    blocks = map(Residual if shortcuts else Sequential, bodies)
    network = Sequential(Linear(2, 16, rng=rng), *blocks, Linear(16, 3, rng=rng))
    network[-1].weight.value *= 0.01  # scores near 0 at the start
    return network


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    blocks, x, dy = [Block(body(8, rng)) for _ in range(6)], rng.standard_normal((4, 8)), rng.standard_normal((4, 8))
    network, library = Sequential(*blocks), Sequential(*(Residual(block.body) for block in blocks))
    (y, caches), (y_library, c_library) = network.forward(x), library.forward(x)
    dx = network.backward(dy, caches)
    assert np.allclose(y, y_library) and np.allclose(dx, library.backward(dy, c_library))

    paths = {through: along(blocks, caches, dy, through) for through in product((0, 1), repeat=6)}
    assert np.allclose(sum(paths.values()), dx)
    print("6 blocks, 64 paths; their gradients add up to dx.  F on the path, paths, mean norm of one's gradient:")
    norms = [np.mean([np.linalg.norm(d) for t, d in paths.items() if sum(t) == k]) for k in range(7)]
    print("   ".join(f"{k}: {comb(6, k)} x {norm:.2f}" for k, norm in enumerate(norms)))

    figure, (flow, lengths, curves) = drawing.new(1, 3)
    bodies = [body(64, rng, scale=0.1) for _ in range(50)]
    for name, kind in (("plain", Sequential), ("residual", Residual)):
        layers = [kind(f) for f in bodies]
        _, caches = Sequential(*layers).forward(rng.standard_normal((8, 64)))
        d, found = rng.standard_normal((8, 64)), []
        for layer, cache in zip(reversed(layers), reversed(caches)):
            d = layer.backward(d, cache)
            found.append(np.linalg.norm(d))
        print(f"{name}, 50 blocks: norm of the gradient after 1 block back {found[0]:.3g}, after 50 {found[-1]:.3g}")
        flow.semilogy(range(1, 51), found, label=name)
    flow.set(xlabel="blocks back", ylabel="norm of the gradient")
    lengths.bar(range(7), [comb(6, k) * norm for k, norm in enumerate(norms)])
    lengths.set(xlabel="F on the path", ylabel="paths x mean norm", title="6 blocks")

    x, arm = spirals(60, rng)
    final = {}
    for depth, shortcuts in ((2, False), (30, False), (30, True)):
        losses = train(spiral_network(depth, shortcuts, np.random.default_rng(3)), x, arm, steps=100, rate=0.1)
        name = f"{depth} {'residual' if shortcuts else 'plain'} blocks"
        final[name] = np.mean(losses[-20:])
        curves.plot(losses, label=name)
        print(f"training loss of {name}: {final[name]:.3f}")
    curves.set(xlabel="step", ylabel="training loss", ylim=(0, 2))
    drawing.save(figure, out, "step_09.png")
    assert final["30 residual blocks"] < final["2 plain blocks"] < final["30 plain blocks"]


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_09_residual.py)
# 1. Delete one block of the six: which paths are gone? And in a plain network?
# 2. Put a ReLU behind the sum, y = relu(x + F(x)), as the first ResNet has it. Which of the 2^n paths are left?
