"""Elementwise functions: callable with device arrays and scalars, at least one of them an array."""

import numpy as np

from .array import ndarray, unwrap, wrap

NAMES = """abs absolute ceil divmod exp expm1 floor fmod isfinite isnan log log1p maximum minimum rint sign sqrt tanh
""".split()
OPERATORS = """add bitwise_and bitwise_or bitwise_xor divide equal floor_divide greater greater_equal less less_equal
multiply negative not_equal power remainder subtract
""".split()  # also for np.float64(2) > x
SCATTER = ("add", "maximum", "minimum")  # those that CuPy has as ufunc.at


class ufunc:  # noqa: N801  (CuPy's name)
    """One elementwise function of CuPy, computed by NumPy's of the same name."""

    def __init__(self, name):
        self.name, self._compute = name, getattr(np, name)
        self.nin, self.nout = self._compute.nin, self._compute.nout

    def __call__(self, *args, out=None, casting="same_kind", dtype=None):
        if not self.nin <= len(args) <= self.nin + self.nout:
            raise TypeError(f"{self.name} takes {self.nin} arrays and {self.nout} out, got {len(args)}")
        inputs, outs = args[: self.nin], args[self.nin :] or (out if isinstance(out, tuple) else (out,) * self.nout)
        if not any(isinstance(x, ndarray) for x in (*inputs, *outs)):
            raise TypeError(f"{self.name} has no device array among its arguments")
        if any(not (x is None or isinstance(x, ndarray)) for x in outs):
            raise TypeError("return arrays must be of ArrayType")
        hosts = [unwrap(x) for x in inputs]
        with np.errstate(all="ignore"):  # a GPU does not warn
            result = self._compute(*hosts, out=tuple(map(unwrap, outs)), casting=casting, dtype=dtype)
        if self.nout == 1:
            return wrap(result) if outs[0] is None else outs[0]
        return tuple(wrap(r) if o is None else o for r, o in zip(result, outs))

    def at(self, a, indices, b=None):
        """a[indices] = function(a[indices], b); repeated indices are applied repeatedly.

        On a GPU by atomics, in any order: so float sums differ in their bits from run to run.
        """
        if self.name not in SCATTER:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        if a.dtype in (np.int8, np.int16, np.int64, np.uint8, np.uint16, bool):
            raise TypeError("scatter_add only supports int32, float16, float32, float64, uint32, uint64, as data type")
        key = tuple(map(unwrap, indices)) if isinstance(indices, tuple) else unwrap(indices)
        self._compute.at(unwrap(a), key, unwrap(b))


UFUNCS = {name: ufunc(name) for name in NAMES + OPERATORS}
