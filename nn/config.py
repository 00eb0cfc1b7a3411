"""Switches for the whole library."""

import os
import sys


class _Switches(type):
    """The class of `config`, for the switch that is not ours: tf32 is CuPy's environment variable CUPY_TF32."""

    @property
    def tf32(cls) -> bool:
        """Whether matrix products of float32 on the GPU may round their factors to 10 bits, which is faster."""
        return int(os.environ.get("CUPY_TF32", "0")) > 0

    @tf32.setter
    def tf32(cls, wanted: bool):
        if bool(wanted) == cls.tf32:
            return
        if "cupy" in sys.modules:
            raise ValueError(
                "config.tf32: CuPy is imported already, and reads CUPY_TF32 once, at its first product of float32 "
                "matrices: set nn.config.tf32 before CuPy is imported, or CUPY_TF32=1 in the environment"
            )
        os.environ["CUPY_TF32"] = "1" if wanted else "0"


class config(metaclass=_Switches):  # noqa: N801  (a namespace, not something to make instances of)
    """Switches for the whole library, such as `nn.config.plain = True`.

    tf32 (the environment's CUPY_TF32, False where that is not set): set it before CuPy is imported, that is before
    anything goes to the GPU; afterwards a change is a ValueError. GPUs before Ampere do not have it: CuPy warns there.
    """

    plain = False  # True: the textbook's version of every algorithm, to step through
    winograd = True  # False: no Winograd convolutions, which round more: see nn.cpu.winograd
    deterministic = True  # False: kernels may add up in any order where that is faster; then two runs may differ
