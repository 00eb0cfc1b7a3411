"""Embedders: twins share weights; vectors, losses and similarity by hand; learning; bad input by message."""

import numpy as np
import pytest

import vision
from nn import Adam, contrastive
from nn.losses.mining import hard, semi_hard
from vision.embedding.embedder import EmbeddingBatch
from vision.embedding.task import embedding_batch

CLASSES = ("a", "b", "c")
TINY = {
    "dr_lim": {"width": 2, "pairs": "labels"},
    "siamese_one_shot_small": {"width": 4, "features": 6, "short_side": 32, "max_side": 32},
    "triplet_net": {"width": 4, "dimensions": 5, "short_side": 32, "max_side": 32, "images_per_class": 2},
}


def made(name, **options):
    return vision.build(name, CLASSES, np.random.default_rng(0), **TINY[name] | options)


def batch(n=6, seed=3):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // 2 % 3
    similar = labels[0::2] == labels[1::2]
    return EmbeddingBatch(rng.random((n, 3, 32, 32), np.float32), labels, similar)


def test_twins_add_up_the_gradients_of_two_passes():
    """The gradient of a pair is the sum of what two networks of the same weights would get."""
    model, (images, _, _) = made("dr_lim"), batch(4)
    similar = np.array([True, False])
    losses, cache = model.loss((images, np.zeros(4), similar), None)
    model.backward(cache)
    together = {name: parameter.grad.copy() for name, parameter in model.parameters().items()}
    model.zero_grad()
    first, second = (model.network.forward(images[k::2]) for k in (0, 1))
    value, slopes = contrastive(first[0], second[0], similar, model.options.margin)
    parts = []
    for (_, cache), dx in zip((first, second), slopes):
        model.network.backward(dx, cache)
        parts.append({name: parameter.grad.copy() for name, parameter in model.parameters().items()})
        model.zero_grad()
    assert losses == {"contrastive": value}
    for name, grad in together.items():
        np.testing.assert_allclose(grad, parts[0][name] + parts[1][name], rtol=1e-4, atol=1e-7)
        assert parts[0][name].any() and parts[1][name].any()


@pytest.mark.parametrize("name", TINY)
def test_a_few_steps_learn_two_batches(name):
    """The loss of fixed pairs or triplets falls to a fraction."""
    model, rng = made(name), np.random.default_rng(0)
    images, labels, _ = batch(8)
    images[1::2] = images[0::2] + 0.2 * images[1::2]  # two that are similar, then two of another pair
    similar = np.array([True, True, False, False])
    order = [0, 1, 2, 3, 4, 7, 6, 5]
    given = EmbeddingBatch(images[order], labels[order], similar)
    optimiser, values = Adam(model.parameters(), lr=0.01), []
    for _ in range(60):
        model.zero_grad()
        losses, cache = model.loss(given, rng)
        model.backward(cache)
        optimiser.step()
        values.append(sum(losses.values()))
    assert np.mean(values[-5:]) < 0.25 * max(values[:5])


def test_triplets_are_those_that_are_mined():
    images, labels, _ = batch(6)
    for name, mine in (("hard", hard), ("semi_hard", lambda x, y: semi_hard(x, y, 2.0))):
        model = made("triplet_net", mining=name, margin=2.0)
        x, _ = model.forward(images)
        found = model.loss((images, labels, None), None)[1].sampled
        assert all(np.array_equal(a, b) for a, b in zip(found, mine(x, labels))) and len(found.anchor)


def test_random_triplets_are_those_that_were_drawn():
    images, labels, _ = batch(8)  # two images are left over
    model = made("triplet_net", mining="random")
    found = model.loss((images, labels, None), None)[1].sampled
    assert [indices.tolist() for indices in found] == [[0, 3], [1, 4], [2, 5]]
    assert model.sampling.kind == "triplets"


def test_colours_are_seen_unless_they_are_not_wanted():
    red, blue = np.zeros((2, 1, 3, 32, 32), np.float32)
    red[:, 0], blue[:, 2] = 1, 1
    for colour in (True, False):
        model = made("triplet_net", colour=colour)
        assert np.allclose(model.predict(red), model.predict(blue)) != colour


def test_vectors_of_length_one():
    model = made("triplet_net")
    vectors = model.embeddings(list(np.random.default_rng(1).integers(0, 256, (3, 40, 50, 3)).astype(np.uint8)))
    assert vectors.shape == (3, 5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert [name for name, p in model.parameters().items() if not p.trainable] == [list(model.parameters())[-1]]


@pytest.mark.parametrize("name", TINY)
def test_one_photograph_as_in_a_batch(name, tmp_path):
    from PIL import Image

    model, photograph = made(name), np.random.default_rng(2).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    Image.fromarray(photograph).save(tmp_path / "a.png")
    wanted = model.embeddings([photograph, photograph[::-1].copy()])[0]
    np.testing.assert_allclose(model.embed(photograph), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.embed(tmp_path / "a.png"), model.embed(Image.open(tmp_path / "a.png")))
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        model.embed(tmp_path / "b.png")


def test_similarity_of_twins_is_the_logit_of_one_class():
    model = made("siamese_one_shot_small")
    x = np.random.default_rng(3).random((4, 6), np.float32)
    y, _ = model.distance.forward(x[:1], x[2:3])
    assert model.similarity(x[:2], x)[0, 2] == pytest.approx(y[0], rel=1e-5)
    assert model.similarity(x[:2], x).shape == (2, 4)
    model.distance.weight.value[...] = -100  # probabilities that are all 0 in float32
    assert model.similarity(x[:1], x[1:]).argmax() == abs(x[0] - x[1:]).sum(axis=1).argmin() == 1


def test_a_batch_knows_its_pairs():
    """By the field of a sampler; without it two of one label are similar."""
    model, image = made("dr_lim"), np.zeros((28, 28, 3), np.uint8)
    samples = [{"image": image, "label": label} for label in (0, 0, 1, 2)]
    assert embedding_batch(model, samples).similar.tolist() == [True, False]
    samples = [sample | {"similar": similar} for sample, similar in zip(samples, (False, False, True, True))]
    found = embedding_batch(model, samples)
    assert found.similar.tolist() == [False, True] and found.images.shape == (4, 3, 32, 32)


def test_the_paper_s_network():
    """105 x 105 pixels give 256 maps of 6x6: 9,216 features."""
    model = vision.build("siamese_one_shot", CLASSES, np.random.default_rng(0), features=8)
    shapes = [parameter.value.shape for name, parameter in model.parameters().items() if name.endswith("weight")]
    assert shapes == [(64, 1, 10, 10), (128, 64, 7, 7), (128, 128, 4, 4), (256, 128, 4, 4), (8, 9216), (8,)]
    biases = [p.value for name, p in model.parameters().items() if name.startswith("network") and name.endswith("bias")]
    assert all(abs(bias.mean() - 0.5) < 0.02 for bias in biases)


def test_bad_input():
    with pytest.raises(ValueError, match="pairs need an even number of images, got 3: choose an even --batch-size"):
        made("dr_lim").loss((np.zeros((3, 3, 32, 32), np.float32), np.zeros(3), np.zeros(2, bool)), None)
    with pytest.raises(ValueError, match="dr_lim: dimensions must be"):
        made("dr_lim", dimensions=0)
    with pytest.raises(ValueError, match="dr_lim: similar must be in 0..1, got 1.5"):
        made("dr_lim", similar=1.5)
    with pytest.raises(
        ValueError, match="siamese_one_shot: images of 60 pixels are too small for its kernels, take 105"
    ):
        vision.build("siamese_one_shot", CLASSES, short_side=60, max_side=60)
    with pytest.raises(ValueError, match="four_blocks: images must be at least 16 pixels wide"):
        made("triplet_net", short_side=15, max_side=15)
    with pytest.raises(ValueError, match="images must have shape"):
        made("dr_lim").predict(np.zeros((2, 1, 32, 32), np.float32))
