"""Show that a residual network is an ensemble of paths: blocks deleted and swapped, gradients by path length.

example, the published ResNet-56, and a trained plain network beside it:
  python -m scripts.paths --published resnet20_cifar --weights resnet56_cifar10.npz --set n=9 --data cifar10 \\
      --root cifar10 --class-names cifar10/classes.txt --plain runs/plain20 --out paths.png

Four pictures in one: the error with each single block deleted; with several deleted at random; with blocks swapped,
over Kendall's tau of their order; and the norm of the gradient along single paths by their length, beside what all
paths of a length contribute together. Reference: Veit et al. 2016, arXiv:1605.06431, fig. 3, 5 and 6.
"""

import json
import sys
from math import comb
from pathlib import Path

import numpy as np

from nn import Sequential
from nn.io.checkpoint import replacing
from nn.losses.classification import softmax_cross_entropy
from scripts.command_line import Parser, command, count, count_or_none
from scripts.data import DEFAULTS, add_data_arguments, open_data
from scripts.layouts import default_splits
from scripts.published import add_published_arguments, load_published
from scripts.train_arguments import model_option
from vision import load
from vision.classification.paths import Unrolled, kendall_tau, path_gradient, swapped
from vision.figures import save_png
from vision.task import EvenSubset

TOGETHER = 100  # images in one forward pass


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    if not (args.run or args.published):
        raise ValueError("give a RUN_OR_CHECKPOINT, or --published NAME")
    model = load_published(args) if args.published else load(args.run)
    for name, value in DEFAULTS.items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    split = args.split or default_splits("classification", args.data, args.root)[1]
    data = open_data("classification", args, split, list(model.classes))
    samples, rng = list(EvenSubset(data, args.images)), np.random.default_rng(args.seed)
    figures = {"images": len(samples), **residual_figures(model, samples, args, rng)}
    if args.plain:
        figures["plain"] = single(load(args.plain), samples)
    print(table(figures))
    draw(figures, args.out)
    if args.json:
        with replacing(args.json) as file:
            file.write(json.dumps(figures, indent=2).encode() + b"\n")
    print(f"the picture is {args.out}")


def build_parser() -> Parser:
    parser = Parser("scripts.paths", __doc__)
    parser.add_argument("run", metavar="RUN_OR_CHECKPOINT", type=Path, nargs="?", help="a trained residual network")
    add_published_arguments(parser)
    parser.add_argument("--set", nargs="+", type=model_option, metavar="NAME=VALUE", default=[], help="its options")
    text = "a run of a network without shortcuts, for comparison"
    parser.add_argument("--plain", metavar="RUN_OR_CHECKPOINT", type=Path, help=text)
    add_data_arguments(parser, {}).add("--split", str, "NAME", "split to measure on")
    parser.add_argument("--images", metavar="N", type=count, default=300, help="images of the split (default: 300)")
    text = "blocks to delete at random (default: 1 2 5 10)"
    parser.add_argument("--deleted", metavar="N", type=count, nargs="+", default=[1, 2, 5, 10], help=text)
    text = "random choices for each number of blocks, and for each number of swaps (default: 5)"
    parser.add_argument("--draws", metavar="N", type=count, default=5, help=text)
    parser.add_argument("--paths", metavar="N", type=count, default=10, help="paths of each length (default: 10)")
    parser.add_argument("--seed", metavar="N", type=count_or_none, default=0, help="of all draws (default: 0)")
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("paths.png"), help="picture to write")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def residual_figures(model, samples, args, rng) -> dict:
    """All that is measured of the residual network."""
    unrolled, found = Unrolled(model.network), single(model, samples)
    n = len(unrolled.blocks)
    found["deleted"] = {
        k: [error(model, unrolled.without(rng.choice(n, k, replace=False)), samples) for _ in range(args.draws)]
        for k in args.deleted
        if k <= n
    }
    orders = [swapped(unrolled.same_shape(), n, k, rng) for k in (1, 2, 4, 8, 16) for _ in range(args.draws)]
    found["swapped"] = [(kendall_tau(order), error(model, unrolled.reordered(order), samples)) for order in orders]
    images = model.preprocess.batch([model.preprocess.scaled(sample["image"]) for sample in samples[:10]])
    _, dlogits = softmax_cross_entropy(model(images), np.array([sample["label"] for sample in samples[:10]]))
    found["gradients"] = [
        [path_gradient(unrolled, images, dlogits, rng.choice(n, k, replace=False)) for _ in range(args.paths)]
        for k in range(n + 1)
    ]
    return found


def single(model, samples) -> dict:
    """The error, and that with each block alone deleted; None for a plain block that changes the shape."""
    unrolled, errors = Unrolled(model.network), []
    for number in range(len(unrolled.blocks)):
        try:
            errors.append(error(model, unrolled.without([number]), samples))
        except ValueError:
            errors.append(None)
    return {"error": error(model, unrolled.without([]), samples), "single": errors}


def error(model, network: Sequential, samples) -> float:
    """The share of samples whose most probable class is wrong."""
    wrong = 0
    for start in range(0, len(samples), TOGETHER):
        some = samples[start : start + TOGETHER]
        images = model.preprocess.batch([model.preprocess.scaled(sample["image"]) for sample in some])
        wrong += (network(images).argmax(axis=1) != [sample["label"] for sample in some]).sum()
    return float(wrong / len(samples))


def table(figures: dict) -> str:
    """The figures, a line each."""
    rows = [f"{figures['images']} images, error {figures['error']:.3f}"]
    for name, each in (("residual", figures), ("plain", figures.get("plain"))):
        if each:
            known = [value for value in each["single"] if value is not None]
            text = f"{np.median(known):.3f} (median of {len(known)}), {max(known):.3f} at most"
            rows.append(f"one block deleted, {name} (error {each['error']:.3f}): {text}")
    rows += [f"{k} blocks deleted at random: {np.mean(v):.3f} (mean)" for k, v in figures["deleted"].items()]
    means, share = contribution(figures["gradients"])
    rows.append("norm of the gradient along a path of length 0, 1, 2, ...: " + " ".join(f"{m:.2g}" for m in means))
    half = int(np.searchsorted(np.cumsum(share), 0.9))
    rows.append(f"paths of at most {half} of {len(means) - 1} blocks contribute 90 % of the sum of all norms")
    return "\n".join(rows)


def contribution(gradients) -> tuple[np.ndarray, np.ndarray]:
    """The mean norm by length, and the share of all paths of that length in the sum: times their number (fig. 6c)."""
    means, n = np.mean(gradients, axis=1), len(gradients) - 1
    total = means * [comb(n, k) for k in range(n + 1)]
    return means, total / total.sum()


def draw(figures: dict, path: Path):
    """Write the four pictures."""
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    figure = Figure(figsize=(11, 8), layout="constrained")
    (one, many), (order, flow) = figure.subplots(2, 2)
    for name, each in (("residual", figures), ("plain", figures.get("plain"))):
        if each:
            values = [np.nan if value is None else value for value in each["single"]]
            (line,) = one.plot(np.arange(1, len(values) + 1), values, marker="o", label=f"{name}, a block deleted")
            one.axhline(each["error"], color=line.get_color(), linestyle=":", label=f"{name}, whole")
    one.set(xlabel="block deleted", ylabel="error", ylim=(0, 1))
    many.boxplot(list(figures["deleted"].values()))
    many.set_xticks(range(1, len(figures["deleted"]) + 1), list(map(str, figures["deleted"])))
    many.set(xlabel="blocks deleted at random", ylabel="error", ylim=(0, 1))
    order.plot(*zip(*figures["swapped"]), "o")
    order.set(xlabel="Kendall's tau of the blocks' order", ylabel="error", ylim=(0, 1))
    order.invert_xaxis()
    means, share = contribution(figures["gradients"])
    flow.semilogy(means, marker="o", color="black", label="norm of the gradient along a path")
    flow.set(xlabel="blocks on the path", ylabel="norm, mean over paths")
    flow.twinx().bar(np.arange(len(share)), share, alpha=0.4, label="share of all paths of this length")
    for axes in (one, flow):
        axes.legend(fontsize="small")
    save_png(figure, path)


if __name__ == "__main__":
    sys.exit(main())
