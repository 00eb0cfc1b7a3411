"""A process that does one side's works on demand: a line of JSON comes in, a line goes out.

{"prepare": name}   the case's weights and inputs, and two calls to warm up; gives seconds of the second one, the
                    multiply-adds and, of ours on a GPU, the least bytes to read and write and the kernels launched
{"run": count}      gives seconds, a list
{"finish": true}    gives the peak memory of the case in bytes (null where the system does not tell), and lets it go
{"speed": true}     the machine's matrix products: float32 multiply-adds a second; of a GPU bytes a second of a copy,
                    and its name

The memory of a case is the peak of this process from the first call on, less what it held before the case was prepared.
"""

import argparse
import ctypes
import gc
import json
import os
import re
import sys
import time

from scripts.benchmarks.sides import SIDES


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=list(SIDES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed must not look like an answer
    worker = Worker(SIDES[args.side](args.device, args.threads, args.plain), watched=args.device == "cpu")
    for line in sys.stdin:
        (command, argument), *_ = json.loads(line).items()
        try:
            answer = getattr(worker, command)(argument)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


class Worker:
    """What the commands do. watched: whether the case's memory is this process's, not a device's."""

    def __init__(self, side, watched: bool = True):
        self.side, self.watched, self.work, self.before = side, watched, None, None

    def prepare(self, name: str):
        release()
        self.before = resident()
        self.work = self.side.prepare(name)
        release()
        if not (self.watched and reset_peak()):
            self.before = None
        return {"seconds": [self.timed(), self.timed()][1], **self.side.facts}

    def run(self, count: int):
        self.timed()  # what the other side has driven out of the caches comes back
        return {"seconds": [self.timed() for _ in range(count)]}

    def finish(self, _):
        peak = None if self.before is None else max(0, resident("VmHWM") - self.before)
        self.work = None
        return {"peak": peak}

    def speed(self, _):
        return {"speed": self.side.speed(), "bandwidth": self.side.bandwidth(), "gpu": self.side.gpu()}

    def timed(self):
        began = time.perf_counter()
        self.work()
        self.side.synchronise()
        return time.perf_counter() - began


def resident(what: str = "VmRSS") -> int | None:
    """Bytes of memory this process holds (VmRSS), or has held at most (VmHWM); None where there is no /proc."""
    try:
        with open("/proc/self/status") as status:
            return 1024 * int(re.search(rf"{what}:\s*(\d+) kB", status.read())[1])
    except (OSError, TypeError):
        return None


def reset_peak() -> bool:
    """Let VmHWM begin anew; False where that cannot be done."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return True
    except OSError:
        return False


def release():
    """Give freed memory back to the system, so that it does not count for the next case."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc's
    except (AttributeError, OSError):
        pass


if __name__ == "__main__":
    main()
