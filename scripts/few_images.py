"""Draw accuracy against the number of training images: a network from random weights, and published ones transferred.

For each network, each number of images a class and each way of training `transfer` is trained and tested; the fewer the
images, the more published weights should help. The last layer alone (head), everything (fine-tune) or everything from
random weights (scratch): the last two with about the same number of steps, however many images there are.

example, three networks on CIFAR-10 in folders, enlarged to 64 pixels:
  python -m scripts.few_images --root cifar10 --run-dir runs/few --set short_side=64 \\
      --weights squeezenet1_0=squeezenet.npz alexnet=alexnet.npz efficientnet_lite0=lite0.npz -- --val-split test

Arguments after -- go to scripts.train. Give the same command again after an interruption: finished runs are only read.
"""

import sys
from argparse import ArgumentTypeError, Namespace
from pathlib import Path

import vision
from datasets import ClassFolders
from scripts.command_line import Parser, command, count, count_or_none
from scripts.compare import STOPPED, read_row, run
from scripts.compare_systems import System
from vision.classification.transfer import UNUSED
from vision.figures import save_png
from vision.registry import find

WAYS = ("scratch", "head", "fine-tune")
LINES = {"scratch": ":", "head": "--", "fine-tune": "-"}


@command
def main(arguments: list[str]) -> int | None:
    dashes = arguments.index("--") if "--" in arguments else len(arguments)
    args, passed_on = build_parser().parse_args(arguments[:dashes]), arguments[dashes + 1 :]
    for _, path in args.weights:
        if not path.is_file():
            raise ValueError(f"{path}: there is no such file of weights")
    classes, found = len(ClassFolders(args.root, args.split).classes), {}
    args.run_dir.mkdir(parents=True, exist_ok=True)
    for network, path in args.weights:
        for way in args.ways:
            for images in args.images:
                own = [text for text in args.set if text.partition("=")[0] not in UNUSED.get(way, ())]
                system = System(f"{network}-{way}", "transfer", [f"network={network}", f"way={way}", *own])
                steps = 0 if way == "head" else args.steps  # the last layer is fitted in rounds, in one epoch
                epochs = max(1, round(steps * args.batch_size / (classes * images)))
                given = ["--data", "class_folders", "--root", str(args.root), "--images-per-class", str(images)]
                given += ["--batch-size", str(args.batch_size), "--epochs", str(epochs), "--evaluate-every", "0"]
                given += [] if way == "scratch" else ["--pretrained", str(path)]
                place = Namespace(
                    run_dir=args.run_dir / str(images), seeds=[args.seed], split=args.split, proposals=None
                )
                if status := run(system, args.seed, place, [*given, *passed_on]):
                    return status if status in STOPPED else 1
                found.setdefault((network, way), {})[images] = read_row(system, place)["accuracy"][0]
    print(f"\n{table(found, args.images)}")
    draw(found, args.run_dir / "few_images.png")
    print(f"the picture is {args.run_dir / 'few_images.png'}")
    return None


def build_parser() -> Parser:
    parser = Parser("scripts.few_images", __doc__)
    parser.add_argument("--root", metavar="DIR", type=Path, required=True, help="pictures in a folder a class (needed)")
    text = "networks and their published weights (needed)"
    parser.add_argument("--weights", metavar="NETWORK=FILE", type=network_and_file, nargs="+", required=True, help=text)
    text = "training images of each class (default: 10 30 100 300)"
    parser.add_argument("--images", metavar="N", type=count, nargs="+", default=[10, 30, 100, 300], help=text)
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=list(WAYS), help="what is trained (default: all)")
    text = "about this many steps for what is trained in steps (default: 200)"
    parser.add_argument("--steps", metavar="N", type=count, default=200, help=text)
    parser.add_argument("--batch-size", metavar="N", type=count, default=32, help="images of a step (default: 32)")
    parser.add_argument("--set", metavar="NAME=VALUE", nargs="+", default=[], help="its options, where they apply")
    parser.add_argument("--split", metavar="NAME", default="test", help="split to test on (default: test)")
    parser.add_argument("--seed", metavar="N", type=count_or_none, default=0, help="of all draws (default: 0)")
    parser.add_argument("--run-dir", metavar="DIR", type=Path, required=True, help="folder for all runs (needed)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def network_and_file(text: str) -> tuple[str, Path]:
    """(network, file) of NETWORK=FILE."""
    name, equals, path = text.partition("=")
    if not (equals and path):
        raise ArgumentTypeError(f"must look like NETWORK=FILE, got {text!r}")
    try:
        task = find(name).task
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    if task != "classification":
        raise ArgumentTypeError(f"{name} is no classifier, but of the task {vision.MODELS[name].task}")
    return name, Path(path)


def table(found: dict, images: list[int]) -> str:
    """A Markdown table: {(network, way): {images: accuracy}}."""
    lines = ["| network | trained | " + " | ".join(map(str, images)) + " |", "| --- | --- |" + " --- |" * len(images)]
    for (network, way), row in found.items():
        lines.append(f"| {network} | {way} | " + " | ".join(f"{row[n]:.3f}" for n in images) + " |")
    return "\n".join(lines)


def draw(found: dict, path: Path):
    """Write the curves: a colour a network, a line style a way."""
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    figure, networks = Figure(figsize=(8, 5), layout="constrained"), list(dict.fromkeys(name for name, _ in found))
    axes = figure.subplots()
    for (network, way), row in found.items():
        colour = f"C{networks.index(network)}"
        axes.plot(list(row), list(row.values()), LINES[way], marker=".", color=colour, label=f"{network}, {way}")
    axes.set(xscale="log", xlabel="training images a class", ylabel="accuracy", ylim=(0, 1))
    axes.set_xticks(sorted({n for row in found.values() for n in row}))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(networks), fontsize="small")
    save_png(figure, path)


if __name__ == "__main__":
    sys.exit(main())
