"""What the processes of a training print, without MPI: one process in the place of each."""

import logging
import sys

import pytest

from scripts import processes
from vision.training.communicator import Communicator


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_process_prints_and_notes(rank, monkeypatch, capsys, caplog):
    def communicator(watchdog, device):
        others = Communicator()
        others.rank = rank
        return others

    def work(others):
        print("trained")
        print("slowly", file=sys.stderr)
        logging.getLogger("vision.some").warning("note: of the library")
        return 0

    monkeypatch.setattr(processes, "communicator", communicator)
    assert processes.together(work) == 0
    logging.getLogger("vision.some").warning("afterwards")
    said = capsys.readouterr()
    assert (said.out, said.err) == (("trained\n", "slowly\n") if rank == 0 else ("", ""))
    assert caplog.messages == [*["note: of the library"] * (rank == 0), "afterwards"]
