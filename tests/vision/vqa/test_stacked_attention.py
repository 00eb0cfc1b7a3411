import numpy as np
import pytest

import vision
from datasets import ShapesQuestions
from nn.gradcheck import check_layer, check_model
from nn.optim.adaptive import Adam
from vision.sequence import Vocabulary
from vision.vqa.stacked_attention import SHARPNESS, StackedAttention, StackedAttentionVQA, cell_positions

DATA = ShapesQuestions(4, (32, 48), seed=8)
CLASSES = [*DATA.answers, *Vocabulary.build(list(DATA.words)).words]
SMALL = {"width": 1, "embedding_size": 3, "hidden_size": 5, "attention_size": 4}


def build(classes=CLASSES, **options):
    """A small model whose biases are not zero."""
    rng = np.random.default_rng(3)
    model = vision.build("stacked_attention_vqa", classes, rng, **SMALL | options)
    for name, parameter in model.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.1 * rng.standard_normal(parameter.value.shape)
    return model


def batch_of(*indices, dtype=np.float64):
    samples = [DATA[i] for i in indices]
    images = np.stack([sample["image"] for sample in samples]).transpose(0, 3, 1, 2).astype(dtype)
    return (images - 120) / 64, [sample["questions"] for sample in samples], [sample["answers"] for sample in samples]


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def test_stacked_attention_by_the_papers_equations():
    """One question at a time, by eq. 15 to 22."""
    rng = np.random.default_rng(0)
    layer = StackedAttention(5, 4, hops=2, rng=rng).astype(np.float64)
    queries, keys, counts = rng.standard_normal((3, 5)), rng.standard_normal((2, 6, 5)), np.array([1, 2])
    u, weights = layer(queries, keys, counts)
    assert u.shape == (3, 5)
    assert weights.shape == (2, 3, 6)
    for m, image in enumerate((0, 1, 1)):
        state, v_image = queries[m], keys[image]
        for k, hop in enumerate(layer.hops):
            w_image, w_question, w_p = hop.weight_key.value, hop.weight_query.value, hop.weight_score.value
            h = np.tanh(v_image @ w_image.T + (w_question @ state + hop.bias.value))
            p = softmax(h @ w_p)
            state = p @ v_image + state
            np.testing.assert_allclose(weights[k, m], p, rtol=1e-12)
        np.testing.assert_allclose(u[m], state, rtol=1e-12)


def test_the_hops_start_sharp():
    """W_P is uniform in (-SHARPNESS / sqrt(A), SHARPNESS / sqrt(A)), the others as in AdditiveAttention."""
    layer = StackedAttention(5, 400, rng=np.random.default_rng(0))
    for hop in layer.hops:
        np.testing.assert_allclose(abs(hop.weight_score.value).max(), SHARPNESS / 20, rtol=0.05)
        np.testing.assert_allclose(abs(hop.weight_key.value).max(), 1 / np.sqrt(5), rtol=0.05)


@pytest.mark.parametrize(("complex_step", "tolerance"), [(True, 1e-12), (False, 1e-7)])
def test_gradients_of_stacked_attention(complex_step, tolerance):
    class Alone(StackedAttention):  # weights are for pictures and have no gradient
        def forward(self, queries, keys, training=True):
            (u, _), cache = super().forward(queries, keys, np.array([2, 1, 3]), training)
            return u, cache

        def backward(self, dy, cache):
            return super().backward((dy, None), cache)[:2]

    rng = np.random.default_rng(1)
    layer = Alone(4, 5, hops=3, rng=rng)
    inputs = rng.standard_normal((6, 4)), rng.standard_normal((3, 7, 4))
    check_layer(layer, *inputs, tolerance=tolerance, complex_step=complex_step)


@pytest.mark.parametrize("options", [{}, {"coordinates": False, "hops": 1}])
def test_gradients_of_the_whole_model(options):
    model = build(**options)
    errors = check_model(model, batch_of(0, 1), tolerance=1e-9, complex_step=True)
    assert errors.keys() == model.parameters().keys()


def test_questions_in_one_batch_are_independent():
    """Padded to one length, about several images: the same as one by one. (Batch statistics are the images' own.)"""
    model, (images, questions, _) = build().astype(np.float64), batch_of(0, 1, 2)
    probabilities, weights = model.predict(images, questions)
    m = 0
    for i, of_image in enumerate(questions):
        for question in of_image:
            alone, alone_weights = model.predict(images[i : i + 1], [[question]])
            np.testing.assert_allclose(probabilities[m], alone[0], rtol=1e-10)
            np.testing.assert_allclose(weights[:, m], alone_weights[:, 0], rtol=1e-10)
            m += 1
    assert m == len(probabilities)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(weights.sum(axis=(2, 3)), 1)


def test_the_loss_is_the_mean_over_the_questions():
    """Loss and gradients equal those of the questions one by one, each with its image."""
    model, (images, questions, answers) = build().astype(np.float64), batch_of(3)
    losses, cache = model.loss((images, questions, answers), None)
    model.backward(cache)
    together = {name: parameter.grad.copy() for name, parameter in model.parameters().items()}
    model.zero_grad()
    singles = []
    for question, answer in zip(questions[0], answers[0]):
        loss, cache = model.loss((images, [[question]], [[answer]]), None)
        model.backward(cache)
        singles.append(loss["answer"])
    assert losses["answer"] == pytest.approx(np.mean(singles))
    for name, parameter in model.parameters().items():
        np.testing.assert_allclose(parameter.grad / len(singles), together[name], rtol=1e-8, atol=1e-12)


def test_cell_positions():
    like = np.zeros(1, np.float32)
    expected = [[-1, -0.5], [0, -0.5], [1, -0.5], [-1, 0.5], [0, 0.5], [1, 0.5]]
    np.testing.assert_array_equal(cell_positions(2, 3, like), expected)
    assert cell_positions(2, 3, like).dtype == np.float32


def test_it_learns_two_scenes():
    model, batch = build(width=4, hidden_size=24, attention_size=16, embedding_size=8), batch_of(0, 1, dtype=np.float32)
    optimiser = Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        model.zero_grad()
        losses, cache = model.loss(batch, None)
        model.backward(cache)
        optimiser.step()
    assert losses["answer"] < 0.05
    assert all(parameter.value.dtype == np.float32 for parameter in model.parameters().values())


def test_checkpoints_hold_the_whole_model():
    model = build()
    again = vision.build(**model.config)
    again.load_state_dict(model.state_dict())
    images, questions, _ = batch_of(0, dtype=np.float32)
    np.testing.assert_array_equal(again.predict(images, questions)[0], model.predict(images, questions)[0])
    assert again.answers == DATA.answers
    assert model.config["hops"] == 2


def test_unknown_words_are_unk():
    model, (images, _, _) = build(), batch_of(0, dtype=np.float32)
    first, second = (model.predict(images, [[text]])[0] for text in ("where is Wally", "where is <unk>"))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"questions": [["how many"], []]}, r"questions\[1\] must be a list of at least one question, got \[\]"),
        (
            {"questions": ["how many", ["is"]]},
            r"questions\[0\] must be a list of at least one question, got 'how many'",
        ),
        ({"questions": [["?!"], ["is"]]}, r"a question must have words, got '\?!'"),
        ({"answers": [["maybe"], ["red"]]}, "answers are 0, 1, .*triangle; got 'maybe'"),
        ({"answers": [["red"], ["red", "red"]]}, "each question needs one answer, got more or fewer"),
        ({"questions": [["is"]], "answers": [["yes"]]}, "got 2 images, but questions about 1"),
    ],
)
def test_bad_batches(change, message):
    images = batch_of(0, 1, dtype=np.float32)[0]
    given = {"questions": [["is there"], ["what"]], "answers": [["yes"], ["red"]]} | change
    with pytest.raises(ValueError, match=f"StackedAttentionVQA: {message}"):
        build().loss((images, given["questions"], given["answers"]), None)


@pytest.mark.parametrize("classes", [["red", "blue"], Vocabulary.build(["red"]).words])
def test_classes_are_answers_and_then_words(classes):
    with pytest.raises(
        ValueError, match="StackedAttentionVQA: classes must be answers, then the words of a Vocabulary"
    ):
        build(classes)


def test_options_are_known():
    with pytest.raises(ValueError, match="stacked_attention_vqa: there is no option 'depth'"):
        build(depth=3)
    assert isinstance(build(), StackedAttentionVQA)
