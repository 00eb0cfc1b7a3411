"""What all optimisers share: groups of parameters, the state, and what belongs to a step: decay groups and clipping.

The optimisers themselves are in nn/optim/sgd.py, which has these names too. An optimiser is made once the model has its
final dtype (`astype`), and moves by a `to` of its own: its state lies beside the values.
"""

import math
from collections.abc import Iterator

import numpy as np

from nn.cpu.chunks import in_slices
from nn.dispatch import array_module
from nn.gpu import multi_tensor
from nn.gpu.device import device_of, is_count, to_device
from nn.layer import Layer, Parameter


class Optimiser:
    """Base of all optimisers: groups of parameters with their own options, and the state that goes into a checkpoint.

    parameters: a dict name -> Parameter as from layer.parameters(), or a list of groups, each a dict with "parameters"
    (such a dict) and any of the optimiser's own arguments, which hold for that group in place of the common ones:

        SGD([{"parameters": backbone.parameters()},
             {"parameters": head.parameters(), "lr": 0.1, "weight_decay": 0.0}], lr=0.01, momentum=0.9)

    A tied parameter, one object under several names, is stepped once. A parameter with trainable=False is left alone,
    and may be set free later. Raises ValueError for no parameters, an unknown option, one name for two parameters, or
    one parameter in two groups.

    A subclass defines _check_options, _new_state and _update. On a GPU _update costs several launches a parameter; with
    kernel = (its name in nn/gpu/multi_tensor.cu, the names of its state arrays) and _numbers it is one launch for all.
    """

    def __init__(self, parameters: dict[str, Parameter] | list[dict], **options):
        owner = type(self).__name__
        self.groups = []
        self.state: dict[str, dict[str, np.ndarray]] = {}  # name -> what the optimiser remembers of that parameter
        seen = {}
        for group in parameters if isinstance(parameters, (list, tuple)) else [{"parameters": parameters}]:
            group = _check_group(owner, group, options)
            self._check_options(owner, group)
            group["parameters"] = own = _unique(owner, group["parameters"])
            for name, parameter in own.items():
                if id(parameter) in seen:
                    raise ValueError(f"{owner}: {name} is in two groups, before this one as {seen[id(parameter)]}")
                if name in self.state:
                    raise ValueError(f"{owner}: two parameters have the name {name}, give one a prefix")
                seen[id(parameter)] = name
                self.state[name] = self._new_state(parameter, group)
            self.groups.append(group)
        if not seen:
            raise ValueError(f"{owner}: there are no parameters to learn")

    def step(self, rate: float = 1.0):
        """Move every trainable parameter along its gradient; `rate`, from a schedule, multiplies each group's lr."""
        for group in self.groups:
            lr = float(group["lr"] * rate)
            moving = {name: parameter for name, parameter in group["parameters"].items() if parameter.trainable}
            for name in self._step_by_kernel(moving, lr, group):
                self._update(moving[name], self.state[name], lr, group)

    def zero_grad(self):
        """Set the gradient of every parameter to zero, in place."""
        for group in self.groups:
            multi_tensor.zero([parameter.grad for parameter in group["parameters"].values()])

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays of the state by "parameter name.state name" (references, not copies)."""
        return {f"{name}.{key}": array for name, state in self.state.items() for key, array in state.items()}

    def load_state_dict(self, state: dict[str, np.ndarray]):
        """Copy a state in; ValueError, and nothing is copied, unless names and shapes are exactly this optimiser's."""
        copy_state(f"{type(self).__name__}: the state does not fit this optimiser", self.state_dict(), state)

    def to(self, device: str):
        """Move the state, after layer.to(device); returns the optimiser. Counts of steps stay on the CPU."""
        for state in self.state.values():
            state |= {key: a if is_count(a) else to_device(a, device) for key, a in state.items()}
        return self

    def _check_options(self, owner, options):
        """Raise ValueError for an option out of range."""
        for name in ("lr", "weight_decay"):
            if not 0 <= options[name] < math.inf:
                raise ValueError(f"{owner}: {name} must be a number of at least 0, got {options[name]}")

    def _new_state(self, parameter, options) -> dict[str, np.ndarray]:
        """The state of one parameter before its first step."""
        raise NotImplementedError(f"{type(self).__name__} has no _new_state")

    def _update(self, parameter, state, lr, options):
        """One step of one parameter, in place."""
        raise NotImplementedError(f"{type(self).__name__} has no _update")

    def _step_by_kernel(self, parameters, lr, options) -> list[str]:
        """One step of the parameters on a GPU, where the class has a kernel of its own; the names of the others.

        Those that have made the same number of steps take part in one launch.
        """
        kernel, keys = vars(type(self)).get("kernel", (None, ()))
        launches, others = {}, []
        for name, parameter in parameters.items():
            state = self.state[name]
            row = parameter.value, parameter.grad, *(state.get(key) for key in keys)
            if kernel and multi_tensor.for_kernels(*row):
                if "t" in state:
                    state["t"] += 1
                launches.setdefault(int(state.get("t", 0)), []).append(row)
            else:
                others.append(name)
        for t, rows in launches.items():
            multi_tensor.launch_all(kernel, rows, *self._numbers(t, lr, options))
        return others

    def _numbers(self, t, lr, options) -> tuple:
        """The numbers that the kernel takes in the t-th step."""
        raise NotImplementedError(f"{type(self).__name__} has no _numbers")


def clip_gradient_norm(parameters: dict[str, Parameter], max_norm: float) -> float:
    """Scale all gradients by one factor so that their common norm is at most max_norm; returns the norm before that.

    norm = sqrt(sum over all elements of all gradients of g^2)
    g *= min(1, max_norm / norm)

    Frozen parameters are left out, tied ones counted once. A norm that is not finite is returned as it is, and nothing
    is scaled: it is for the caller to stop. max_norm=math.inf measures only. Raises ValueError unless max_norm > 0.
    Reference: Pascanu et al. 2013, arXiv:1211.5063, algorithm 1.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_gradient_norm: max_norm must be positive, got {max_norm}")
    unique = _unique("clip_gradient_norm", parameters).values()
    grads = [parameter.grad for parameter in unique if parameter.trainable]
    if grads and all(multi_tensor.for_kernels(grad) for grad in grads):
        norm = multi_tensor.norm(grads)
        if max_norm < norm < math.inf:
            multi_tensor.launch_all("scale", [(grad,) for grad in grads], max_norm / norm)
        return norm
    parts = [block for grad in grads for (block,) in blocks(grad, size=1 << 18)]
    norm = math.sqrt(sum(_for_each(sum_of_squares, parts)))
    if max_norm < norm < math.inf:
        _for_each(lambda part: array_module(part).multiply(part, max_norm / norm, out=part), parts)
    return norm


def sum_of_squares(a):
    """The sum of a^2 in float64."""
    wide = a.ravel().astype(np.float64)
    return array_module(a).dot(wide, wide)


def _for_each(task, parts):
    """[task(part), ...], shared among threads where that pays."""
    size, xp = sum(part.size for part in parts), array_module(*parts)
    results = in_slices(lambda s: [task(part) for part in parts[s]], len(parts), size, xp, piece=1 << 20)
    return [result for several in results for result in several]


def decay_groups(layer_or_parameters: Layer | dict[str, Parameter], weight_decay: float) -> list[dict]:
    """Two groups for an optimiser: weights, which decay, and biases and normalisation scales, which do not.

        AdamW(decay_groups(model, 0.05), lr=1e-3)

    A parameter decays unless
    - it has at most one axis, as biases, the scales of normalisations, and slopes of a PReLU have, or
    - its own name is or begins with "bias", or
    - its layer is a normalisation, by the word Norm in the name of its class: the scale of a LayerNorm over several
      axes has as many. This needs a Layer; of a dict of parameters, as from layer.parameters(), the first two hold.

    A tied parameter goes by its first name. A group without parameters is left out.
    """
    if isinstance(layer_or_parameters, Layer):
        owners = dict(layer_or_parameters.layers())
        parameters = layer_or_parameters.parameters()
    else:
        owners, parameters = {}, layer_or_parameters
    groups = {True: {}, False: {}}
    for path, parameter in _unique("decay_groups", parameters).items():
        owner, _, name = path.rpartition(".")
        norm = "Norm" in type(owners.get(owner)).__name__
        groups[parameter.value.ndim > 1 and not name.startswith("bias") and not norm][path] = parameter
    decays = {True: weight_decay, False: 0.0}
    return [{"parameters": group, "weight_decay": decays[d]} for d, group in groups.items() if group]


def copy_state(problem: str, own: dict[str, np.ndarray], state: dict[str, np.ndarray]):
    """Copy `state` into the arrays of `own`; ValueError, and nothing is copied, unless names and shapes are the same.

    The message begins with `problem`.
    """
    problems = [f"missing {name}" for name in own if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in own]
    problems += [
        f"{name} has shape {state[name].shape}, wanted {array.shape}"
        for name, array in own.items()
        if name in state and state[name].shape != array.shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ValueError(f"{problem}: {shown}")
    for name, array in own.items():
        array[...] = to_device(state[name], device_of(array))


def blocks(*arrays: np.ndarray, size: float = 1 << 16) -> Iterator[tuple[np.ndarray, ...]]:
    """Walk through arrays of one shape side by side, in views of whole rows, about `size` elements each.

    Formulas can then be written as they are in the papers, with their temporaries: those are small and stay in the
    cache, which makes a step on large weights two to three times faster and spares copies of their size. On the GPU,
    where each operation costs a launch, an array is one block.
    """
    first, size = arrays[0], size if array_module(*arrays) is np else math.inf
    if first.size <= size:
        yield tuple(array[...] for array in arrays)
        return
    rows = max(1, size * len(first) // first.size)
    for start in range(0, len(first), rows):
        yield tuple(array[start : start + rows] for array in arrays)


def _check_group(owner, group, options):
    """A group with the common options filled in; TypeError or ValueError for anything that is not one."""
    parameters = group.get("parameters") if isinstance(group, dict) else group
    if not isinstance(group, dict) or not isinstance(parameters, dict):
        wanted = (
            'a dict name -> Parameter, as from layer.parameters(), or a list of {"parameters": such a dict, "lr": ...}'
        )
        raise TypeError(f"{owner}: parameters must be {wanted}, got {type(parameters).__name__}")
    unknown = sorted(set(group) - {"parameters", *options})
    if unknown:
        raise ValueError(f"{owner}: a group has the unknown option {unknown[0]!r}, wanted one of {', '.join(options)}")
    return {**options, **group}


def _unique(owner, parameters):
    """The parameters, each object once, under its first name; TypeError for what is not a Parameter."""
    first = {}
    for name, parameter in parameters.items():
        if not isinstance(parameter, Parameter):
            raise TypeError(f"{owner}: {name} must be a Parameter, got {type(parameter).__name__}")
        first.setdefault(id(parameter), (name, parameter))
    return dict(first.values())
