"""Damaged files against all readers: each gives a right result, or a ValueError that names the file, and nothing else.

    python -m tests.fuzz --count 20000 --seed 0
    python -m tests.fuzz voc coco --count 500

Case i of a reader writes a small whole data set (tests/whole_data.py), damages one of its files in one way or two
(tests/damage.py; both by the seed), and reads all of it in a fork. Anything else is a fault: another exception, no path
in the message, a result that is not sound, more than SECONDS of computing or MEGABYTES of memory. The table counts them
by reader; the lines below it say how to repeat each: --only I.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests import damage_formats, damage_text, whole_data_runs, whole_data_sets  # noqa: F401  (enter ways and readers)
from tests.damage import damage
from tests.whole_data import READERS

SECONDS, MEGABYTES = 5, 500
HARD_LIMIT = 4 << 30  # bytes of addresses beyond those of the process: a wild allocation must not take the machine down
SHOWN = 300  # characters of a message


class Outcome(NamedTuple):
    """What became of a case: "read", "refused", or a fault."""

    kind: str
    message: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0


def attempt(name: str, folder: Path) -> Outcome:
    """Read a data set in this process."""
    before, started = peak(), time.process_time()
    try:
        READERS[name].read(folder)
        outcome = Outcome("read")
    except ValueError as error:
        named = str(folder) in str(error)
        outcome = Outcome("refused" if named else "FAULT", f"{'' if named else 'no path: '}{error}")
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        outcome = Outcome("FAULT", f"{type(error).__name__} at {at}: {error}")
    seconds, megabytes = time.process_time() - started, peak() - before
    if outcome.kind != "FAULT" and (seconds > SECONDS or megabytes > MEGABYTES):
        outcome = Outcome("FAULT", f"{seconds:.1f} s, {megabytes:.0f} MB, then {outcome.kind}: {outcome.message}")
    return outcome._replace(message=outcome.message[:SHOWN], seconds=seconds, megabytes=megabytes)


def peak() -> float:
    """The most memory that this process has had, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def in_a_fork(name: str, folder: Path) -> Outcome:
    """Read a data set in a fork: what hangs, crashes or takes too much ends with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(60)  # also where it waits, and computes nothing
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS + 1, SECONDS + 2))
        resource.setrlimit(resource.RLIMIT_AS, (HARD_LIMIT, HARD_LIMIT))
        with os.fdopen(writing, "w", encoding="utf-8", errors="backslashreplace") as pipe:
            pipe.write(json.dumps(attempt(name, folder)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    return (
        Outcome(*json.loads(text)) if text else Outcome("FAULT", f"ended by {signal.Signals(os.WTERMSIG(status)).name}")
    )


def case(name: str, seed: int, number: int, folder: Path) -> tuple[str, Outcome]:
    """(the damaged file, the outcome) of one case of a reader."""
    rng = np.random.default_rng([seed, number, zlib.crc32(name.encode())])
    READERS[name].write(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = files[int(rng.integers(len(files)))]
    damage(file, rng)
    return file.relative_to(folder).as_posix(), in_a_fork(name, folder)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 where there was a fault."""
    args = build_parser().parse_args(arguments)
    warnings.simplefilter("ignore")
    names = args.readers or list(READERS)
    cases = [(name, number) for number in range(args.count) for name in names][: args.count]
    if args.only is not None:
        cases = [(name, args.only) for name in names]
    found, lines = {name: [] for name in names}, []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch if args.only is None else ".", "fuzz").resolve()
        for name, number in cases:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            file, outcome = case(name, args.seed, number, folder)
            found[name].append(outcome)
            if outcome.kind == "FAULT" or args.only is not None:
                lines.append(f"{name} --only {number} ({file}): {outcome.kind} {outcome.message}")
    print("\n".join([table(found), *lines]))
    return 1 if any(outcome.kind == "FAULT" for each in found.values() for outcome in each) else 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__.split("\n\n")[0])
    parser.add_argument("readers", metavar="READER", nargs="*", choices=[[], *READERS], help="default: all")
    parser.add_argument("--count", type=int, default=1000, help="damaged files, over all readers (default: 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the one case of this number, kept in ./fuzz")
    return parser


def table(found: dict[str, list[Outcome]]) -> str:
    """A line for each reader, and one for all."""
    width = max(map(len, found))
    rows = [f"{'reader':{width}}  files   read  refused  faults  slowest, s  most, MB"]
    for name, outcomes in [*found.items(), ("all", list(chain.from_iterable(found.values())))]:
        kinds = [sum(each.kind == kind for each in outcomes) for kind in ("read", "refused", "FAULT")]
        counts = "  ".join(f"{n:{w}}" for n, w in zip((len(outcomes), *kinds), (5, 5, 7, 6)))
        slowest, most = (max((each[i] for each in outcomes), default=0.0) for i in (2, 3))
        rows.append(f"{name:{width}}  {counts}  {slowest:10.2f}  {most:8.0f}")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
