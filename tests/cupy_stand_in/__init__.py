"""A stand-in for CuPy, so that device code runs on machines without a GPU: its arrays, functions and kernels.

    from tests.cupy_stand_in import cupy

The arrays hold NumPy arrays, but do not mix with them nor convert to them (array.py); transfers between CPU and GPU are
counted, and refused where a test allows none (transfers.py); functions have CuPy's signatures (functions.py,
methods.py, creation.py, ufuncs.py); kernels are compiled from their own CUDA source by g++ and run between guard zones
(kernels.py). Only functions that the project uses are here: to use another one of CuPy, add it with CuPy's signature.
"""

from .namespace import cupy
from .transfers import TransferError, count_transfers, no_transfers

__all__ = ["TransferError", "count_transfers", "cupy", "no_transfers"]
