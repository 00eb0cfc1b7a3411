"""Show, Attend and Tell: the paper's equations step by step, gradients, padding, attention, REINFORCE."""

import itertools

import numpy as np
import pytest

import vision
from nn import read_checkpoint, write_checkpoint
from nn.gradcheck import check_model, differentiate
from vision.captioning.hard_attention import Sampled, log_likelihood, sample, see_sampled
from vision.captioning.show_attend_tell import doubly_stochastic, parts
from vision.sequence import Vocabulary
from vision.training.saving import load_model

CAPTIONS = [["a red circle"], ["a blue square left of a red circle", "one blue square"], ["circle"]]
WORDS = Vocabulary.build([caption for of_image in CAPTIONS for caption in of_image]).words
SMALL = {"width": 1, "embedding_size": 3, "hidden_size": 4, "attention_size": 5}
SOFT, HARD = "show_attend_tell_soft", "show_attend_tell_hard"
BOTH = pytest.mark.parametrize("name", [SOFT, HARD])


def build(name=SOFT, **options):
    """A small model in float64 whose attention is far from uniform."""
    model = vision.build(name, WORDS, np.random.default_rng(3), **SMALL | options).astype(np.float64)
    rng = np.random.default_rng(4)
    for key, parameter in model.decoder.parameters().items():
        parameter.value += 0.5 * rng.standard_normal(parameter.value.shape) * (key != "embedding.weight")
    return model


def images(n=3, seed=1):
    return np.random.default_rng(seed).standard_normal((n, 3, 16, 24))


def features(n=3, seed=1, size=(2, 3)):
    return np.random.default_rng(seed).standard_normal((n, 8, *size))


def gradients(model, batch, sampled=None):
    model.zero_grad()
    losses, cache = model.loss(batch, np.random.default_rng(0), **({"sampled": sampled} if sampled else {}))
    model.backward(cache)
    return losses, {name: p.grad.copy() for name, p in model.parameters().items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(z):
    return np.exp(z) / np.exp(z).sum()


def naive(model, of_image, caption, see):
    """(log p of each word, weights of each step) of one sentence, by the paper's equations; see as the decoder's."""
    d = model.decoder
    p = {name: parameter.value for name, parameter in d.parameters().items()}
    a = np.array([of_image[:, y, x] for y in range(of_image.shape[1]) for x in range(of_image.shape[2])])
    h = np.tanh(p["first_h.0.weight"] @ a.mean(0) + p["first_h.0.bias"])
    c = np.tanh(p["first_c.0.weight"] @ a.mean(0) + p["first_c.0.bias"])
    log_p, every = [], []
    ids = model.vocabulary.encode(caption, start=True, end=True)
    for t, (before, after) in enumerate(itertools.pairwise(ids)):
        e = [
            p["attention.weight_score"]
            @ np.tanh(p["attention.weight_query"] @ h + p["attention.bias"] + p["attention.weight_key"] @ part)
            for part in a
        ]
        every.append(softmax(np.array(e)))
        beta = 1 if d.gate is None else sigmoid(p["gate.0.weight"] @ h + p["gate.0.bias"])
        z = beta * (see(t, every[-1]) @ a)
        word = p["embedding.weight"][before]
        gates = p["cell.weight_ih"] @ np.concatenate([word, z]) + p["cell.weight_hh"] @ h
        i, f, o, g = np.split(gates + p["cell.bias_ih"] + p["cell.bias_hh"], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        deep = word + p["from_h.weight"] @ h + p["from_h.bias"] + p["from_z.weight"] @ z
        deep = np.tanh(deep) if model.options.readout == "tanh" else deep
        log_p.append(np.log(softmax(p["output.weight"] @ deep + p["output.bias"])[after]))
    return np.array(log_p), np.array(every)


def each_sentence(x):
    return [(f, caption) for f, of_image in zip(x, CAPTIONS) for caption in of_image]


@pytest.mark.parametrize("gate, readout", [(True, "linear"), (False, "linear"), (True, "tanh")])
def test_soft_loss_is_the_papers_equations_step_by_step(gate, readout):
    model, x = build(gate=gate, readout=readout, fine_tune=False, lambda_penalty=0.7), features()
    alone = [naive(model, f, caption, lambda t, weights: weights) for f, caption in each_sentence(x)]
    losses, _ = model.loss((x, CAPTIONS), np.random.default_rng(0))
    assert losses["words"] == pytest.approx(np.mean([-log_p.sum() for log_p, _ in alone]), rel=1e-12)
    penalty = [0.7 * ((1 - weights.sum(axis=0)) ** 2).sum() for _, weights in alone]
    assert losses["penalty"] == pytest.approx(np.mean(penalty), rel=1e-12)


def test_hard_loss_is_the_papers_equations_step_by_step():
    model, x = build(HARD, fine_tune=False, lambda_r=1.0, lambda_e=0.3), features()
    losses, cache = model.loss((x, CAPTIONS), np.random.default_rng(0))
    words, reinforce, entropy = [], [], []
    for n, (f, caption) in enumerate(each_sentence(x)):
        locations, expected = cache.sampled.locations[:, n], cache.sampled.expected[n, 0]
        log_p, weights = naive(model, f, caption, lambda t, w, e=expected, s=locations: w if e else np.eye(6)[s[t]])
        words.append(-log_p.sum())
        log_s = np.log(weights[np.arange(len(weights)), locations[: len(weights)]]).sum()
        reinforce.append(0 if expected else -log_p.sum() * log_s)  # lambda_r = 1; b = 0 before the first batch
        entropy.append(0.3 * (weights * np.log(weights)).sum())
    assert 0 < cache.sampled.expected.sum() < 4, "the seed should give both kinds"
    wanted = {"words": np.mean(words), "reinforce": np.mean(reinforce), "entropy": np.mean(entropy)}
    assert losses == pytest.approx(wanted, rel=1e-12)
    assert model.baseline[0] == pytest.approx(0.1 * -np.mean(words))


@BOTH
@pytest.mark.parametrize("options", [{}, {"gate": False}, {"dropout": 0.4}, {"fine_tune": False}, {"readout": "tanh"}])
def test_every_gradient_of_the_whole_model(name, options):
    own = {"lambda_penalty": 0.7} if name == SOFT else {"lambda_e": 0.3, "lambda_r": 0.8}
    check_model(build(name, **options, **own), (images(), CAPTIONS), tolerance=1e-9)


@BOTH
def test_a_padded_batch_is_its_sentences_one_by_one(name):
    model, x = build(name, fine_tune=False), features()
    sampled = None
    if name == HARD:
        sampled = model.loss((x, CAPTIONS), np.random.default_rng(0))[1].sampled
    losses, together = gradients(model, (x, CAPTIONS), sampled)
    alone = []
    for n, (f, caption) in enumerate(each_sentence(x)):
        steps = len(caption.split()) + 1
        own = sampled and Sampled(
            sampled.locations[:steps, n : n + 1], sampled.expected[n : n + 1], sampled.advantage[n : n + 1]
        )
        alone.append(gradients(model, (f[None], [[caption]]), own))
    assert losses == pytest.approx({key: np.mean([one[key] for one, _ in alone]) for key in losses}, rel=1e-12)
    for key, grad in together.items():
        np.testing.assert_allclose(grad, np.mean([one[key] for _, one in alone], axis=0), rtol=1e-9, atol=1e-13)


@BOTH
def test_fine_tuning_is_a_switch(name):
    for fine_tune in (True, False):
        _, grads = gradients(build(name, fine_tune=fine_tune), (images(), CAPTIONS))
        assert any(grad.any() for key, grad in grads.items() if key.startswith("encoder.")) == fine_tune


def test_the_doubly_stochastic_penalty():
    """Two parts, two steps, the second sentence one step long: (1 - 1.2)^2 + (1 - 0.8)^2 and (1 - 0.9)^2 + 0.9^2."""
    weights = np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.7, 0.3], [0.4, 0.6]]])
    value, gradient = doubly_stochastic(weights, np.array([2, 1]), 3.0)
    assert value == pytest.approx(3 * (0.08 + 0.82) / 2)
    np.testing.assert_allclose(gradient, 3 * np.array([[[0.2, -0.2], [-0.1, -0.9]], [[0.2, -0.2], [0, 0]]]))


@BOTH
def test_each_word_has_its_attention(name):
    model = build(name)
    for of_image, found in zip(images(), model.predict(images(), max_length=6)):
        assert found["attention"].shape == (len(found["ids"]), 2, 3)
        np.testing.assert_allclose(found["attention"].sum(axis=(1, 2)), 1)
        see = (lambda t, w: w) if name == SOFT else (lambda t, w: np.eye(6)[w.argmax()])
        text = model.vocabulary.decode(found["ids"])
        _, weights = naive(model, model.encoder(of_image[None])[0], text, see)
        steps = len(text.split())
        np.testing.assert_allclose(found["attention"].reshape(-1, 6)[:steps], weights[:steps], rtol=1e-6)


def test_hard_attention_in_inference_takes_the_most_probable_part():
    seen, through = build(HARD).see(0, np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]))
    np.testing.assert_array_equal(seen, [[0, 1, 0], [1, 0, 0]])
    assert through == 0


def test_locations_are_drawn_with_the_probabilities_of_the_weights():
    weights = np.tile([0.1, 0.0, 0.6, 0.3], (20_000, 1))
    counts = np.bincount(sample(weights, np.random.default_rng(0)), minlength=4)
    np.testing.assert_allclose(counts / 20_000, weights[0], atol=0.012)
    assert counts[1] == 0


def test_the_mean_of_reinforce_is_the_gradient_of_the_expectation():
    """2 steps, 3 locations: the sum over all 9 sequences of p(s) times the estimate is exactly dE[-log p(y | s)].

    A baseline changes the estimates but not their mean. The gradient of the expectation is taken by complex step.
    """
    model, x = build(HARD, fine_tune=False, lambda_r=1.0, lambda_e=0.0, expected=0.0), features(1, size=(1, 3))
    ids = model.vocabulary.encode("circle", start=True, end=True)[:, None]
    sequences = [np.array(s)[:, None] for s in itertools.product(range(3), repeat=2)]
    never = np.zeros((1, 1), bool)

    def probability_and_log_p(locations):
        see = see_sampled(Sampled(locations, never, None), None)
        (logits, weights), _ = model.decoder.forward(parts(x), ids[:-1], see)
        p = weights[0, 0, locations[0, 0]] * weights[1, 0, locations[1, 0]]
        return p, log_likelihood(logits, ids[1:], np.array([2]))[0]

    def estimate(locations, baseline):
        model.baseline[...] = baseline
        return gradients(model, (x, [["circle"]]), Sampled(locations, never, None))[1]

    p, log_p = zip(*map(probability_and_log_p, sequences))
    assert sum(p) == pytest.approx(1)
    assert np.ptp(log_p) > 0.1, "where one looks should matter"
    estimates = {b: [estimate(locations, b) for locations in sequences] for b in (0.0, -3.0)}

    def expected_loss():
        return -sum(p * log_p for p, log_p in map(probability_and_log_p, sequences))

    model.astype(np.complex128)
    for key, parameter in model.decoder.parameters().items():
        wanted = differentiate(expected_loss, parameter.value, complex_step=True)
        for every in estimates.values():
            mean = sum(one * grads[f"decoder.{key}"] for one, grads in zip(p, every))
            np.testing.assert_allclose(mean, wanted, rtol=1e-9, atol=1e-12, err_msg=key)


def test_the_baseline_is_a_moving_average_and_part_of_a_checkpoint(tmp_path):
    model, rng, b = build(HARD), np.random.default_rng(5), 0.0
    for _ in range(3):
        losses, _ = model.loss((images(), CAPTIONS), rng)
        b = 0.9 * b - 0.1 * losses["words"]
        assert model.baseline[0] == pytest.approx(b)
    arrays = {f"model/{name}": array for name, array in model.state_dict().items()}
    write_checkpoint(tmp_path / "c.npz", arrays, {"model": model.config})
    assert "model/baseline" in read_checkpoint(tmp_path / "c.npz")[0]
    assert load_model(tmp_path / "c.npz")[0].baseline[0] == np.float32(model.baseline[0])


def test_images_in_expectation_have_no_reinforce_term():
    losses, cache = build(HARD, expected=1.0).loss((images(), CAPTIONS), np.random.default_rng(0))
    assert cache.sampled.expected.all()
    assert losses["reinforce"] == 0


@BOTH
def test_beams_captions_and_bad_input(name):
    model = build(name)
    with pytest.raises(ValueError, match="there are no words in the caption"):
        model.loss((images(1), [[" "]]), np.random.default_rng(0))
    with pytest.raises(ValueError, match="each image needs a list of captions"):
        model.loss((images(1), [[]]), np.random.default_rng(0))
    losses, _ = model.loss((images(1), [["a giraffe"]]), np.random.default_rng(0))
    assert np.isfinite(list(losses.values())).all()
