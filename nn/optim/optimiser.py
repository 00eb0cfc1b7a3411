"""What all optimisers share: groups of parameters, their state, and the loop of a step over all parameters.

The rules are in nn/optim/sgd.py and nn/optim/adaptive.py. An optimiser is made once the model has its final dtype
(`astype`), and moves by its own `to`: its state is on the device of the values.
"""

import math
from collections.abc import Callable

import numpy as np

from nn.dispatch import functions
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

    A subclass defines the rule, a function value, *state = rule(value, grad, *state, *options) of arrays, the names of
    its state arrays as `keys`, _new_state (with a count of steps "t" where the rule needs it), _rule_options and
    _check_options.
    """

    rule: Callable
    keys: tuple[str, ...] = ()

    def __init__(self, parameters: dict[str, Parameter] | list[dict], **options):
        owner = type(self).__name__
        self.groups = []
        self.state: dict[str, dict[str, np.ndarray]] = {}  # name -> what the optimiser remembers of that parameter
        seen = {}
        for group in parameters if isinstance(parameters, (list, tuple)) else [{"parameters": parameters}]:
            group = _check_group(owner, group, options)
            self._check_options(owner, group)
            group["parameters"] = own = unique(owner, group["parameters"])
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
            for t, rows in self._rows(group["parameters"]).items():
                options = self._rule_options(t, lr, group)
                functions(__name__, *(value for value, *_ in rows)).update(self.rule, rows, options)

    def _rows(self, parameters):
        """{t: [(value, grad, *state arrays)]} of the trainable parameters, by the steps that they make with this one.

        A state array that this optimiser does not need is None.
        """
        rows = {}
        for name, parameter in parameters.items():
            if parameter.trainable:
                state = self.state[name]
                if "t" in state:
                    state["t"] += 1
                row = parameter.value, parameter.grad, *(state.get(key) for key in self.keys)
                rows.setdefault(int(state.get("t", 0)), []).append(row)
        return rows

    def zero_grad(self):
        """Set the gradient of every parameter to zero, in place."""
        for group in self.groups:
            grads = [parameter.grad for parameter in group["parameters"].values()]
            functions("nn.layer", *grads).set_to_zero(grads)

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

    def _rule_options(self, t, lr, group) -> tuple:
        """The options of the rule in the t-th step."""
        raise NotImplementedError(f"{type(self).__name__} has no _rule_options")


def update(rule, rows, options):
    """One step of each row (value, grad, *state arrays), in place: value, *state = rule(value, grad, *state, *options).

    A state array is None where the optimiser does not need it.
    """
    for value, grad, *state in rows:
        for array, new in zip((value, *state), rule(value, grad, *state, *options)):
            if array is not None:
                array[...] = new


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
    for path, parameter in unique("decay_groups", parameters).items():
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


def unique(owner, parameters):
    """The parameters, each object once, under its first name; TypeError for what is not a Parameter."""
    first = {}
    for name, parameter in parameters.items():
        if not isinstance(parameter, Parameter):
            raise TypeError(f"{owner}: {name} must be a Parameter, got {type(parameter).__name__}")
        first.setdefault(id(parameter), (name, parameter))
    return dict(first.values())
