"""What a side does again and again while it is timed, here ours: calling a work does it once and gives its results."""

import copy
from collections.abc import Callable

import numpy as np

from nn import SGD
from nn.checking import as_tuple
from nn.dispatch import array_module
from nn.gpu.device import map_arrays, to_device
from nn.layer import Layer
from nn.summary import recorded
from vision.fold import fold_batch_norm

MOMENTUM, WEIGHT_DECAY, RATE = 0.9, 0.0005, 0.01  # of the SGD in every training step


def normal(*shape, seed: int = 0) -> np.ndarray:
    """float32 values that both sides draw alike."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


class Work:
    """What the three kinds below share: a layer, and arrays that it works on.

    differentiable: how many of the inputs, from the first on, have gradients. backward: False for inference.
    """

    def __init__(self, layer: Layer, inputs: tuple, differentiable: int = 1, backward: bool = True):
        self.layer, self.inputs, self.differentiable, self.backward = layer, inputs, differentiable, backward

    def state(self) -> dict[str, np.ndarray]:
        """All weights and buffers by name."""
        return self.layer.state_dict()

    def to(self, device: str):
        """Move all arrays to "cpu" or "gpu"; returns the work."""
        self.layer.to(device)
        self.inputs = to_device(self.inputs, device)
        return self

    def least_bytes(self) -> int:
        """What a call reads and writes at least, were all that lies between kept near the processor; 0: not counted."""
        return 0

    def multiply_adds(self) -> int:
        """Those of forward, and of the two products of the same size in backward: counted directly, however done."""
        with recorded(self.layer) as calls:
            self.forward()
        return sum(count for *_, count in calls) * (3 if self.backward else 1)


class LayerWork(Work):
    """Forward, and backward if wanted, of a layer: gives (outputs, gradients of inputs).

    Of several outputs the first gets a gradient, the others none, as if nobody used them.
    """

    def __init__(self, layer: Layer, *inputs, **options):
        super().__init__(layer, inputs, **options)
        self.dy = None

    def forward(self):
        return self.layer.forward(*self.inputs)

    def __call__(self):
        if not self.backward:
            return as_tuple(self.layer(*self.inputs)), ()
        y, cache = self.forward()
        if self.dy is None:
            first = as_tuple(y)[0]
            self.dy = array_module(first).asarray(normal(*first.shape, seed=1))
        dx = self.layer.backward((self.dy, *[None] * (len(y) - 1)) if isinstance(y, tuple) else self.dy, cache)
        return as_tuple(y), as_tuple(dx)[: self.differentiable]

    def least_bytes(self) -> int:
        """Forward: inputs, weights, outputs. Backward: inputs and weights again, dy, dx, and the gradients' +=."""
        y, dx = self()
        inputs, weights = nbytes(self.inputs), nbytes([p.value for p in self.layer.parameters().values()])
        forward = inputs + weights + nbytes(y)
        return forward + (inputs + weights + nbytes(y[:1]) + nbytes(dx) + 2 * weights if self.backward else 0)


class FunctionWork(Work):
    """A function of arrays, without weights. With backward its results are (value, gradient of the first input)."""

    def __init__(self, function: Callable, *inputs, **options):
        super().__init__(Layer(), inputs, **options)
        self.function = function

    def forward(self):
        return self.function(*self.inputs)

    def __call__(self):
        result = self.forward()
        return ((result[0],), (result[1],)) if self.backward else ((result,), ())

    def least_bytes(self) -> int:
        """The inputs and the results."""
        return nbytes(self.inputs) + nbytes(self())


class StepWork(Work):
    """One training step: clear the gradients, loss, backward, SGD with momentum and weight decay. Gives the losses."""

    def __init__(self, model: Layer, batch: tuple):
        super().__init__(model, batch)
        self.steps = 0
        self.optimiser = SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)

    def to(self, device: str):
        """As Work.to, the optimiser's state as well."""
        self.optimiser.to(device)
        return super().to(device)

    def forward(self):
        return self.layer.loss(self.inputs, np.random.default_rng(self.steps))

    def __call__(self):
        self.steps += 1
        self.layer.zero_grad()
        losses, cache = self.forward()
        self.layer.backward(cache)
        self.optimiser.step()
        return tuple(losses.values()), ()


class PredictWork(Work):
    """model.predict of images, batch normalisation folded into the convolutions. Gives the arrays of its results.

    `layer` is the model as it was: the other side computes from its weights.
    """

    def __init__(self, model: Layer, images: np.ndarray):
        super().__init__(model, (images,), backward=False)
        self.folded = copy.deepcopy(model)
        fold_batch_norm(self.folded)

    def to(self, device: str):
        """As Work.to, the folded model as well."""
        self.folded.to(device)
        return super().to(device)

    def forward(self):
        return self.layer.predict(*self.inputs)

    def __call__(self):
        found = self.folded.predict(*self.inputs)
        if isinstance(found, list):  # detections, a dict an image
            return tuple(array for each in found for array in each.values()), ()
        return (found,), ()


def nbytes(tree) -> int:
    """Of all arrays in a nest."""
    sizes = []
    map_arrays(lambda array: sizes.append(array.nbytes), tree)
    return sum(sizes)
