"""Would the tests notice a wrong backward? Errors planted in a module one at a time, the tests run on each.

    python -m tests.mutants [FILE ...] [--limit N] [--jobs 2] [--seed S] [--kinds sign factor ...] [--tests FILE ...]

for example `python -m tests.mutants nn/*/conv*.py --limit 20`, from the root of the project. Without FILE it goes over
all folders of nn but nn/gpu, which is tested on a GPU or the stand-in for one. For every file it lists the errors of
tests/planted_errors.py that its backwards can be given: functions with backward or gradient in their names, losses, and
what these call. --limit takes N of them for each file at random, by --seed; without it all are tried. The tests are
collected once; each mutant is a fork of that process in which the functions of the file have the mutant's code, and
which runs the gradient cases of the layers concerned, their textbook cases and the test with the same path
(nn/layers/conv.py: tests/nn/layers/test_conv.py) until the first failure. No file is written.

Files of nn/io, datasets and vision, which have no backwards, get errors in all functions (comparisons, bounds, checks
that never fail), and are tried by the test with the same path, and those named with --tests.

A row for each: file, line, kind, what became of it (`caught`, `timeout`: an endless loop, noticed as well, `known` or
`SURVIVED`), what was replaced -> by what. The exit status is 1 if any SURVIVED: a test is missing, or else the change
makes no difference to the results, and then it belongs in KNOWN below, with the reason. Not part of `make test`;
a mutant costs 0.1 to 3 seconds.
"""

import argparse
import ast
import functools
import gc
import importlib
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from tests.planted_errors import KINDS, OF_CHECKS, Mutant, called, mutants, mutants_of_checks, reached

ROOT = Path(__file__).resolve().parent.parent
TIME_LIMIT = 40  # seconds of computing for the tests of one mutant
FILES = "*.py", "layers/*.py", "losses/*.py", "optim/*.py", "cpu/*.py", "io/*.py"
WALKS = "test_gradients.py", "test_textbook.py"  # these go over the registered cases of all layers and losses
# Modules without backwards of their own.
PLUMBING = {"checking", "contract", "cpu/chunks", "cpu/parallel", "dispatch", "gradcheck", "layer", "optim/optimiser"}
PLUMBING |= {"random", "differences", "model_check"}

LARGER, CHUNKS = "only makes an array larger than what is used of it", "only divides the work into other chunks"
# fmt: off
KNOWN = (  # file, kinds, the line as it stands, stripped, and why no test can tell the difference
    ("cpu/normalise", "index",
     "if a.shape[2] < SMALL:",
     "both ways give the same sums"),
    ("cpu/normalise", "mask factor index",
     "together = min(CHANNELS_TOGETHER, max(x.size // 2, LEAST))",
     CHUNKS),
    ("cpu/normalise", "mask factor index",
     "return max(together, ELEMENTS_OF_A_ROW * len(x)) if x.shape[2] == 1 else together",
     CHUNKS),
    ("layers/batch_norm", "sign factor",
     "return dy",
     "dy is empty there"),
    ("layers/recurrent", "factor",
     "dy, *dfinal = _gradients(self, dys, names, shapes + [(stack, n, size)] * len(initial), initial[0])",
     "zip stops at the names"),
    ("cpu/embedding", "index",
     "rows, sums = sums_by_cell(dy, np.arange(len(x)), None, x.astype(np.int64), len(grad))",
     LARGER),
    ("layers/conv", "factor",
     "dx = xp.zeros((n, g.groups * c, h + 2 * ph, w + 2 * pw), xp.result_type(dy, weight))  # of the padded x",
     LARGER),
    ("cpu/conv_tiled", "factor",
     "size = (h, w) if same else (h + 2 * ph, w + 2 * pw)",
     LARGER),
    ("cpu/local_norm", "mask sign term",
     "for shift in range(1, min(above, channels - 1) + 1):",
     "adds empty slices"),
    ("cpu/local_norm", "mask sign term",
     "for shift in range(1, min(below, channels - 1) + 1):",
     "adds empty slices"),
    ("losses/classification", "index",
     "positive = x.real > 0",
     "both forms agree at 0"),
    ("losses/metric", "index",
     "slack = xp.where(slack.real > 0, slack, 0)",
     "a slack of 0 is 0 either way"),
    ("layers/max_pool", "term sign mask factor",
     "dx = array_module(dy).zeros((n, c, ph + h + dh * (kh - 1), pw + w + dw * (kw - 1)), dy.dtype)  # of the padded x",
     LARGER),
    ("layers/avg_pool", "term sign mask factor index",
     "dx = xp.zeros((n, c, ph + h + kh - 1, pw + w + kw - 1), dy.dtype)  # of the padded x",
     LARGER),
    ("cpu/max_unpool", "factor",
     "filled[position] = True",
     "2 * True is True in an array of bools"),
    ("cpu/max_unpool", "index",
     "if np.count_nonzero(filled) < position.size:  # of equal positions the last is kept, the others get nothing",
     "without equal positions all are kept"),
    ("cpu/max_pool", "sign factor",
     "if all(s > d * (k - 1) for k, s, _, d in zip(*g[:4])):  # no pixel is in two windows",
     "both ways give the same sums"),
    ("cpu/max_pool", "term sign mask factor",
     "return tuple(max(n + 2 * p, s * (out - 1) + d * (k - 1) + 1) for n, out, k, s, p, d in axes)",
     LARGER),
    ("cpu/sampler", "mask",
     "low = np.clip(np.floor(position), -2, size)  # both ends have two cells outside: further out is no different",
     "further out the weights are 0, too"),
    ("cpu/sampler", "factor sign",
     "return cell, dy_rows[:0]",
     "there are no rows"),
    ("cpu/sampler", "mask",
     "start = begin[run] + RUN * (chunk - (end - chunks)[run])",
     "chunks of other lengths, with the same sums"),
    ("cpu/sampler", "mask",
     'order = np.argsort((cell & 0xFFFF).astype(np.uint16), kind="stable")',
     "16 bits are all that the type holds"),
    ("cpu/sampler", "mask",
     "digit = (cell[order] >> shift & 0xFFFF).astype(np.uint16)",
     "16 bits are all that the type holds"),
    ("cpu/sampler", "index",
     "for shift in range(16, int(size).bit_length(), 16):",
     "digits that overlap, or one more of zeros"),
    ("cpu/sampler", "index",
     "for r in range(int(lengths[0])):",
     "no chunk has the one more entry"),
    ("cpu/sampler", "mask index",
     "by = scatter_by_counting if dy_rows.shape[1] <= FEW_CHANNELS else scatter_by_sorting",
     "both ways give the same sums"),
    ("cpu/sampler", "mask index",
     "sign = np.arange(-1, 2, 2, dtype).reshape(2, *[1] * position.ndim)",
     "positions stand in one row"),
    ("cpu/sampler", "mask term sign",
     "np.clip(cell, 0, size - 1),",
     "what is outside has weight 0, and np.take clips"),
    ("cpu/deform_conv", "mask factor index",
     "together = max(1, COLUMNS_PER_TILE // (c * sizes.taps))",
     CHUNKS),
    ("cpu/deform_conv", "mask factor index",
     "together = max(1, COLUMNS_TOGETHER // (sizes.area * sizes.taps * x.shape[1]))",
     CHUNKS),
    ("cpu/deform_conv", "index",
     "for first in range(0, len(dy), together):",
     "one more chunk, without images"),
    ("cpu/deform_conv", "mask",
     "dmatrices = np.zeros((min(LANES, len(tiles)), *matrices.shape), dy.dtype)",
     LARGER),
    ("layers/grid_sample", "index",
     "sign = xp.where(position.real < low, -1, 1)",
     "at the fold the distance is 0"),
    ("cpu/grid_sample", "sign factor",
     "return to_maps(dx_rows, x.shape), np.zeros_like(grid)",
     "-0 is 0"),
    ("cpu/grid_sample", "sign",
     "dgrid = np.stack([dcolumn * slopes[1], drow * slopes[0]], axis=-1)",
     "axis 1 is the last"),
    ("cpu/grid_sample", "index",
     "source = np.arange(row.size)[None]",
     LARGER),
    ("cpu/grid_sample", "term sign",
     "cell = plane + np.clip(row, 0, h - 1).astype(np.int64) * w + np.clip(column, 0, w - 1).astype(np.int64)",
     "what a wider clip lets through has weight 0"),
    ("cpu/roi_align", "index term sign mask factor",
     "huge = most > (4 * extent + 16 if only_inside else extent)  # a maximum takes as many samples down as across",
     "both ways find the same samples"),
    ("cpu/roi_align", "index",
     "here = samples > 0",
     "a region without samples has an empty range either way"),
    ("cpu/roi_align", "index term",
     "first = (-1 - start - np.arange(count) * size) * density  # (K, count), as a real u",
     "more samples are looked at, or one fewer of those to spare"),
    ("cpu/roi_align", "factor mask",
     "spare = 2 + 8 * np.finfo(b.size.dtype).eps * (abs(start) + count * abs(size)) * density",
     "more samples are looked at"),
    ("cpu/roi_align", "index",
     "near = _near_the_map(b, count, extent) if huge else range(most)",
     "no region has the one more sample"),
    ("cpu/roi_align", "index mask factor sign term assign",
     "elements += len(s.row) * c",
     CHUNKS),
    ("cpu/roi_align", "index",
     "if elements > ELEMENTS_TOGETHER:  # samples share cells, and batches of them do: so they add up",
     CHUNKS),
    ("cpu/roi_align", "factor",
     "u * across.samples[region] + v,",
     "the samples of a bin keep numbers of their own, which is all that is asked of them"),
    ("cpu/roi_matrices", "sign",
     "return cells, self.whole[k, :, cells]",
     "the signs of rows and of columns cancel"),
    ("layers/deform_conv", "factor",
     "masks = [1] * len(moves) if mask is None else mask[k].reshape(len(moves), kh * kw * out_h * out_w)",
     "zip stops at the moves"),
    ("cpu/roi_matrices", "index",
     "cells = slice(self.first[k], self.last[k])",
     "one more cell, of weight 0"),
    ("cpu/roi_pool", "index",
     "for i in range(0, len(source), ROIS_TOGETHER):  # as many as the cache holds the indices of",
     "one more chunk, without regions"),
)
# fmt: on
EQUIVALENT = {(f"nn/{name}.py", kind, line): why for name, kinds, line, why in KNOWN for kind in kinds.split()}


class Package:
    """The modules of nn, such as layers/conv: what they import, what backwards call there, which tests bear on them."""

    def __init__(self, root: Path = ROOT):
        nn = root / "nn"
        paths = {str(path.relative_to(nn).with_suffix("")): path for files in FILES for path in sorted(nn.glob(files))}
        self.sources = {name: path.read_text() for name, path in paths.items() if path.stem != "__init__"}
        self.trees = {name: ast.parse(source) for name, source in self.sources.items()}
        self.tests = {str(path.relative_to(root / "tests")) for path in (root / "tests" / "nn").rglob("test_*.py")}
        self.imports = {name: dict(self.imported(tree)) for name, tree in self.trees.items()}  # {name: its module}
        self.public = dict(self.imported(ast.parse((nn / "__init__.py").read_text())))
        self.roots = {name: set() for name in self.imports if name not in PLUMBING}
        before = None
        while before != (before := sum(map(len, self.roots.values()))):
            for module, roots in self.roots.items():
                words = set().union(*map(called, reached(self.trees[module], roots)))
                for name in words & self.imports[module].keys():
                    self.roots.get(self.imports[module][name], set()).add(name)
                for fast in self.twins(module, "cpu"):  # what the textbook calls by dispatch.functions
                    self.roots[fast] |= words & {
                        n.name for n in self.trees[fast].body if isinstance(n, ast.FunctionDef)
                    }

    def imported(self, tree: ast.Module):
        """(name, module) for each `from nn.layers.conv import name` and `from nn.layers import conv`."""
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "nn":
                module = node.module[3:].replace(".", "/")
                for alias in node.names:
                    inside = f"{module}/{alias.name}".strip("/")
                    yield alias.name, inside if inside in self.sources else module

    def twins(self, module: str, *rooms: str) -> list[str]:
        """The modules of the same last name in these rooms, of which dispatch.functions picks one."""
        last = module.rpartition("/")[2]
        return [twin for room in rooms if (twin := f"{room}/{last}") in self.roots and twin != module]

    def selection(self, module: str) -> list[str]:
        """Parts of the names of tests: those of the module's layers, or of the layers that have it from there."""
        level = seen = {module}
        while level and not level & set(self.public.values()):
            users = {user for user, names in self.imports.items() if set(names.values()) & level}
            users |= {book for m in level if m.startswith("cpu/") for book in self.twins(m, "layers", "losses")}
            level = users - seen
            seen = seen | level
        owners = [f"[{name}-" for name, home in self.public.items() if home in level]
        return owners + sorted(self.tests & {test_of(m) for m in {module, *level}})


def test_of(module: str) -> str:
    room, _, name = module.rpartition("/")
    return "/".join(part for part in ("nn", room, f"test_{name}.py") if part)


class Trials:
    """A pytest plugin: once the tests are collected, runs those that bear on each mutant in a process of its own."""

    def __init__(self, trials: list[tuple[Mutant, list[str]]], jobs: int):
        self.trials, self.jobs, self.counts, self.running, self.is_child = trials, jobs, Counter(), {}, False

    def pytest_runtestloop(self, session):
        for mutant, selection in self.trials:
            if len(self.running) == self.jobs:
                self.wait()
            importlib.import_module(mutant.module)  # fast versions are loaded at their first use
            functions_of(mutant.module)
            child = os.fork()
            if not child:
                self.is_child = True
                signal.setitimer(signal.ITIMER_PROF, TIME_LIMIT)
                signal.alarm(5 * TIME_LIMIT)  # in case it waits for ever
                with open(os.devnull, "w") as nowhere:
                    os.dup2(nowhere.fileno(), 1)
                    os.dup2(nowhere.fileno(), 2)
                plant(mutant)
                session.config.option.tbstyle = "native"
                kept, seen = [i for i in session.items if any(part in i.nodeid for part in selection)], Counter()
                session.items = sorted(kept, key=lambda item: seen.update([item.function]) or seen[item.function])
                session.testscollected = len(session.items)
                return None  # pytest goes on to run them: the first case of each test, the second of each, and so on
            self.running[child] = mutant
        while self.running:
            self.wait()
        return True

    def wait(self):
        child, status = os.wait()
        mutant, code = self.running.pop(child), os.waitstatus_to_exitcode(status)
        result = {0: "SURVIVED", -signal.SIGPROF: "timeout", -signal.SIGALRM: "timeout"}.get(code, "caught")
        if mutant.kind == "none":
            if result != "SURVIVED":
                self.counts["BROKEN"] += 1
                print(f"{mutant.file}: its tests do not pass as it stands ({result}): what follows says nothing")
            return
        if result == "SURVIVED" and (mutant.file, mutant.kind, mutant.text) in EQUIVALENT:
            result = "known"
        self.counts[result] += 1
        change = " ".join(f"{mutant.before} -> {mutant.after}".split())
        print(f"{mutant.file}:{mutant.line:<4} {mutant.kind:6} {result:8} {change}", flush=True)


def plant(mutant: Mutant):
    """Give the functions of the module, wherever they are by now, the code that they have in the mutant."""
    codes = dict(codes_of(compile(mutant.source, mutant.file, "exec")))
    for function in functions_of(mutant.module):
        function.__code__ = codes.get(function.__qualname__, function.__code__)


@functools.cache
def functions_of(module: str) -> list[FunctionType]:
    # type(), as isinstance would have proxies of other libraries look up their class
    return [f for f in gc.get_objects() if type(f) is FunctionType and f.__module__ == module]


def codes_of(code: CodeType, prefix: str = ""):
    """(qualified name, code) of the functions and methods of a module, not of those within functions."""
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield prefix + part.co_name, part
            yield from codes_of(part, f"{prefix}{part.co_name}.") if not part.co_flags & 2 else ()  # 2: not a class


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Plants errors in the backwards of nn, and runs the tests on each.")
    parser.add_argument("files", nargs="*", metavar="FILE", help="such as nn/layers/conv.py (default: all)")
    parser.add_argument("--limit", type=int, help="errors for each file, taken at random (default: all)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices={*KINDS, *OF_CHECKS}, default={*KINDS, *OF_CHECKS})
    parser.add_argument(
        "--tests", nargs="+", default=[], metavar="FILE", help="more tests, for files without backwards"
    )
    options = parser.parse_args(arguments)
    package, trials = Package(), []
    for file in map(Path, options.files or [f"nn/{module}.py" for module in package.roots]):
        module, source = file.with_suffix("").as_posix().removeprefix("nn/"), (ROOT / file).read_text()
        if file.parts[0] == "nn" and module in package.sources and not module.startswith("io/"):
            selection = package.selection(module)
            found = mutants(file.as_posix(), source, package.roots.get(module, set()), options.kinds)
        else:
            selection = [test.removeprefix("tests/") for test in (f"{file.parent}/test_{file.name}", *options.tests)]
            selection = [test for test in selection if (ROOT / "tests" / test).exists()]
            found = mutants_of_checks(file.as_posix(), source, options.kinds)
        some = random.Random(options.seed).sample(found, min(len(found), options.limit or len(found)))
        if some:
            trials.append((Mutant(file.as_posix(), 0, "none", "", "", "", source), selection))
            trials += [(mutant, selection) for mutant in sorted(some, key=lambda m: m.line)]
    files = {part for _, selection in trials for part in selection if part.endswith(".py")}
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before anything imports NumPy
    words = ["-o", "addopts=--import-mode=importlib", "-p", "no:terminal", "-p", "no:cacheprovider", "-s", "-x"]
    plugin = Trials(trials, options.jobs)
    cases = any(part.startswith("[") for _, selection in trials for part in selection)
    walks = [f"nn/{name}" for name in WALKS if cases and f"nn/{name}" in package.tests]
    code = pytest.main([*words, *(f"tests/{f}" for f in sorted({*walks, *files}))], [plugin])
    if plugin.is_child:
        os._exit(code)
    print(f"{plugin.counts.total()} planted:", ", ".join(f"{n} {result}" for result, n in plugin.counts.most_common()))
    return 1 if plugin.counts["SURVIVED"] or plugin.counts["BROKEN"] or code else 0


if __name__ == "__main__":
    sys.exit(main())
