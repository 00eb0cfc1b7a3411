"""Several processes that train together: how they are started, and what only the first one does."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path

from nn.cpu.parallel import thread_count
from vision import Model
from vision.task import Task
from vision.training.communicator import Communicator, OtherFailed, communicator

INSTALL = "install the extra: pip install -e '.[mpi]'"
RUN = "import sys; from scripts.train import main; sys.exit(main(sys.argv[1:]))"
FEWER = "train it in one process"


def start_processes(count: int, arguments: list[str]) -> int:
    """Start scripts.train in `count` processes by mpiexec, the cores shared out; exit status.

    Raises ValueError where there is no mpiexec.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        raise ValueError(f"--processes {count}: there is no mpiexec; {INSTALL}")
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    threads = str(max(1, thread_count() // count))
    environment = {"NN_THREADS": threads} | os.environ | {"PYTHONPATH": paths}
    command = [mpiexec, "-n", str(count), sys.executable, "-c", RUN, *arguments]
    with subprocess.Popen(command, env=environment) as child:
        before = [  # a terminal's Ctrl-C reaches mpiexec, too, which tells the processes; at SIGTERM it would kill them
            (signal.SIGINT, signal.signal(signal.SIGINT, signal.SIG_IGN)),
            (signal.SIGTERM, signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGINT))),
        ]
        try:
            return child.wait()
        finally:
            for number, handler in before:
                signal.signal(number, handler)


def together(work: Callable[[Communicator], int], watchdog: float = 0, device: str = "cpu") -> int:
    """work(communicator) in this process; exit status. Only the process of rank 0 prints, also the others' errors.

    watchdog: seconds that a message may take. device: where gradients are, "cpu" or "gpu".
    """
    others = communicator(watchdog, device)
    with ExitStack() as stack:
        if others.rank:
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
            logging.disable()  # the notes of the library: all processes have the same
            stack.callback(logging.disable, logging.NOTSET)
        try:
            with others.failing():
                return work(others)
        except OtherFailed as error:
            if others.rank == 0:
                raise ValueError(str(error)) from None
        except (ValueError, OSError, MemoryError):
            if others.rank == 0:
                raise
    return 2


def check_sharing(model: Model, task: Task, args: Namespace, others: Communicator):
    """ValueError where the samples of a batch belong together, or a stage is a fit: nothing can be shared out."""
    if args.sync_batch_norm and ((others.size == 1 and not args.resume) or args.accumulate > 1):
        raise ValueError("--sync-batch-norm is for several processes without --accumulate; leave it out")
    if args.accumulate == others.size == 1:
        return
    how = f"--accumulate {args.accumulate}" if args.accumulate > 1 else f"{others.size} processes"
    if task.experience or task.in_order or model.sampling:
        raise ValueError(f"{how}: the samples of a batch of {model.name} belong together")
    if others.size > 1 and any(stage.fit for stage in model.stages()):
        raise ValueError(f"{how}: {model.name} has stages that no gradient trains; {FEWER}")
    if args.batch_size < others.size:
        raise ValueError(f"{how}: a batch of {args.batch_size} is too small to be shared; give a larger --batch-size")
