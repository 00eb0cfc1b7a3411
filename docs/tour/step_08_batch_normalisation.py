"""Step 8. Batch normalisation: its backward in numbered terms.

Question: the scale of activations grows or shrinks from layer to layer. What if every layer began by setting it right?

For each channel take its m values in the batch (all examples, and all pixels), x_1 ... x_m:

    (1)  mean    = 1/m sum_i x_i
    (2)  var     = 1/m sum_i (x_i - mean)^2
    (3)  inv_std = 1 / sqrt(var + eps)                  eps: a small number, so that a constant channel does no harm
    (4)  x_hat_i = (x_i - mean) inv_std                 mean 0, variance 1
    (5)  y_i     = weight x_hat_i + bias                two learned numbers: what (4) took away can be put back

Backward. From (5), as in step 2:  dbias = sum_i dy_i,  dweight = sum_i dy_i x_hat_i,  and x_hat gets g_i = weight dy_i.
Now x_j is in EVERY x_hat_i, since mean and inv_std depend on it:

    dx_j = sum_i g_i dx_hat_i/dx_j,    dx_hat_i/dx_j = inv_std [i = j]                  (term 0: itself)
                                                       - inv_std 1/m                    (term 1: through the mean)
                                                       - inv_std x_hat_i x_hat_j / m    (term 2: through the variance)

Term 1: by (1), dmean/dx_j = 1/m.  Term 2: by (2), dvar/dx_j = 2/m (x_j - mean), where the mean's own part is 0 since
sum_i (x_i - mean) = 0; by (3), dinv_std/dvar = -inv_std^3 / 2. Together
dinv_std/dx_j = -inv_std^3 (x_j - mean) / m = -inv_std^2 x_hat_j / m, times x_i - mean = x_hat_i / inv_std. In the sum:

    dx_j = inv_std ( g_j  -  1/m sum_i g_i  -  x_hat_j 1/m sum_i g_i x_hat_i )
         = weight inv_std ( dy_j  -  dbias / m  -  x_hat_j dweight / m )

At test time one example must not depend on the others in its batch: mean and var are then averages kept while training
(the running statistics), constants, and terms 1 and 2 are gone. (docs/derivations.md, section 1.) BatchNorm2d is the
same for x (N, C, H, W): the m values of a channel are all its pixels in all examples.
"""

import sys

import numpy as np

from docs.tour import drawing
from nn import BatchNorm1d, Linear, ReLU, Sequential
from nn.gradcheck import check_layer


def forward(x, weight, bias, eps=1e-5):
    """y for x (M, C), and the cache.    weight, bias (C,)."""
    mean = x.mean(axis=0)  # (1)
    var = ((x - mean) ** 2).mean(axis=0)  # (2)
    inv_std = 1 / np.sqrt(var + eps)  # (3)
    x_hat = (x - mean) * inv_std  # (4)
    return weight * x_hat + bias, (x_hat, inv_std, weight)  # (5)


def backward(dy, cache):
    """dx (M, C), dweight and dbias (C,)."""
    (x_hat, inv_std, weight), m = cache, len(dy)
    dweight, dbias = (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    dx = dy - dbias / m  # term 1: through the mean
    dx = dx - x_hat * dweight / m  # term 2: through the variance
    return weight * inv_std * dx, dweight, dbias


def spread(layers, x, scale):
    """The standard deviation of the output of each ReLU, the weights multiplied by `scale`."""
    found = []
    for layer in layers:
        if isinstance(layer, Linear):
            layer.weight.value *= scale
        x, _ = layer.forward(x)
        if isinstance(layer, ReLU):
            found.append(x.std())
    return found


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    x, dy, weight, bias = (rng.standard_normal(shape) for shape in ((6, 3), (6, 3), 3, 3))
    library = BatchNorm1d(3).astype(np.float64)
    library.weight.value[...], library.bias.value[...] = weight, bias
    (y, cache), (y_library, c_library) = forward(x, weight, bias), library.forward(x)
    dx, dweight, dbias = backward(dy, cache)
    assert np.allclose(y, y_library) and np.allclose(dx, library.backward(dy, c_library))
    assert np.allclose(dweight, library.weight.grad) and np.allclose(dbias, library.bias.grad)
    print("the same numbers as nn.BatchNorm1d; relative errors:", end=" ")
    print({name: f"{error:.0e}" for name, error in check_layer(library, x).items()})
    sums = dx.sum(axis=0), (dx * cache[0]).sum(axis=0)  # cache[0] is x_hat
    print(
        f"sum of dx: {abs(sums[0]).max():.0e}, sum of dx x_hat: {abs(sums[1]).max():.0e} (eps makes it differ from 0):"
    )
    print("a step cannot change what the normalisation takes out, the mean and the scale of x")
    assert abs(sums[0]).max() < 1e-12 and abs(sums[1]).max() < 1e-3

    x = rng.standard_normal((128, 64))
    figure, (axes,) = drawing.new(width=6, height=4)
    print("\nstandard deviation of the activations after 1, 5, 10 and 20 layers")
    for scale in (0.7, 1.0, 1.4):
        for normalised in (False, True):
            layers = []
            for _ in range(20):
                layers += [Linear(64, 64, rng=rng), *([BatchNorm1d(64)] if normalised else []), ReLU()]
            found = spread(layers, x, scale)
            name = f"weights x {scale}" + (", normalised" if normalised else "")
            print(f"  {name:26}", *(f"{found[i - 1]:10.3g}" for i in (1, 5, 10, 20)))
            axes.semilogy(range(1, 21), found, "-" if normalised else "--", label=name)
            assert not normalised or 0.4 < min(found) < max(found) < 0.8
    axes.set(xlabel="layer", ylabel="standard deviation of its activations")
    drawing.save(figure, out, "step_08.png")
    network = Sequential(*layers)
    network.forward(x)  # training: updates the running statistics
    alone, together = network(x[:1]), network(x)[:1]  # inference: uses them
    assert np.allclose(alone, together, atol=1e-5)


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_08_batch_normalisation.py)
# 1. A bias in the layer BEFORE a batch normalisation is useless. Why? Show that its gradient is 0.
# 2. Derive the backward for constants mean and inv_std (test time). Which terms are left? Check it against the library.
