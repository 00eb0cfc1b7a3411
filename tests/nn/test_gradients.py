"""Every public layer and loss of `nn`: gradients by central differences and complex steps, and the layer contract."""

import importlib
import inspect
import pkgutil
from types import SimpleNamespace

import numpy as np
import pytest

import nn
from nn.cases import LAYERS, LOSSES, LayerCase, randomise, without_case
from nn.gradcheck import check_contract, check_layer, check_loss
from tests.registered import parameters


@pytest.mark.parametrize("complex_step", [False, True])
@pytest.mark.parametrize("owner, case", parameters(LAYERS))
def test_layer_gradients(owner, case, complex_step, monkeypatch):
    if complex_step and case.not_analytic:
        pytest.skip(case.not_analytic)
    monkeypatch.setattr(nn.config, "plain", case.plain)
    layer, tolerance = randomise(case.build()), 1e-12 if complex_step else 1e-7
    assert type(layer) is owner
    options = {"complex_step": complex_step, "training": case.training, "constants": case.constants}
    errors = check_layer(layer, *case.inputs, tolerance=tolerance, **options)
    assert errors.keys() >= layer.parameters().keys()
    assert "x" in errors or "x0" in errors or np.asarray(case.inputs[0]).dtype.kind == "i"


@pytest.mark.parametrize("owner, case", parameters(LAYERS))
def test_layer_contract(owner, case, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", case.plain)
    check_contract(randomise(case.build()), case.inputs, case.other, training=case.training)


@pytest.mark.parametrize("complex_step", [False, True])
@pytest.mark.parametrize("loss, case", parameters(LOSSES))
def test_loss_gradients(loss, case, complex_step):
    if complex_step and case.not_analytic:
        pytest.skip(case.not_analytic)
    tolerance = 1e-12 if complex_step else 1e-7
    check_loss(loss, case.prediction, *case.args, tolerance=tolerance, complex_step=complex_step, **case.options)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("loss, case", parameters(LOSSES))
def test_a_loss_of_no_samples_is_0(loss, case, plain, monkeypatch):
    monkeypatch.setattr(nn.config, "plain", plain)
    predictions = case.prediction if isinstance(case.prediction, tuple) else (case.prediction,)
    arrays = lambda x: isinstance(x, np.ndarray) and len(x) == len(predictions[0])  # noqa: E731
    args = [x[:0] if arrays(x) else x for x in (*predictions, *case.args)]
    options = {name: x[:0] if name == "weights" and arrays(x) else x for name, x in case.options.items()}
    value, gradients = loss(*args, **options)
    assert value == 0
    for gradient, x in zip(gradients if isinstance(gradients, tuple) else (gradients,), predictions):
        assert gradient.shape == (0, *x.shape[1:]) and gradient.dtype == x.dtype


@pytest.mark.parametrize("owner, case", parameters(LAYERS))
def test_inputs_come_in_two_sizes_and_no_two_dimensions_agree(owner, case):
    if owner is nn.AffineGrid:
        pytest.skip("its input is (N, 2, 3), and the size an option")
    shapes, others = ([np.shape(x) for x in inputs if x is not None] for inputs in (case.inputs, case.other))
    assert shapes != others
    long = [size for size in shapes[0] if size > 1]
    assert len(set(long)) == len(long)


@pytest.mark.parametrize("owner, cases", (LAYERS | LOSSES).items(), ids=lambda v: getattr(v, "__name__", ""))
def test_one_case_is_a_batch_of_1(owner, cases):
    assert any(1 in first_input(case).shape for case in cases.values())  # sequences have the batch behind the time


def first_input(case):
    inputs = case.inputs if isinstance(case, LayerCase) else case.prediction
    return inputs[0] if isinstance(inputs, tuple) else inputs


@pytest.mark.parametrize("owner", LAYERS)
def test_forward_is_training_by_default(owner):
    assert inspect.signature(owner.forward).parameters["training"].default is True


def test_every_public_layer_and_loss_has_a_case():
    assert without_case(nn) == []


def test_every_layer_defined_in_nn_is_public():
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(nn.__path__, "nn.")]
    layers = {v for m in modules for v in vars(m).values() if inspect.isclass(v) and issubclass(v, nn.Layer)}
    assert {layer.__name__ for layer in layers if not layer.__name__.startswith("_")} <= set(nn.__all__)


def test_a_layer_or_a_loss_without_a_case_is_noticed():
    class New(nn.Layer):
        pass

    def new_loss(prediction) -> tuple[float, np.ndarray]:
        return 0.0, np.zeros_like(prediction)

    module = SimpleNamespace(__all__=["Linear", "l2", "New", "new_loss"], Linear=nn.Linear, l2=nn.l2, New=New)
    module.new_loss = new_loss
    assert without_case(module) == ["New", "new_loss"]
    assert without_case(module, LAYERS | {New: {}}) == ["New", "new_loss"]  # an entry with no cases is none
