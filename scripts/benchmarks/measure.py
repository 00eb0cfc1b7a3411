"""Both sides by turns: a process each, case by case and round by round."""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchmarks.cases import Case

TURN, MOST = 0.3, 30  # seconds that one side's turn is to last, calls in a turn
SETTLE = 0.4  # seconds before a turn: OpenMP's threads keep a core busy for up to 0.2 after the other side's
# Not -m: a folder called scripts may lie where the user stands.
START = f"""import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from scripts.benchmarks.worker import main
main(*sys.argv[1:])"""


class Failed(Exception):  # noqa: N818  (not an error of the benchmark)
    """A side could not do a case; str() says why, in one line."""


class Side:
    """A process that does one side's works, started anew after it died or where a case wants a fresh one."""

    def __init__(self, name: str, device: str, threads: int, plain: bool):
        self.name, self.process = name, None
        options = [name, device, str(threads), *(["--plain"] if plain else [])]
        self.command = [sys.executable, "-c", START, *options]
        self.environment = os.environ | {"NN_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}

    def ask(self, what: str, argument=True) -> dict:
        """The worker's answer. Raises Failed with its error, or with how it died."""
        if self.process is None:
            self.errors = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would fill up
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
            self.process = subprocess.Popen(self.command, env=self.environment, text=True, **pipes)
        try:
            self.process.stdin.write(json.dumps({what: argument}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(self._death())
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def stop(self):
        """End the process; the next question starts a new one."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.errors.close()
            self.process = None

    def _death(self):
        self.process.communicate()
        status, self.process = self.process.returncode, None
        with self.errors as file:
            file.seek(0)
            last = file.read().strip().splitlines()[-1:] or ["no message"]
        return f"the process ended with status {status}: {last[0]}"


@dataclass
class Measured:
    """What was measured of one side: seconds of each call, round by round; peak memory; or what went wrong."""

    rounds: list[list[float]] = field(default_factory=list)
    peak: int | None = None  # bytes
    multiply_adds: int = 0
    bytes: int = 0  # to read and write at least; 0: not counted
    kernels: int | None = None  # launched by a call; None: not counted
    failure: str = ""

    @property
    def median(self) -> float:
        """Seconds of a call."""
        return statistics.median(second for turn in self.rounds for second in turn)

    def as_json(self) -> dict:
        seconds, failure = (None, self.failure) if self.failure else (self.median, None)
        return {"seconds": seconds, "rounds": self.rounds, "peak_bytes": self.peak, "failure": failure}


@dataclass
class Row:
    """A case with what both sides took; theirs is None where they were not asked."""

    case: Case
    ours: Measured
    theirs: Measured | None = None

    def ratios(self) -> list[float]:
        """Our median over theirs in each round, smallest first; [] where either failed or there is no other."""
        if self.theirs is None or self.ours.failure or self.theirs.failure:
            return []
        pairs = zip(self.ours.rounds, self.theirs.rounds)
        return sorted(statistics.median(ours) / statistics.median(theirs) for ours, theirs in pairs)

    @property
    def ratio(self) -> float | None:
        """Our median over theirs."""
        return self.ours.median / self.theirs.median if self.ratios() else None

    def share(self, speed: float | None) -> float | None:
        """Our multiply-adds a second, counted directly, as a part of the machine's."""
        if not speed or self.ours.failure or not self.ours.multiply_adds:
            return None
        return self.ours.multiply_adds / self.ours.median / speed

    def of_floor(self, speed: float | None, bandwidth: float | None) -> float | None:
        """The time that the machine needs at least for our arithmetic or our memory traffic, as a part of our time."""
        if not speed or not bandwidth or self.ours.failure or not self.ours.bytes:
            return None
        return max(self.ours.multiply_adds / speed, self.ours.bytes / bandwidth) / self.ours.median


def measure(cases: Iterable[Case], sides: list[Side], rounds: int, report: Callable[[Row], None]) -> list[Row]:
    """A row for each case, reported as soon as it is there. The first of the sides is ours."""
    rows = []
    for case in cases:
        pairs = [(side, Measured()) for side in sides]
        counts = [prepare(side, measured, case) for side, measured in pairs]
        for _ in range(rounds):
            for (side, measured), count in zip(pairs, counts):
                time.sleep(0 if measured.failure else SETTLE)
                measured.rounds += [a["seconds"] for a in answers(side, measured, "run", count)]
        for side, measured in pairs:
            for answer in answers(side, measured, "finish", True):
                measured.peak = answer["peak"]
        rows.append(Row(case, *(measured for _, measured in pairs)))
        report(rows[-1])
    return rows


def prepare(side: Side, measured: Measured, case: Case) -> int:
    """Have the case's work made; how many calls fill a turn."""
    if case.step:
        side.stop()  # a fresh process: nothing of other cases is in its memory
    count = 0
    for answer in answers(side, measured, "prepare", case.name):
        count = max(1, min(MOST, round(TURN / answer.pop("seconds"))))
        vars(measured).update(answer)
    return count


def answers(side: Side, measured: Measured, what: str, argument) -> list[dict]:
    """The one answer; none once the side has failed at this case, which `measured` keeps."""
    try:
        return [] if measured.failure else [side.ask(what, argument)]
    except Failed as failure:
        measured.failure = str(failure)
        side.stop()
        return []


def geometric_mean(ratios: list[float]) -> float:
    """exp of the mean logarithm."""
    return math.exp(statistics.mean(map(math.log, ratios)))
