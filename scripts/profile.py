"""The time of a training step, by kind of layer.

example, one image of 320x240:
  python -m scripts.profile --model faster_rcnn_small --size 240 320 --batch-size 1

The step is that of scripts.train on generated scenes: loss, backward, clipping, optimiser. A layer's time counts for
its kind. Time outside layers (targets, proposals, losses, sums of gradients) is listed as "between layers".
"""

import statistics
import sys
import time
from argparse import Namespace
from contextlib import contextmanager

import numpy as np

import vision
from nn.cpu.parallel import thread_count
from nn.gpu.device import device_of, synchronise, to_device
from nn.optim.clipping import clip_gradient_norm
from scripts.command_line import Parser, add_device, command, count, make_sure_of
from scripts.data import DEFAULTS, open_data
from scripts.train_arguments import model_option
from vision.registry import find
from vision.task import task_of
from vision.training.recipe import build_optimiser, with_defaults


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    make_sure_of(args.device)
    task = task_of(args.model)
    shapes = DEFAULTS | {"data": "shapes", "shapes_train": args.batch_size, "shapes_size": args.size}
    scenes = open_data(find(args.model).task, Namespace(**shapes), "train")
    model = vision.build(args.model, list(scenes.classes), np.random.default_rng(0), **dict(args.set)).to(args.device)
    samples = [scenes[i] for i in range(args.batch_size)]
    batch = to_device(task.collate(model, samples), args.device)
    optimiser = build_optimiser(model, with_defaults(find(args.model).recipe))
    steps = [timed_step(model, batch, optimiser, seed) for seed in range(args.repeat + 2)][2:]  # two to warm up
    where = f"{thread_count()} threads" if args.device == "cpu" else "gpu"
    print(f"{args.model}, batch of {args.batch_size}, {args.size[1]}x{args.size[0]}, {where}")
    print(table(steps))


def build_parser() -> Parser:
    parser = Parser("scripts.profile", __doc__)
    parser.add_argument("--model", choices=list(vision.MODELS), default="faster_rcnn_small", help="the model")
    parser.add_argument("--set", nargs="+", type=model_option, default=[], metavar="NAME=VALUE", help="its options")
    parser.add_argument(
        "--size", type=count, nargs=2, default=[240, 320], metavar=("HEIGHT", "WIDTH"), help="of images"
    )
    parser.add_argument("--batch-size", type=count, default=1, metavar="N", help="images per step (default: 1)")
    parser.add_argument("--repeat", type=count, default=9, metavar="N", help="steps to take the median of (default: 9)")
    add_device(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def timed_step(model, batch, optimiser, seed: int) -> dict[tuple[str, str], float]:
    """Seconds by (kind of layer, "forward" or "backward"), and ("step", "") for the whole step."""
    spent, device = {}, device_of(model)
    with stopwatches(model, spent, device):
        began = clock(device)
        model.zero_grad()
        _, cache = model.loss(batch, np.random.default_rng(seed))
        model.backward(cache)
        updating = clock(device)
        clip_gradient_norm(model.parameters(), 10.0)
        optimiser.step(0.0)  # all the work with rate 0: the next step is the same
    now = clock(device)
    return spent | {("clipping, optimiser", "backward"): now - updating, ("step", ""): now - began}


def clock(device: str) -> float:
    """The time after all work of the device is done."""
    synchronise(device)
    return time.perf_counter()


@contextmanager
def stopwatches(model, spent, device="cpu"):
    """Add the time in forward and backward of each layer without children to spent[kind, direction]."""
    leaves = [layer for _, layer in model.layers() if not any(layer.children())]

    def watched(layer, direction, function):
        def call(*args, **kwargs):
            began = clock(device)
            result = function(*args, **kwargs)
            key = type(layer).__name__, direction
            spent[key] = spent.get(key, 0.0) + clock(device) - began
            return result

        return call

    try:
        for layer in leaves:
            for direction in ("forward", "backward"):  # attributes of the object hide methods of the class
                setattr(layer, direction, watched(layer, direction, getattr(layer, direction)))
        yield
    finally:
        for layer in leaves:
            del layer.forward, layer.backward


def table(steps: list[dict]) -> str:
    """Medians over the steps in milliseconds, the largest first."""
    median = {key: 1e3 * statistics.median(step.get(key, 0.0) for step in steps) for key in steps[0]}
    whole = median.pop(("step", ""))
    kinds = {kind: [median.get((kind, way), 0.0) for way in ("forward", "backward")] for kind, _ in median}
    kinds["between layers"] = [whole - sum(map(sum, kinds.values())), 0.0]
    rows = [(kind, *ways, sum(ways)) for kind, ways in sorted(kinds.items(), key=lambda row: -sum(row[1]))]
    rows.append(("step", sum(row[1] for row in rows), sum(row[2] for row in rows), whole))
    lines = [f"{kind:22}{f:>10.1f}{b:>10.1f}{both:>10.1f}{both / whole:>8.0%}" for kind, f, b, both in rows]
    return "\n".join([f"{'ms':22}{'forward':>10}{'backward':>10}{'both':>10}{'share':>8}", *lines])


if __name__ == "__main__":
    sys.exit(main())
