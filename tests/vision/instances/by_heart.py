"""Two generated scenes learned by heart: the overfitting test that the systems of this room share."""

import numpy as np

from datasets import Shapes
from nn import Adam, clip_gradient_norm
from vision.instances.task import evaluate_instances, instance_batch


def scenes(max_objects: int) -> Shapes:
    """Two scenes with at most so many objects."""
    return Shapes(2, (64, 80), seed=6, max_objects=max_objects)


def learn(model, data: Shapes, steps: int, slower: int | None = None) -> dict:
    """The metrics on both scenes after so many steps of Adam at 0.002; from step `slower` on at 0.0005."""
    batch, optimiser = instance_batch(model, [data[0], data[1]]), Adam(model.parameters(), lr=0.002)
    for step in range(steps):
        optimiser.lr = 0.0005 if slower is not None and step >= slower else 0.002
        _, cache = model.loss(batch, np.random.default_rng(step))
        optimiser.zero_grad()
        model.backward(cache)
        clip_gradient_norm(model.parameters(), 10)
        optimiser.step()
    return evaluate_instances(model, data)
