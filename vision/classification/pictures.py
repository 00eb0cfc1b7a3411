"""Pictures of a trained classifier on data: its errors, its filters, what it looks at, its excitations."""

import numpy as np

from vision.classification.classifier import ClassificationNetwork, ImageClassifier
from vision.classification.draw import draw_label
from vision.classification.errors import collect_errors, draw_errors
from vision.classification.inside import (
    class_activation,
    draw_activation,
    draw_excitation,
    draw_filters,
    gates_seen,
    mean_gates,
)
from vision.detection.draw import grid
from vision.task import EvenSubset, on_its_device, predicted

TOGETHER = 50  # images in one forward pass
MAPS, GATED = 12, 500  # images with a class-activation map, and images over which excitations are averaged, at most


def draw_classifier(model: ImageClassifier, dataset, failed: list[str] | None = None) -> dict[str, np.ndarray]:
    """{confusion, worst, filters, activations, excitation: picture}, of these what the network and the data have.

    failed: see vision.task.predicted.
    """
    network = getattr(model, "network", model)
    pairs = predicted(dataset, probabilities_of(model), together=TOGETHER, failed=failed)
    drawn = draw_errors(collect_errors(pairs, dataset.classes), dataset.classes)
    if (filters := draw_filters(network)) is not None:
        drawn["filters"] = filters
    if isinstance(network, ClassificationNetwork):
        shown = predicted(
            EvenSubset(dataset, MAPS), lambda samples: [_activation(model, each) for each in samples], failed=[]
        )
        drawn["activations"] = grid([picture for _, picture in shown])
    with gates_seen(network) as gates:
        if gates:
            labels = [sample["label"] for sample, _ in predicted(EvenSubset(dataset, GATED), _alone(model), failed=[])]
            means = mean_gates(gates, np.array(labels), len(dataset.classes))
            drawn["excitation"] = draw_excitation(means, dataset.classes)
    return drawn


def probabilities_of(model: ImageClassifier):
    """samples -> a list of probabilities (classes,)."""
    return lambda samples: list(model.probabilities([sample["image"] for sample in samples]))


def _alone(model):
    """samples -> probabilities of each image in one pass of its own, whole."""

    def each(samples):
        batches = [model.preprocess.batch([model.preprocess.scaled(sample["image"])]) for sample in samples]
        return [on_its_device(model, model.predict, batch) for batch in batches]

    return each


def _activation(model, sample):
    """The sample's image where it speaks for the class found, above its label."""
    image = model.preprocess.scaled(sample["image"])
    found, batch = model.classify(sample["image"]), model.preprocess.batch([image])
    label = found["labels"][:1]
    activation = on_its_device(model, lambda x: class_activation(model.network, x, label), batch)[0]
    truth = model.classes[sample["label"]]
    return draw_label(draw_activation(image, activation), found["names"][0], truth, bool(label[0] == sample["label"]))
