"""Check gradients numerically and show their errors: of all layers and losses of nn, and of whole models.

Backward is compared with central differences and, where forward is analytic, with the complex step, which has no step
error: see nn.gradcheck. The table has the worst relative error over the cases of nn.cases (for a model: over the
parameters of a tiny version of it on generated scenes). The tolerance of central differences is 1e-7, of stacked
recurrent layers and models 1e-6; that of the complex step is 1e-12, of models 1e-9. With --device gpu there are only
central differences, as kernels have no complex arithmetic. Exit status 1 when any check fails, 2 for an unknown name.

example, everything:
  python -m scripts.gradcheck

example, one layer, one loss and one model:
  python -m scripts.gradcheck LSTM triplet faster_rcnn_small
"""

import difflib
import sys
import textwrap
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np

import nn
import vision
from nn.cases import LAYERS, LOSSES, LayerCase, LossCase, randomise
from nn.gradcheck import check_layer, check_loss, check_model
from nn.layer import Layer
from scripts.command_line import Parser, add_device, command, make_sure_of
from scripts.imports import add_import, import_files
from scripts.readers import readers_of
from vision import Model, Tiny
from vision.registry import find
from vision.task import task_of

SMOOTH, DEEP = 1e-7, 1e-6  # tolerance of central differences: of a layer or loss, of stacks of layers
EXACT, EXACT_DEEP = 1e-12, 1e-9  # tolerance of the complex step: of a layer or loss, of models


# The case, why its forward is not analytic, and (complex_step, device) -> worst error.
Check = tuple[str, str, Callable[[bool, str], float]]


class Row(NamedTuple):
    """The measurements of one name: the worst errors (None: not measured), seconds, notes, and failures."""

    name: str
    cases: int
    central: float | None
    complex_step: float | None
    seconds: float
    notes: list[str]
    failures: list[str]

    def __str__(self):
        errors = "".join(f"{'-' if e is None else f'{e:.1e}':>14}" for e in (self.central, self.complex_step))
        line = f"{self.name:34}{self.cases:5}{errors}{self.seconds:9.1f}  {'FAIL' if self.failures else 'pass'}"
        return "\n".join([line, *(f"    {text}" for text in self.notes + self.failures)])


HEADER = f"{'name':34}{'cases':>5}{'central':>14}{'complex step':>14}{'seconds':>9}"


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    import_files(args.imports)
    make_sure_of(args.device)
    chosen = choose(args.names)
    print(HEADER, flush=True)
    started, failed = time.monotonic(), []
    for name, checks in chosen:
        row = measure(name, checks, args.debug, args.device)
        print(row, flush=True)
        failed += [name] if row.failures else []
    print(f"{len(chosen)} checked in {time.monotonic() - started:.0f} s: {', '.join(failed) or 'none'} failed")
    return 1 if failed else 0


def build_parser() -> Parser:
    names = {"layers": layer_names(), "losses": loss_names(), "models": vision.MODELS}
    lists = [
        textwrap.fill(f"{kind}: {', '.join(known)}", 110, subsequent_indent="  ", break_on_hyphens=False)
        for kind, known in names.items()
    ]
    parser = Parser("scripts.gradcheck", "\n".join([__doc__.rstrip(), "", *lists]))
    text = "layers, losses and models to check, by name (default: all)"
    parser.add_argument("names", metavar="NAME", nargs="*", help=text)
    add_import(parser)
    add_device(parser)
    parser.add_argument("--debug", action="store_true", help="stop at the first failure, with its traceback")
    return parser


def choose(names: list[str]) -> list[tuple[str, Iterable[Check]]]:
    """(name, checks) for each name; no names: for all. ValueError for an unknown one."""
    layers, losses = layer_names(), loss_names()
    known = {name: partial(layer_checks, owner) for name, owner in layers.items()}
    known |= {name: partial(loss_checks, loss) for name, loss in losses.items()}
    known |= {name: partial(model_checks, name) for name in vision.MODELS}
    if unknown := [name for name in names if name not in known]:
        close = _close(unknown[0], known)
        advice = f"did you mean {' or '.join(close)}?" if close else "--help lists all names"
        raise ValueError(f"there is no layer, loss or model {unknown[0]!r}; {advice}")
    aliases = [name for name, owner in layers.items() if name != owner.__name__]
    return [(name, known[name]()) for name in dict.fromkeys(names or known) if names or name not in aliases]


def _close(name, known):
    """Known names that are similar, or contain it, in any case; at most 5."""
    lower = {k.lower(): k for k in known}
    alike = difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.6)
    containing = [k for k in lower if len(name) > 2 and name.lower() in k]
    return [lower[k] for k in dict.fromkeys(alike + containing)][:5]


def layer_names() -> dict[str, type[Layer]]:
    """The layers that have cases, by all their names: StochasticDepth is another name of DropPath."""
    names = {owner.__name__: owner for owner in LAYERS}
    public = {name: getattr(nn, name) for name in nn.__all__}
    return names | {name: value for name, value in public.items() if isinstance(value, type) and value in LAYERS}


def loss_names() -> dict[str, Callable]:
    """The losses that have cases."""
    return {loss.__name__: loss for loss in LOSSES}


def measure(name: str, checks: Iterable[Check], debug: bool = False, device: str = "cpu") -> Row:
    """Run the checks of one name. Any exception in a check, also inside a layer, is a failure of it."""
    started, errors, notes, failures, count = time.monotonic(), {False: [], True: []}, [], [], 0
    for case, not_analytic, check in checks:
        count += 1
        if not_analytic:
            notes.append(f"{case}: no complex step: {not_analytic}")
        for complex_step in (False,) if not_analytic or device == "gpu" else (False, True):
            try:
                errors[complex_step].append(check(complex_step, device))
            except Exception as error:
                if debug:
                    raise
                kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
                method = "complex step" if complex_step else "central differences"
                failures.append(f"{case}, {method}: {kind}{error}")
    central, exact = (max(errors[key], default=None) for key in (False, True))
    return Row(name, count, central, exact, time.monotonic() - started, notes, failures)


def layer_checks(owner: type[Layer]) -> Iterable[Check]:
    """The checks of the cases of a layer."""
    for name, case in LAYERS[owner].items():
        yield name, case.not_analytic, partial(check_layer_case, case)


def check_layer_case(case: LayerCase, complex_step: bool, device: str = "cpu") -> float:
    """The worst relative error over all inputs and parameters; GradientError where it is too large."""
    layer, plain = randomise(case.build()), nn.config.plain
    central = DEEP if getattr(layer, "num_layers", 1) > 1 else SMOOTH
    options = {"training": case.training, "constants": case.constants, "complex_step": complex_step, "device": device}
    nn.config.plain = case.plain
    try:
        errors = check_layer(layer, *case.inputs, tolerance=EXACT if complex_step else central, **options)
    finally:
        nn.config.plain = plain
    return max(errors.values(), default=0.0)


def loss_checks(loss: Callable) -> Iterable[Check]:
    """The checks of the cases of a loss."""
    for name, case in LOSSES[loss].items():
        yield name, case.not_analytic, partial(check_loss_case, loss, case)


def check_loss_case(loss: Callable, case: LossCase, complex_step: bool, device: str = "cpu") -> float:
    """The worst relative error over all predictions; GradientError where it is too large."""
    how = {"tolerance": EXACT if complex_step else SMOOTH, "complex_step": complex_step, "device": device}
    return check_loss(loss, case.prediction, *case.args, **how, **case.options)


def model_checks(name: str) -> Iterable[Check]:
    """The one check of a model: a tiny version of it on generated scenes."""
    yield "tiny version", "", partial(check_tiny_model, name, find(name).tiny)


def check_tiny_model(name: str, tiny: Tiny, complex_step: bool, device: str = "cpu") -> float:
    """The worst relative error over all parameters that a stage trains by gradients; GradientError if too large."""
    data = tiny_data(name, tiny)
    model = off_the_kinks(vision.build(name, data.classes, np.random.default_rng(3), **tiny.options))
    how = {"tolerance": EXACT_DEEP if complex_step else DEEP, "complex_step": complex_step, "device": device}
    batch, errors = tiny_batch(model, data, tiny.scenes), []
    trainable = {key: parameter for key, parameter in model.parameters().items() if parameter.trainable}
    for (loss, backward), trains in begun_pairs(model):
        for key, parameter in trainable.items():
            parameter.trainable = key.startswith(trains)
        errors += check_model(model, batch, loss=loss, backward=backward, **how).values()
    return max(errors)


def begun_pairs(model: Model) -> Iterable[tuple[tuple[str, str], tuple[str, ...]]]:
    """The items of pairs_of, each when the stages up to its first one have begun: the model is then in this stage."""
    pairs = pairs_of(model)
    for stage in model.stages():
        if stage.begin:
            getattr(model, stage.begin)()
        pair = stage.loss, stage.backward
        if not stage.fit and pair in pairs:
            yield pair, pairs.pop(pair)
    yield from pairs.items()  # of a model whose stages are all fits


def pairs_of(model: Model) -> dict[tuple[str, str], tuple[str, ...]]:
    """{(loss, backward): beginnings of the parameters' names that it trains} over all stages of training.

    Of a model whose stages are all fits: its loss and backward, the problem that they solve.
    """
    pairs = {}
    for stage in model.stages():
        if not stage.fit:
            pairs[stage.loss, stage.backward] = pairs.get((stage.loss, stage.backward), ()) + tuple(stage.trains)
    return pairs or {("loss", "backward"): ("",)}


def tiny_data(name: str, tiny: Tiny):
    """The generated scenes for the tiny version of a model."""
    arguments = Namespace(root=None, shapes_train=tiny.scenes, shapes_size=tiny.size)
    readers = readers_of(find(name).task)
    return readers.get("shapes", next(iter(readers.values()))).open(arguments, "train")


def tiny_batch(model: Model, data, n: int) -> tuple:
    """The first n samples, not resized, as a batch for model.loss; float arrays in it as float64."""
    batch = task_of(model.name).collate(model, [data[i] for i in range(n)])
    return tuple(x.astype(np.float64) if getattr(x, "dtype", np.dtype(int)).kind == "f" else x for x in batch)


def off_the_kinks(model: Model) -> Model:
    """The model with biases that are not 0: a ReLU whose inputs are all 0 would be at its kink."""
    rng = np.random.default_rng(4)
    for name, parameter in model.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.1 * rng.standard_normal(parameter.value.shape)
    return model


if __name__ == "__main__":
    sys.exit(main())
