"""Sums by NCCL: which communicator is chosen, and that gradients stay on the device. MPI and NCCL are stand-ins."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from tests.cupy_stand_in import cupy, no_transfers
from vision.training.communicator import Communicator, MPICommunicator, communicator
from vision.training.nccl import NCCLCommunicator


class World:
    """The second of two processes; the first one always sends the same, and is on this machine or another."""

    rank, size, beside = 1, 2, 2

    def allgather(self, value):
        return [value, value]

    def Split_type(self, kind):  # noqa: N802
        return SimpleNamespace(rank=self.beside - 1, size=self.beside)


class Backend:
    def __init__(self, n_devices, rank, use_mpi=False):
        assert (n_devices, rank, use_mpi) == (2, 1, True)
        self.sums = []

    def all_reduce(self, in_array, out_array, op="sum"):
        self.sums.append(in_array.dtype)
        out_array[...] = in_array + in_array


@pytest.fixture
def machine(device, monkeypatch):
    """`machine(gpus, beside, nccl)` -> the communicator there, and the GPU that was chosen."""
    if device is not cupy:
        pytest.skip("stand-ins for NCCL and MPI go with that for CuPy")
    chosen, synchronised = [], []

    def made(gpus=2, beside=2, nccl=True):
        cuda = SimpleNamespace(
            runtime=SimpleNamespace(getDeviceCount=lambda: gpus),
            Device=lambda index: SimpleNamespace(use=lambda: chosen.append(index)),
            nccl=SimpleNamespace(available=nccl),
            get_current_stream=lambda: SimpleNamespace(synchronize=lambda: synchronised.append(1)),
        )
        monkeypatch.setattr(device, "cuda", cuda)
        world = World()
        world.beside = beside
        mpi4py, cupyx = ModuleType("mpi4py"), ModuleType("cupyx.distributed")
        mpi4py.MPI = SimpleNamespace(COMM_WORLD=world, IN_PLACE="in place", COMM_TYPE_SHARED="shared")
        cupyx.NCCLBackend = Backend
        for name, module in {"mpi4py": mpi4py, "cupyx": ModuleType("cupyx"), "cupyx.distributed": cupyx}.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setenv("PMI_SIZE", "2")
        return communicator(device="gpu"), chosen, synchronised

    return made


@pytest.mark.parametrize(
    ("gpus", "beside", "nccl", "kind", "index"),
    [
        (2, 2, True, NCCLCommunicator, 1),
        (1, 1, True, NCCLCommunicator, 0),  # one process on each of two machines
        (1, 2, True, MPICommunicator, 0),  # two processes share a GPU, which NCCL refuses
        (2, 2, False, MPICommunicator, 1),
    ],
)
def test_which_one_is_chosen(machine, gpus, beside, nccl, kind, index):
    others, chosen, _ = machine(gpus, beside, nccl)
    assert type(others) is kind and chosen == [index] and (others.rank, others.size) == (1, 2)
    assert type(communicator()) is MPICommunicator


def test_gradients_are_summed_where_they_are(machine, device):
    others, _, synchronised = machine()
    arrays = [device.asarray(each) for each in (np.full((2, 3), 1.5), np.ones(4, np.float32), np.zeros((0, 2)))]
    with no_transfers():
        others.sum_(arrays)
    assert others.backend.sums == [np.float64, np.float32] and len(synchronised) == 2
    assert (device.asnumpy(arrays[0]) == 3).all() and (device.asnumpy(arrays[1]) == 2).all()
    assert others.any(True) and others.count(2.0) == 4.0


def test_one_process_needs_none(monkeypatch):
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "MPI_LOCALNRANKS"):
        monkeypatch.delenv(name, raising=False)
    assert type(communicator(device="gpu")) is Communicator
