"""Measure proposal methods on data with boxes: recall by number and by IoU, MABO, time; drawn as curves.

example, on generated scenes:
  python -m scripts.proposals --methods uniform sliding_windows edge_boxes --out runs/proposals

example, on your own pictures in COCO's layout, objects larger than 32x32, kept in files beside the data:
  python -m scripts.proposals --methods selective_search_fast edge_boxes --data coco --root my_coco --split test \\
      --min-area 1024 --cache my_coco/proposals --out runs/proposals

example, a region proposal network:
  python -m scripts.proposals --methods rpn --set rpn.run=runs/mine --data voc --root my_data --out runs/rpn
"""

import json
import sys
from pathlib import Path

from datasets.pictures import leaving_out
from nn.io.checkpoint import replacing
from scripts.command_line import Parser, command, count, list_failed, not_negative
from scripts.data import DEFAULTS, add_data_arguments, open_data
from scripts.layouts import default_splits
from scripts.train_arguments import model_option
from vision.proposals import METHODS, build_proposer
from vision.proposals.evaluate import draw_curves, evaluate_proposals, proposal_table

DATA = {name: DEFAULTS[name] for name in ("data", "shapes_train", "shapes_val", "shapes_size")}


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    args.split = args.split or default_splits("detection", args.data, args.root)[1]
    proposers = {name: build_proposer(name, args.cache, **options_of(name, args.set)) for name in args.methods}
    args.out.mkdir(parents=True, exist_ok=True)  # fails now, not after the work
    failed, results = [], {}
    with leaving_out(failed):
        data = open_data("detection", args, args.split, args.classes)
    total = len(data) + len(failed)
    data = Every(data, args.every)
    for name, proposer in proposers.items():
        results[name] = evaluate_proposals(proposer, data, args.min_area, failed if name == args.methods[0] else [])
        with replacing(args.out / "proposals.json") as file:
            file.write(json.dumps(results, indent=2).encode() + b"\n")
    title = f"{args.data}, split {args.split}: {len(data)} images, {results[args.methods[0]]['objects']} objects"
    with replacing(args.out / "curves.png") as file:
        draw_curves(results, file, title)
    print(f"{title}\n{proposal_table(results)}\ncurves: {args.out / 'curves.png'}")
    return list_failed(failed, "evaluated", total)


class Every:
    """Every n-th sample of a data set."""

    def __init__(self, dataset, n: int):
        self.dataset, self.indices = dataset, range(0, len(dataset), n)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.indices[index]]


def options_of(name: str, given: list[tuple[str, object]]) -> dict:
    """The options for a method: those given without a method's name, and those given with this one's.

    Raises ValueError for an option of a method that there is none of.
    """
    for key, _ in given:
        owner, dot, _ = key.rpartition(".")
        if dot and owner not in METHODS:
            raise ValueError(f"--set {key}: there is no method {owner!r}; choose from {', '.join(METHODS)}")
    own = {key.removeprefix(f"{name}."): value for key, value in given if key.startswith(f"{name}.")}
    return {key: value for key, value in given if "." not in key} | own


def method_option(text: str) -> list:
    """[name, value] of NAME=VALUE or METHOD.NAME=VALUE."""
    owner, dot, _ = text.partition("=")[0].rpartition(".")
    name, value = model_option(text.removeprefix(owner + dot))
    return [owner + dot + name, value]


def build_parser() -> Parser:
    parser = Parser("scripts.proposals", __doc__)
    text = f"methods to compare: {', '.join(METHODS)} (default: all that need neither files nor other packages)"
    plain = ["uniform", "gaussian", "sliding_windows", "edge_boxes"]
    parser.add_argument("--methods", nargs="+", metavar="NAME", default=plain, help=text)
    text = "options of all methods, or of one as METHOD.NAME=VALUE, such as rpn.run=runs/mine"
    parser.add_argument("--set", nargs="+", type=method_option, metavar="NAME=VALUE", default=[], help=text)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the figures and curves")
    text = "folder to keep proposals in, so that they are computed once (default: none)"
    parser.add_argument("--cache", metavar="DIR", type=Path, help=text)
    text = "leave out objects of this area in pixels or less (default: 0); 1024: COCO's small ones"
    parser.add_argument("--min-area", type=not_negative, metavar="PIXELS", default=0.0, help=text)
    parser.add_argument("--every", type=count, metavar="N", default=1, help="take every N-th image (default: 1)")
    group = add_data_arguments(parser, DATA)
    group.add("--split", str, "NAME", "split to measure on (default: that of validation)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
