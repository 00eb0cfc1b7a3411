"""Switches for the whole library."""

import sys

import numpy as np


class _Switches(type):
    """The class of `config`: tells CuPy where a switch is its own."""

    def __setattr__(cls, name, value):
        super().__setattr__(name, value)
        if name == "tf32" and "cupy" in sys.modules:
            set_tf32(sys.modules["cupy"], value)


class config(metaclass=_Switches):  # noqa: N801  (a namespace, not something to make instances of)
    """Switches for the whole library, such as `nn.config.plain = True`."""

    plain = False  # True: the plain version of every algorithm, to step through
    winograd = True  # False: no Winograd convolutions, which round more: see nn.cpu.winograd
    deterministic = True  # False: kernels may add up in any order where that is faster; then two runs may differ
    tf32 = False  # True: matrix products of float32 on the GPU round their factors to 10 bits, and are faster


def set_tf32(cupy, wanted: bool):
    """Whether CuPy multiplies float32 matrices in tensor-float-32, which GPUs before Ampere lack: CuPy warns there."""
    linalg = cupy._core._routines_linalg  # where CuPy has this switch; the environment's CUPY_TF32 sets it, too
    kind = linalg.COMPUTE_TYPE_TF32 if wanted else linalg.COMPUTE_TYPE_DEFAULT
    linalg.set_compute_type(np.float32, kind)
