"""Show and Tell and neuraltalk: their equations step by step, gradients, padding, generated captions, bad input."""

import itertools

import numpy as np
import pytest

import vision
from nn import Adam
from nn.gradcheck import check_model
from vision.sequence import Vocabulary

CAPTIONS = [["a red circle"], ["a blue square left of a red circle", "one blue square"], ["circle"]]
WORDS = Vocabulary.build([caption for of_image in CAPTIONS for caption in of_image]).words
SMALL = {"width": 1, "embedding_size": 3, "hidden_size": 4, "levels": (2, 1), "vector_size": 5}
BOTH = pytest.mark.parametrize("name", ["show_and_tell", "neuraltalk"])


def build(name, **options):
    return vision.build(name, WORDS, np.random.default_rng(3), **SMALL | options).astype(np.float64)


def images(n=3, seed=1):
    return np.random.default_rng(seed).standard_normal((n, 3, 16, 24))


def features(n=3, seed=1):
    return np.random.default_rng(seed).standard_normal((n, 8, 2, 3))


def gradients(model, batch):
    model.zero_grad()
    losses, cache = model.loss(batch, np.random.default_rng(0))
    model.backward(cache)
    return sum(losses.values()), {name: p.grad.copy() for name, p in model.parameters().items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_softmax(z):
    return z - np.log(np.exp(z).sum())


def image_vector(model, of_image):
    """relu(W a + b), a the maxima of features (D, 2, 3) over 2 x 2 bins (columns 0, 1 and 1, 2) and over all."""
    bins = np.stack([of_image[:, y, x : x + 2].max(axis=1) for y in (0, 1) for x in (0, 1)], axis=1)
    a = np.concatenate([bins.ravel(), of_image.max(axis=(1, 2))])
    linear = model.vector.linear
    return np.maximum(linear.weight.value @ a + linear.bias.value, 0)


def naive_loss(model, v, caption):
    """-log p of one sentence, step by step, by the papers' equations."""
    cell, ids = model.cell, model.vocabulary.encode(caption, start=True, end=True)
    w, u = cell.weight_ih_l0.value, cell.weight_hh_l0.value
    b = cell.bias_ih_l0.value + cell.bias_hh_l0.value
    h = c = np.zeros(4)
    total = 0
    inputs = list(zip(model.embedding.weight.value[ids[:-1]], ids[1:]))
    if not model.at_first_step:
        inputs.insert(0, (model.image.weight.value @ v + model.image.bias.value, None))
    for t, (x, after) in enumerate(inputs):
        if model.at_first_step:  # Karpathy and Fei-Fei, eq. 14
            f = np.tanh if cell.nonlinearity == "tanh" else lambda a: np.maximum(a, 0)
            h = f(w[:, :3] @ x + u @ h + b + (w[:, 3:] @ v if t == 0 else 0))
        else:
            i, f, o, g = np.split(w @ x + u @ h + b, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        if after is not None:
            total -= log_softmax(model.output.weight.value @ h + model.output.bias.value)[after]
    return total


@BOTH
def test_loss_is_the_papers_equations_step_by_step(name):
    model, x = build(name, fine_tune=False), features()
    wanted = [naive_loss(model, image_vector(model, f), caption) for f, of in zip(x, CAPTIONS) for caption in of]
    losses, _ = model.loss((x, CAPTIONS), np.random.default_rng(0))
    assert losses["words"] == pytest.approx(np.mean(wanted), rel=1e-12)


def test_neuraltalk_has_relu_and_tanh_by_name():
    """As the authors' imagernn/rnn_generator.py: np.maximum(Xi + Xsh[t] + prev.dot(Whh) + bhh, 0)."""
    assert build("neuraltalk").cell.nonlinearity == "relu"
    model, x = build("neuraltalk", nonlinearity="tanh", fine_tune=False), features()
    wanted = [naive_loss(model, image_vector(model, f), caption) for f, of in zip(x, CAPTIONS) for caption in of]
    assert model.loss((x, CAPTIONS), np.random.default_rng(0))[0]["words"] == pytest.approx(np.mean(wanted), rel=1e-12)
    check_model(model, (x, CAPTIONS), tolerance=1e-9)


@BOTH
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_every_gradient_of_the_whole_model(name, dropout):
    check_model(build(name, dropout=dropout), (images(), CAPTIONS), tolerance=1e-9)
    check_model(build(name, dropout=dropout), (images(), CAPTIONS), complex_step=False, tolerance=1e-5)


@BOTH
def test_a_padded_batch_is_its_sentences_one_by_one(name):
    model, x = build(name, fine_tune=False), features()
    total, together = gradients(model, (x, CAPTIONS))
    alone = [gradients(model, (x[i : i + 1], [[caption]])) for i, of in enumerate(CAPTIONS) for caption in of]
    assert total == pytest.approx(np.mean([loss for loss, _ in alone]), rel=1e-12)
    for key, grad in together.items():
        np.testing.assert_allclose(grad, np.mean([one[key] for _, one in alone], axis=0), rtol=1e-10, atol=1e-13)


@BOTH
def test_fine_tuning_is_a_switch(name):
    for fine_tune in (True, False):
        model = build(name, fine_tune=fine_tune)
        buffers = {key: a.copy() for key, a in model.encoder.state_dict().items() if "running" in key}
        _, grads = gradients(model, (images(), CAPTIONS))
        moved = any(grad.any() for key, grad in grads.items() if key.startswith("encoder."))
        changed = any((model.encoder.state_dict()[key] != a).any() for key, a in buffers.items())
        assert moved == changed == fine_tune
        assert all(p.trainable == fine_tune for p in model.encoder.parameters().values())
        assert grads["vector.linear.weight"].any() and grads["output.weight"].any()


@BOTH
def test_captions_follow_from_the_same_equations(name):
    """Each word of a greedy caption is the most probable one of `decode` on the whole sentence."""
    model = build(name)
    for of_image, found in zip(images(), model.predict(images(), max_length=6)):
        before = np.concatenate([[model.vocabulary.start], found["ids"][:-1]])
        logits, _ = model.decode(model.vector(model.encoder(of_image[None])), before[:, None], training=False)
        said = logits[:, 0].copy()
        said[:, [0, 1, 3]] = -np.inf  # never <pad>, <start>, <unk>
        np.testing.assert_array_equal(said.argmax(axis=1), found["ids"])
        assert found["caption"] == model.vocabulary.decode(found["ids"])
        assert 1 <= len(found["ids"]) <= 6


@BOTH
def test_overfits_two_images(name):
    options = {"embedding_size": 12, "hidden_size": 24, "width": 2, "vector_size": 12}
    x = images(2).astype(np.float32)
    captions = [["a red circle left of a blue square"], ["two red squares above a circle"]]
    words = Vocabulary.build(text for (text,) in captions).words
    model = vision.build(name, words, np.random.default_rng(0), **SMALL | options)
    optimiser = Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        model.zero_grad()
        losses, cache = model.loss((x, captions), np.random.default_rng(0))
        model.backward(cache)
        optimiser.step()
    assert losses["words"] < 0.1


@BOTH
def test_unknown_words_are_learned_as_unk_but_never_generated(name):
    model = build(name)
    losses, _ = model.loss((images(1), [["a purple giraffe"]]), np.random.default_rng(0))
    same, _ = model.loss((images(1), [["a zzz yyy"]]), np.random.default_rng(0))
    assert losses == same
    model.output.bias.value[model.vocabulary.unknown] = 1e6
    assert model.vocabulary.unknown not in model.predict(images(1), max_length=4)[0]["ids"]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((images(1), [[""]]), "ShowAndTell: there are no words in the caption '': leave it out"),
        ((images(1), [["!?"]]), "ShowAndTell: there are no words in the caption '!\\?'"),
        ((images(2), [["a"], []]), "ShowAndTell: each image needs a list of captions, got \\[\\]"),
        ((images(1), ["a red circle"]), "each image needs a list of captions, got 'a red circle'"),
        ((images(2), [["a"]]), "ShowAndTell: 2 images, but captions for 1"),
        ((images()[:, :2], CAPTIONS), r"Encoder: images must have shape \(N, 3, H, W\), got \(3, 2, 16, 24\)"),
        ((features(), CAPTIONS), r"Encoder: images must have shape \(N, 3, H, W\), got \(3, 8, 2, 3\)"),
    ],
)
def test_bad_batches_are_named(batch, message):
    with pytest.raises(ValueError, match=message):
        build("show_and_tell").loss(batch, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "gru"}, "cell must be 'lstm' or 'rnn', got"),
        ({"image": "always"}, "image must be 'first_input' or 'first_step'"),
        ({"encoder": "vgg"}, "encoder must be 'small_cnn' or 'squeezenet' or .* or 'efficientnet_lite0', got 'vgg'"),
        ({"encoder_weights": "w.npz"}, "encoder_weights are for encoders with published weights, got 'small_cnn'"),
        ({"colour": 1}, "there is no option 'colour'"),
        ({"hidden_size": 0}, "hidden_size must be a whole number >= 1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build("show_and_tell", **options)


def test_a_vocabulary_without_its_special_words_is_refused():
    with pytest.raises(ValueError, match="Vocabulary: words must begin with <pad>"):
        vision.build("show_and_tell", ["a", "red", "circle"])


@BOTH
def test_beam_search_finds_the_most_probable_caption(name):
    """Among all captions of up to two words, by enumeration."""
    model, x = build(name), images(1)
    vocabulary = model.vocabulary
    v = model.vector(model.encoder(x))
    best, found = -np.inf, None
    for ids in itertools.product(range(4, len(vocabulary)), repeat=2):
        for words in ([vocabulary.end], [ids[0], vocabulary.end], list(ids)):  # those of two words may go on
            before = np.array([vocabulary.start, *words[:-1]])[:, None]
            logits, _ = model.decode(v, before, training=False)
            said = model.log_probabilities(logits[:, 0])
            total = sum(said[t, word] for t, word in enumerate(words))
            best, found = max((best, found), (total, words))
    assert model.predict(x, beam_size=100, max_length=2)[0]["ids"].tolist() == found
    assert model.predict(x, beam_size=1, max_length=2)[0]["ids"].size <= 2
