"""Batch normalisation over the whole batch, of which each process has a share.

With m, mean and var over all pixels of all shares the formulas are those of nn/layers/batch_norm.py; each sum over the
batch is a sum of the processes' sums:

  forward   mean = sum(x) / m, then var = sum((x - mean)^2) / m             two exchanges of C values
  backward  dx = weight inv_std (dy - sum(dy) / m - x_hat sum(dy x_hat) / m)   one exchange of 2 C values

Reference: Ioffe and Szegedy 2015, arXiv:1502.03167; over processes: Peng et al. 2018, MegDet, arXiv:1711.07240.
"""

from nn import BatchNorm1d, BatchNorm2d
from nn.dispatch import array_module
from nn.gpu.device import to_device
from nn.layer import Layer, check_shape
from vision.training.communicator import Communicator


class _Synchronised:
    """What is different in BatchNorm1d and BatchNorm2d of several processes."""

    others: Communicator

    def forward(self, x, training=True):
        if not self.track_running_stats or self.frozen or not training:
            return super().forward(x, training)
        check_shape(self, x=(x, self._wanted_shape(x)))
        rows = x.reshape(*x.shape[:2], -1)  # (N, C, M)
        m, sums = self.total(rows, rows.sum((0, 2)))
        if m < 2:
            raise ValueError(f"{type(self).__name__}: more than one value a channel is needed in all processes")
        mean = sums / m
        _, squares = self.total(rows, ((rows - mean[:, None]) ** 2).sum((0, 2)))
        var, momentum = squares / m, self._count_batch()
        self.running_mean += momentum * (mean - self.running_mean)
        self.running_var += momentum * (m / (m - 1) * var - self.running_var)
        inv_std = (var + self.eps) ** -0.5
        x_hat = (rows - mean[:, None]) * inv_std[:, None]
        y = x_hat if self.weight is None else self.weight.value[:, None] * x_hat + self.bias.value[:, None]
        return y.reshape(x.shape), (x_hat, inv_std, m, "synchronised")

    def backward(self, dy, cache):
        if cache[-1] != "synchronised":
            return super().backward(dy, cache)
        x_hat, inv_std, m, _ = cache
        rows = dy.reshape(x_hat.shape)
        dweight, dbias = (rows * x_hat).sum((0, 2)), rows.sum((0, 2))  # of this share: the gradients are summed later
        _, (all_dweight, all_dbias) = self.total(rows, array_module(dy).stack([dweight, dbias]))
        dx = rows - all_dbias[:, None] / m - x_hat * all_dweight[:, None] / m
        scale = inv_std if self.weight is None else self.weight.value * inv_std
        if self.weight is not None:
            self.weight.grad += dweight
            self.bias.grad += dbias
        return (dx * scale[:, None]).reshape(dy.shape)

    def total(self, rows, sums):
        """(m, the sums) over all processes, in the dtype and on the device of the sums."""
        xp, own = array_module(sums), to_device(sums, "cpu")
        told = self.others.exchange("statistics", (rows.size // rows.shape[1], own))
        return sum(m for m, _ in told), xp.asarray(sum(each for _, each in told), dtype=sums.dtype)


class SyncBatchNorm1d(_Synchronised, BatchNorm1d):
    """BatchNorm1d over the batches of all processes."""


class SyncBatchNorm2d(_Synchronised, BatchNorm2d):
    """BatchNorm2d over the batches of all processes."""


KINDS = {BatchNorm1d: SyncBatchNorm1d, BatchNorm2d: SyncBatchNorm2d}


def synchronise_batch_norm(model: Layer, others: Communicator) -> int:
    """Make the batch normalisations of a model take the statistics of all processes; returns how many there are.

    The layers stay the same objects, with the same parameters: only their class is another.
    """
    layers = [layer for _, layer in model.layers() if type(layer) in KINDS]
    for layer in layers:
        layer.__class__, layer.others = KINDS[type(layer)], others
    return len(layers)
