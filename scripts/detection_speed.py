"""Time detectors on one picture: with the proposals that some need from elsewhere, and without them.

Detectors are made with random weights, or read from runs. Scores of random weights are as good as equal, so nothing
stops at the thresholds: this is the worst case, but the order of the detectors is that of their work.

example, the line from R-CNN to YOLO on the same picture:
  python -m scripts.detection_speed --in-order rcnn_small spp_net_small fast_rcnn_small faster_rcnn_small yolo_small

example, trained detectors on a photograph, the median of five times:
  python -m scripts.detection_speed runs/rcnn runs/fast runs/ssd --picture photograph.jpg --repeat 5
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

import vision
from datasets import Shapes
from scripts.command_line import Parser, command, count
from scripts.compare_systems import parse_system
from scripts.imports import add_import, import_files
from scripts.train_arguments import model_option
from vision.detection import Detector
from vision.detection.speed import Seconds, seconds_an_image
from vision.preprocess import open_photograph
from vision.training.saving import find_checkpoint, load_model

SIZE = (240, 320)  # of the generated scene


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    import_files(args.imports)
    image = open_photograph(args.picture) if args.picture else Shapes(1, SIZE, seed=3)[0]["image"]
    models = {text: open_detector(text) for text in args.detectors}
    measured = {text: seconds_an_image(model, image, args.repeat) for text, model in models.items()}
    print(table(measured))
    return in_order(measured) if args.in_order else None


def build_parser() -> Parser:
    parser = Parser("scripts.detection_speed", __doc__)
    text = "NAME, or NAME:OPTION=VALUE,OPTION=VALUE, or the folder of a run, or a checkpoint"
    parser.add_argument("detectors", metavar="DETECTOR", nargs="+", help=text)
    parser.add_argument("--picture", metavar="FILE", help="a photograph (default: a generated scene of 320x240)")
    parser.add_argument("--repeat", metavar="N", type=count, default=3, help="times, of which the median counts")
    text = "fail, with exit status 1, unless the detectors were given from the slowest to the fastest"
    parser.add_argument("--in-order", action="store_true", help=text)
    add_import(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def open_detector(text: str) -> Detector:
    """The detector of a run, or one of this name with random weights. Raises ValueError for any other model."""
    if Path(text).exists():
        model, _ = load_model(find_checkpoint(Path(text)))
        if not isinstance(model, Detector):
            raise ValueError(f"{text}: is a {model.name}, which is no detector")
        return model
    if "/" in text.partition(":")[0]:
        raise ValueError(f"{text}: there is no such run or checkpoint")
    system = parse_system(text, "detection")
    options = dict(model_option(option) for option in system.options)
    return vision.build(system.model, Shapes(1).classes, np.random.default_rng(0), **options)


def table(measured: dict[str, Seconds]) -> str:
    """A line for each detector, the slowest first."""
    width = max(map(len, ("detector", *measured)))
    lines = [f"{'detector':{width}}  proposals  without  with   (seconds an image)"]
    for name, seconds in sorted(measured.items(), key=lambda item: -sum(item[1])):
        proposals = f"{seconds.proposals:9.3f}" if seconds.proposals else f"{'-':>9}"
        lines.append(f"{name:{width}}  {proposals}  {seconds.detector:7.3f}  {sum(seconds):.3f}")
    return "\n".join(lines)


def in_order(measured: dict[str, Seconds]) -> int:
    """0 where each detector takes longer than the next one, with its proposals; 1, and which does not, otherwise."""
    wrong = [f"{a} is faster than {b}" for a, b in pairwise(measured) if sum(measured[a]) < sum(measured[b])]
    print("; ".join(wrong) or "in the order given", file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
