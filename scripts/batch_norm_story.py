"""Show what batch normalisation changes: the loss of one network with and without it, by learning rate and over time.

example, on MNIST's own files (a minute on one core):
  python -m scripts.batch_norm_story --root mnist --out batch_norm.png

The network is that of the paper's first experiment: 28x28 pixels, three fully connected layers of 100 sigmoids, ten
classes, batches of 60, small random Gaussian weights. Batch normalisation stands before each sigmoid; with it a bias
before it would be subtracted again, and is left out. Left in the picture is the loss of the last tenth of the steps
against the learning rate; right the test accuracy over the steps, each network at its best rate (the paper's fig. 1a).

Reference: Ioffe and Szegedy 2015, arXiv:1502.03167, sec. 4.1.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets import MNIST
from nn import SGD, BatchNorm1d, Linear, Sequential, Sigmoid, softmax_cross_entropy
from scripts.command_line import Parser, command, count, count_or_none, positive
from vision.figures import save_png

UNITS, LAYERS, BATCH, SPREAD = 100, 3, 60, 0.1
POINTS = 25  # evaluations over a run
RATES = [0.01, 0.1, 0.5, 1, 2, 5, 10, 30]


class Run(NamedTuple):
    """The loss of each step (it ends where the loss is not finite), and {steps: test accuracy}."""

    losses: np.ndarray
    accuracy: dict[int, float]

    def final(self, steps: int) -> float:
        """The mean loss of the last tenth of the steps; infinite for a run that ended before."""
        return float(self.losses[-max(1, steps // 10) :].mean()) if len(self.losses) == steps else np.inf


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    train, test = (pixels(MNIST(args.root, split)) for split in ("train", "test"))
    runs = {
        (normalised, rate): measure(normalised, rate, args.steps, train, test, args.seed)
        for normalised in (False, True)
        for rate in args.rates
    }
    print(table(runs, args.steps))
    draw(runs, args.steps, args.out)
    print(f"the picture is {args.out}")


def build_parser() -> Parser:
    parser = Parser("scripts.batch_norm_story", __doc__)
    text = "the folder that holds train-images-idx3-ubyte(.gz) and MNIST's other files (needed)"
    parser.add_argument("--root", metavar="DIR", type=Path, required=True, help=text)
    out = Path("batch_norm.png")
    parser.add_argument("--out", metavar="FILE", type=Path, default=out, help=f"picture to write (default: {out})")
    parser.add_argument("--steps", metavar="N", type=count, default=2000, help="steps of each run (default: 2000)")
    text = f"learning rates (default: {' '.join(map(str, RATES))})"
    parser.add_argument("--rates", metavar="X", type=positive, nargs="+", default=RATES, help=text)
    parser.add_argument("--seed", metavar="N", type=count_or_none, default=0, help="of weights and order (default: 0)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def pixels(data: MNIST) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 784) float32 in 0 .. 1 and labels (N,)."""
    return data.digits.reshape(len(data), -1).astype(np.float32) / 255, data.labels


def network(inputs: int, normalised: bool, seed: int) -> Sequential:
    """The same weights for both; what differs is BatchNorm1d before each sigmoid, in the place of a bias."""
    rng, layers = np.random.default_rng(seed), []
    for _ in range(LAYERS):
        linear = Linear(inputs, UNITS, bias=not normalised, rng=rng)
        linear.weight.value[...] = SPREAD * rng.standard_normal(linear.weight.value.shape)
        layers += [linear, *([BatchNorm1d(UNITS)] if normalised else []), Sigmoid()]
        inputs = UNITS
    last = Linear(inputs, 10, rng=rng)
    last.weight.value[...] = SPREAD * rng.standard_normal(last.weight.value.shape)
    return Sequential(*layers, last)


def measure(normalised: bool, rate: float, steps: int, train, test, seed: int) -> Run:
    """One run of plain gradient descent on random batches, the same for every run."""
    net, rng, losses, accuracy = network(train[0].shape[1], normalised, seed), np.random.default_rng(seed), [], {}
    optimiser = SGD(net.parameters(), lr=rate, momentum=0.0)
    every = max(1, steps // POINTS)
    for step in range(1, steps + 1):
        chosen = rng.integers(0, len(train[1]), BATCH)
        logits, cache = net.forward(train[0][chosen])
        loss, dlogits = softmax_cross_entropy(logits, train[1][chosen])
        if not np.isfinite(loss):
            break
        net.zero_grad()
        net.backward_parameters(dlogits, cache)
        optimiser.step()
        losses.append(loss)
        if step % every == 0:
            accuracy[step] = float((net(test[0]).argmax(axis=1) == test[1]).mean())
    return Run(np.array(losses), accuracy)


def best_rate(runs: dict, normalised: bool, steps: int) -> float:
    """The rate with the smallest final loss."""
    return min(
        (rate for with_it, rate in runs if with_it == normalised), key=lambda r: runs[normalised, r].final(steps)
    )


def table(runs: dict[tuple[bool, float], Run], steps: int) -> str:
    """A line per rate: final loss and test accuracy, without and with batch normalisation."""
    rows = [f"{'':8}{'without':>20}{'with batch normalisation':>28}", f"{'rate':>8}" + 2 * f"{'loss':>13}{'test':>9}"]
    for rate in dict.fromkeys(rate for _, rate in runs):
        both = (runs[normalised, rate] for normalised in (False, True))
        cells = (f"{run.final(steps):13.4f}{[np.nan, *run.accuracy.values()][-1]:9.4f}" for run in both)
        rows.append(f"{rate:8g}" + "".join(cells))
    return "\n".join(rows)


def draw(runs: dict[tuple[bool, float], Run], steps: int, path: Path):
    """Write the picture: final loss against rate, and the test accuracy of the best rates over the steps."""
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for normalised, name in ((False, "without"), (True, "with batch normalisation")):
        rates = sorted(rate for with_it, rate in runs if with_it == normalised)
        left.plot(rates, [runs[normalised, rate].final(steps) for rate in rates], marker="o", label=name)
        best = best_rate(runs, normalised, steps)
        accuracy = runs[normalised, best].accuracy
        right.plot(list(accuracy), list(accuracy.values()), label=f"{name}, rate {best:g}")
    left.set(
        xscale="log", yscale="log", xlabel="learning rate", ylabel=f"loss, mean of the last tenth of {steps} steps"
    )
    right.set(xlabel="step", ylabel="test accuracy")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    save_png(figure, path)


if __name__ == "__main__":
    sys.exit(main())
