"""Sums of gradients by NCCL, from GPU to GPU; all other messages go by MPI.

Written against CuPy's documentation and tested with stand-ins: it has not run on GPUs.
"""

from nn.gpu.device import import_cupy
from vision.training.communicator import MPICommunicator


def choose_device(others: MPICommunicator) -> bool:
    """Make one of the GPUs of this machine that of this process; whether each process of the run has one of its own."""
    from mpi4py import MPI

    cupy = import_cupy()
    here, count = others.world.Split_type(MPI.COMM_TYPE_SHARED), cupy.cuda.runtime.getDeviceCount()
    cupy.cuda.Device(here.rank % count).use()
    return all(others.gather(here.size <= count))


def has_nccl(others: MPICommunicator) -> bool:
    """Whether CuPy can use NCCL in all processes."""
    return all(others.gather(bool(import_cupy().cuda.nccl.available)))


class NCCLCommunicator(MPICommunicator):
    """The processes that mpiexec has started, each with a GPU of its own: see choose_device."""

    where = "gpu"

    def __init__(self, watchdog: float = 0):
        super().__init__(watchdog)
        from cupyx.distributed import NCCLBackend

        self.backend = NCCLBackend(self.size, self.rank, use_mpi=True)

    def sum_vector_(self, vector):
        self.backend.all_reduce(vector, vector)  # NCCL takes one array for both
        import_cupy().cuda.get_current_stream().synchronize()  # it only began: the watchdog looks after its end
