"""What training in many processes costs: the gradient's way through the network, measured here and foretold elsewhere.

example, a table for three models, from 8 to 512 workers:
  python -m scripts.scaling resnet50 vgg16 faster_rcnn_resnet50_fpn --workers 8 64 512

example, measured in the processes of this machine beside the formula:
  mpiexec -n 2 python -m scripts.scaling --measure

A ring of n workers sums a gradient of B bytes in 2 (n - 1) messages of B / n bytes each (Patarasuk and Yuan 2009,
Bandwidth optimal all-reduce algorithms for clusters of workstations, sec. 3):

  seconds = 2 (n - 1) / n * B / bandwidth + 2 (n - 1) * latency
"""

import sys
import time

import numpy as np

import vision
from scripts.command_line import Parser, command, count, not_negative, positive
from vision.training.communicator import Communicator, communicator

MODELS = ("resnet50", "vgg16", "faster_rcnn_resnet50_fpn")
LINKS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9, "NVLink, 450 GB/s": 450e9}  # bytes a second, in one direction
SIZES = (1, 4, 16, 64)  # megabytes that are measured


@command
def main(arguments: list[str]) -> int | None:
    parser = Parser("scripts.scaling", __doc__)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help="registered models")
    parser.add_argument("--workers", nargs="+", type=count, default=[8, 64, 512], help="counts of workers")
    text = "microseconds of latency of a message (default: 10)"
    parser.add_argument("--latency", type=not_negative, default=10.0, metavar="US", help=text)
    text = "seconds of computation a step: what share of a step the way through the network is, if nothing overlaps"
    parser.add_argument("--step", type=positive, metavar="S", help=text)
    parser.add_argument("--measure", action="store_true", help="sum vectors in the processes that mpiexec has started")
    args = parser.parse_args(arguments)
    others = communicator()
    lines = measured(others) if args.measure else foretold(args)
    if others.rank == 0:
        print("\n".join(lines))


def all_reduce_seconds(size: float, workers: int, bandwidth: float, latency: float) -> float:
    """Of a ring. size: bytes; bandwidth: bytes a second; latency: seconds."""
    return 2 * (workers - 1) / workers * size / bandwidth + 2 * (workers - 1) * latency


def foretold(args) -> list[str]:
    """The lines of a table: a row for each model, link and count of workers."""
    lines = ["| model | gradient | link | workers | ms a step |" + (" share of a step |" if args.step else "")]
    lines.append("| --- " * (6 if args.step else 5) + "|")
    for name in args.models:
        size = gradient_bytes(name)
        for link, bandwidth in LINKS.items():
            for workers in args.workers:
                seconds = all_reduce_seconds(size, workers, bandwidth, args.latency * 1e-6)
                share = f" {seconds / (seconds + args.step):.2f} |" if args.step else ""
                lines.append(f"| {name} | {size / 1e6:.0f} MB | {link} | {workers} | {1e3 * seconds:.1f} |{share}")
    return lines


def gradient_bytes(name: str) -> int:
    """Bytes of the float32 gradient of a model with 1,000 classes, 90 of detectors."""
    classes = [f"class {i}" for i in range(90 if vision.registry.find(name).task == "detection" else 1000)]
    model = vision.build(name, classes, np.random.default_rng(0))
    return 4 * sum(parameter.value.size for parameter in model.parameters().values())


def measured(others: Communicator) -> list[str]:
    """The lines of a table: the median time of sums of vectors, and what a line through the smallest and the largest
    gives for those between."""
    if others.size == 1:
        raise ValueError("--measure needs several processes: mpiexec -n 2 python -m scripts.scaling --measure")
    seconds = [seconds_of_a_sum(others, megabytes) for megabytes in SIZES]
    (low, high), (first, last) = (SIZES[0], SIZES[-1]), (seconds[0], seconds[-1])
    a_megabyte = (last - first) / (high - low)
    lines = [f"{others.size} processes", "| MB | ms | formula, ms |", "| --- | --- | --- |"]
    for megabytes, each in zip(SIZES, seconds):
        lines.append(f"| {megabytes} | {1e3 * each:.2f} | {1e3 * (first + (megabytes - low) * a_megabyte):.2f} |")
    n = others.size
    bandwidth = 2 * (n - 1) / n * 1e6 / a_megabyte
    return [*lines, f"bandwidth {bandwidth / 1e9:.2f} GB/s, start {1e3 * (first - low * a_megabyte):.2f} ms"]


def seconds_of_a_sum(others: Communicator, megabytes: int, times: int = 9) -> float:
    """The median over `times` sums of a float32 vector."""
    vector, taken = np.ones(megabytes * 250_000, np.float32), []
    for _ in range(times + 1):
        others.gather(None)  # all begin together
        started = time.perf_counter()
        others.sum_vector_(vector)
        taken.append(time.perf_counter() - started)
        vector.fill(1)
    return float(np.median(taken[1:]))  # the first one allocates


if __name__ == "__main__":
    sys.exit(main())
