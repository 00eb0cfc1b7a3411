"""Each embedder learns in seconds, from a loader with its sampler, what its paper is about."""

from functools import partial

import numpy as np

import vision
from datasets import ClassBatches, LabelPairs, Loader, NeighbourPairs, ShiftedDigits
from nn import Adam
from vision.embedding.evaluate import evaluate_embedder
from vision.embedding.task import embedding_batch


def strokes(n, seed):
    """(n, 28, 28) uint8: two random bars each, white on black, in the middle columns."""
    rng, images = np.random.default_rng(seed), np.zeros((n, 28, 28), np.uint8)
    for image in images:
        for _ in range(2):
            x, y = rng.integers(8, 18, 2)
            h, w = ((10, 3), (3, 10))[rng.integers(2)]
            image[y - 4 : y - 4 + h, x - 2 : x - 2 + w] = 255
    return images


def trained(model, data, sampler, steps, lr=0.003):
    """The model after some steps on batches of the sampler."""
    loader = Loader(data, 1, partial(embedding_batch, model), sampler=sampler, workers=0)
    optimiser, batches = Adam(model.parameters(), lr=lr), (b for epoch in range(999) for b in loader.epoch(epoch))
    for step, batch in zip(range(steps), batches):
        model.zero_grad()
        _, cache = model.loss(batch, np.random.default_rng(step))
        model.backward(cache)
        optimiser.step()
    return model


def test_a_map_ignores_known_shifts():
    """Without labels: the forms of an image come together, those of different images part."""
    data = ShiftedDigits(strokes(24, 0), np.arange(24), [str(i) for i in range(24)], (-4, 0, 4))
    model = vision.build("dr_lim", data.classes, np.random.default_rng(0), width=6)
    before = evaluate_embedder(model, data)
    after = evaluate_embedder(trained(model, data, NeighbourPairs(data.neighbours(2), 24, 40), 100), data)
    assert before["spread"] > 1.2 and after["spread"] < 0.7


class Characters:
    """Four drawings of each of n characters: moved by a pixel, with noise."""

    def __init__(self, n, seed):
        self.images, self.labels = strokes(n, seed), np.repeat(np.arange(n), 4)
        self.classes = tuple(map(str, range(n)))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        rng = np.random.default_rng([7, index])
        image = np.roll(self.images[index // 4], rng.integers(-1, 2, 2), axis=(0, 1))
        noisy = np.clip(255 - image + rng.integers(-60, 1, image.shape), 0, 255).astype(np.uint8)
        sample = {"id": str(index), "image": np.repeat(noisy[..., None], 3, axis=2), "label": int(self.labels[index])}
        return sample | {"run": index // 32, "support": index % 4 == 0}  # eight characters in a run


def test_twins_recognise_new_characters_from_one_example():
    data, new = Characters(40, 1), Characters(24, 2)
    model = vision.build("siamese_one_shot_small", data.classes, np.random.default_rng(0), width=8, features=32)
    found = evaluate_embedder(trained(model, data, LabelPairs(data.labels, 16, 20), 60), new)
    assert found["error"] < 0.65 and found["auc"] > 0.75  # 0.875 and 0.5 by chance


def test_triplets_separate_classes_of_unseen_pictures():
    data = Characters(40, 1)
    model = vision.build("triplet_net", data.classes, np.random.default_rng(0), width=8, dimensions=8, mean=255)
    found = evaluate_embedder(trained(model, data, ClassBatches(data.labels, 8, 4, 20), 40), Characters(24, 2))
    assert found["error"] < 0.5 and found["auc"] > 0.8
