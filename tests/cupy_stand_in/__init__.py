"""A stand-in for CuPy, so that device code runs on machines without a GPU: its arrays, functions and kernels.

    from tests.cupy_stand_in import cupy

The arrays hold NumPy's, but mix with none and convert to none (array.py); what crosses between host and device is
counted, and refused where a test wants none (transfers.py); functions have CuPy's signatures (functions.py,
methods.py, creation.py, ufuncs.py); kernels are compiled from their own CUDA source by g++ and run between guard zones
(kernels.py). Only what the project uses is here: to use another function of CuPy's, declare it with CuPy's signature.
"""

from .namespace import cupy
from .transfers import TransferError, count_transfers, no_transfers

__all__ = ["TransferError", "count_transfers", "cupy", "no_transfers"]
