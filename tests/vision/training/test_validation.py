import numpy as np
import pytest

from nn import LSTM, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU, Sequential
from nn.losses.classification import softmax_cross_entropy
from vision.model import Model, Stage
from vision.training.validation import ValidationLoss, as_in_inference


class Net(Model):
    """Normalises, drops, samples, and counts its losses in a buffer."""

    buffers = ("count",)

    def __init__(self):
        super().__init__(["a", "b"], None)
        rng = np.random.default_rng(3)
        conv, drop, head = Conv2d(3, 4, 3, rng=rng), Dropout(0.5, rng=rng.spawn(1)[0]), Linear(16, 2, rng=rng)
        self.net = Sequential(conv, BatchNorm2d(4), ReLU(), drop, Flatten(), head)
        self.count = np.zeros(1, np.float32)

    def loss(self, batch, rng):
        self.count += 1
        images, labels = batch
        logits, cache = self.net.forward(images)
        value, dlogits = softmax_cross_entropy(logits, labels)
        return {"cls": value, "drawn": rng.random()}, (dlogits, cache)

    def backward(self, cache):
        self.net.backward(*cache)


class Batches:
    """Three batches; the epoch asked for is noted."""

    def __init__(self):
        self.epochs = []

    def epoch(self, number, start=0):
        self.epochs.append(number)
        for i in range(3):
            rng = np.random.default_rng([number, i])
            yield rng.standard_normal((4, 3, 4, 4), np.float32), np.array([0, 1, 1, 0])


def test_the_losses_are_those_of_inference_on_the_first_batches():
    model = Net()
    model.net.forward(np.random.default_rng(9).standard_normal((8, 3, 4, 4), np.float32))  # running statistics
    found = ValidationLoss(Batches(), 2, seed=5)(model, Stage())
    wanted = [softmax_cross_entropy(model.net(images), labels)[0] for images, labels in list(Batches().epoch(0))[:2]]
    assert found["cls"] == pytest.approx(np.mean(wanted), rel=1e-6)
    drawn = [np.random.default_rng([5, k, 0, 3]).random() for k in range(2)]
    assert found["drawn"] == pytest.approx(np.mean(drawn))


def test_the_model_is_as_before_and_the_same_again():
    model, loader = Net(), Batches()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    states = [g.bit_generator.state for g in model.generators().values()]
    validate = ValidationLoss(loader, 3, seed=0)
    assert validate(model, Stage()) == validate(model, Stage())
    assert loader.epochs == [0, 0]
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    assert [g.bit_generator.state for g in model.generators().values()] == states
    assert not model.net[1].frozen and model.net[3].p == 0.5
    assert all(not p.grad.any() for p in model.parameters().values())


def test_what_is_not_finite_is_none():
    model = Net()
    model.net[5].bias.value[:] = np.inf
    with np.errstate(invalid="ignore"):
        assert ValidationLoss(Batches(), 1, seed=0)(model, Stage())["cls"] is None


def test_an_error_leaves_the_model_as_before():
    model = Net()

    def fail():
        with as_in_inference(model):
            assert model.net[1].frozen and model.net[3].p == 0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not model.net[1].frozen and model.net[3].p == 0.5


def test_dropout_between_recurrent_layers_rests_too():
    lstm, x = LSTM(3, 4, 2, dropout=0.5), np.random.default_rng(0).standard_normal((5, 2, 3), np.float32)
    with as_in_inference(lstm):
        (y, *_), _ = lstm.forward(x)
    assert np.array_equal(y, lstm(x)[0])
    assert lstm.dropout == 0.5
