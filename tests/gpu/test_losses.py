"""Losses by their kernels: only the value is copied to the CPU, and bad arguments are still refused."""

import numpy as np
import pytest

import nn
from nn.gpu import kernels as cuda
from tests.cupy_stand_in import kernels, no_transfers

RNG = np.random.default_rng(7)
LOGITS, LABELS = RNG.standard_normal((3, 4, 5)), RNG.integers(0, 4, (3, 5))
ROWS = RNG.standard_normal((4, 6)), RNG.standard_normal((4, 6)), RNG.standard_normal((4, 6))
WEIGHTS = np.array([1.0, 0.5, -1, 2])
REFUSED = [  # loss, arguments with a bad one, options
    (nn.softmax_cross_entropy, (LOGITS, np.where(LABELS == 2, 4, LABELS)), {}),
    (nn.softmax_cross_entropy, (LOGITS, np.where(LABELS == 2, -2, LABELS)), {"reduction": "sum"}),
    (nn.softmax_cross_entropy, (LOGITS, LABELS), {"class_weights": WEIGHTS, "label_smoothing": 0.1}),
    (nn.softmax_cross_entropy, (LOGITS, np.zeros_like(LABELS)), {"class_weights": WEIGHTS}),
    (nn.multiclass_hinge, (LOGITS, np.where(LABELS == 2, 4, LABELS)), {}),
    (nn.multiclass_hinge, (LOGITS, np.zeros_like(LABELS)), {"class_weights": WEIGHTS}),
    (nn.binary_cross_entropy_with_logits, (LOGITS, np.full(LOGITS.shape, 1.5)), {}),
    (nn.binary_cross_entropy_with_logits, (LOGITS, np.full(LOGITS.shape, np.nan)), {}),
    (nn.smooth_l1, ROWS[:2], {"weights": WEIGHTS[:, None]}),
    (nn.l1, ROWS[:2], {"weights": np.array([[np.inf]]), "reduction": "sum"}),
    (nn.l2, ROWS[:2], {"weights": np.array([[np.nan]]), "normaliser": 2.0}),
    (nn.hinge, (LOGITS, np.zeros(LOGITS.shape)), {}),
    (nn.hinge, (LOGITS, np.full(LOGITS.shape, 0.5)), {"squared": True}),
    (nn.contrastive, (*ROWS[:2], np.array([0, 1, 2, 1])), {}),
    (nn.contrastive, (*ROWS[:2], np.array([0, 1, 1, 1])), {"weights": WEIGHTS}),
    (nn.triplet, ROWS, {"weights": WEIGHTS}),
]
LARGE = [  # blocks that share a row, several blocks, and more elements than a block has threads
    (nn.softmax_cross_entropy, (2 * RNG.standard_normal((5, 600)), RNG.integers(-1, 600, 5)), {}),
    (nn.softmax_cross_entropy, (RNG.standard_normal((3, 40)), RNG.integers(0, 40, 3)), {"label_smoothing": 0.2}),
    (
        nn.softmax_cross_entropy,
        (RNG.standard_normal((2, 5, 20, 17)), RNG.integers(-1, 5, (2, 20, 17))),
        {"class_weights": RNG.uniform(size=5), "label_smoothing": 0.1},
    ),
    (nn.multiclass_hinge, (RNG.standard_normal((3, 300)), RNG.integers(0, 300, 3)), {"squared": True}),
    (nn.multiclass_hinge, (RNG.standard_normal((2, 4, 300)), RNG.integers(-1, 4, (2, 300))), {}),
    (nn.smooth_l1, (RNG.standard_normal((100, 6)), np.zeros((100, 6))), {"weights": RNG.uniform(size=(100, 1))}),
    (nn.contrastive, (*RNG.standard_normal((2, 3, 300)), np.array([True, False, True])), {"margin": 30.0}),
    (nn.triplet, tuple(RNG.standard_normal((3, 2, 300))), {"margin": 9.0, "squared": False}),
]


def names(cases):
    return [f"{loss.__name__}-{i}" for i, (loss, *_) in enumerate(cases)]


@pytest.mark.parametrize("loss, arrays, options", REFUSED, ids=names(REFUSED))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bad_arguments_of_a_loss_are_the_cpu_s_error(device, loss, arrays, options, dtype):
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    with pytest.raises(ValueError) as on_cpu:  # noqa: PT011  (the message is what is compared)
        loss(*arrays, **options)
    with pytest.raises(ValueError) as on_gpu:  # noqa: PT011
        loss(*nn.to_device(arrays, "gpu"), **nn.to_device(options, "gpu"))
    assert str(on_gpu.value) == str(on_cpu.value)


@pytest.mark.parametrize("loss, arrays, options", LARGE, ids=names(LARGE))
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_large_losses_give_the_results_of_the_cpu(device, loss, arrays, options, dtype, tolerance, monkeypatch):
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    value, gradient = loss(*arrays, **options)
    on_gpu, options = nn.to_device((arrays, options), "gpu")
    before = cuda.launches
    with no_transfers("unless_nan"):
        got, gradients = loss(*on_gpu, **options)
    assert 1 <= cuda.launches - before <= 2
    assert isinstance(got, float) and abs(got - value) <= tolerance * abs(value)
    pairs = zip(gradients, gradient) if isinstance(gradient, tuple) else [(gradients, gradient)]
    for a, b in pairs:
        assert a.dtype == dtype
        np.testing.assert_allclose(device.asnumpy(a), b, rtol=0, atol=tolerance * abs(b).max())
    monkeypatch.setattr(kernels, "reversed_threads", True)
    again, gradients_again = loss(*on_gpu, **options)
    assert again == got
    if isinstance(gradient, np.ndarray):
        assert (gradients_again == gradients).all()


def test_bad_shapes_kinds_and_options_are_refused_before_anything_is_computed(device):
    logits, labels = nn.to_device((LOGITS, LABELS), "gpu")
    before = cuda.launches
    with pytest.raises(ValueError, match=r"labels must have shape \(3, 5\) for logits \(3, 4, 5\), got \(5,\)"):
        nn.softmax_cross_entropy(logits, labels[0])
    with pytest.raises(TypeError, match="labels must be an array of integers, got float64"):
        nn.softmax_cross_entropy(logits, labels * 1.0)
    with pytest.raises(ValueError, match=r"class_weights must have shape \(4,\), one per class, got \(3,\)"):
        nn.softmax_cross_entropy(logits, labels, class_weights=device.ones(3))
    with pytest.raises(ValueError, match="reduction must be"):
        nn.l2(logits, logits, reduction="none")
    with pytest.raises(ValueError, match="hinge: normaliser must be a number of at least 0, got -1"):
        nn.hinge(logits, logits, normaliser=-1, squared=True)
    with pytest.raises(ValueError, match=r"weights must broadcast to \(3, 4, 5\), got \(3,\)"):
        nn.smooth_l1(logits, logits, weights=device.ones(3))
    assert cuda.launches == before


def test_nan_logits_give_nan_as_on_the_cpu(device):
    logits = LOGITS.copy()
    logits[1, 2, 3] = np.nan
    value, gradient = nn.softmax_cross_entropy(*nn.to_device((logits, LABELS), "gpu"))
    assert np.isnan(value)
    on_cpu = nn.softmax_cross_entropy(logits, LABELS)[1]
    np.testing.assert_array_equal(np.isnan(device.asnumpy(gradient)), np.isnan(on_cpu))


def test_nothing_counts_and_empty_arrays(device):
    logits, ignored = nn.to_device((LOGITS, np.full_like(LABELS, -1)), "gpu")
    for loss in (nn.softmax_cross_entropy, nn.multiclass_hinge):
        for s, y in ((logits, ignored), (logits[:0], ignored[:0]), (logits[:, :, :0], ignored[:, :0])):
            value, gradient = loss(s, y)
            assert value == 0 and gradient.shape == s.shape and not device.asnumpy(gradient).any()
    assert nn.l2(logits[:0], logits[:0])[0] == 0
    value, gradient = nn.l1(logits, logits + 1, weights=device.zeros((1, 1, 1)))
    assert value == 0 and not device.asnumpy(gradient).any()


def test_labels_of_other_integers_and_arrays_that_are_not_contiguous(device):
    value, gradient = nn.softmax_cross_entropy(LOGITS, LABELS)
    logits, labels = nn.to_device((LOGITS.transpose(2, 1, 0).copy(), LABELS.T.astype(np.uint8).copy()), "gpu")
    got, gradients = nn.softmax_cross_entropy(logits.transpose(2, 1, 0), labels.T)
    assert got == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(device.asnumpy(gradients), gradient, rtol=0, atol=1e-13)


@pytest.mark.parametrize("loss", [nn.softmax_cross_entropy, nn.multiclass_hinge])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("classes", [4, 40])  # a thread and a block for each position
def test_scores_at_ignored_positions_do_not_count(device, loss, bad, classes):
    scores, labels = RNG.standard_normal((5, classes)), np.array([0, -1, 2, -1, 3])
    wanted, gradient = loss(scores, labels)
    scores[[1, 3]] = bad
    on_gpu = nn.to_device((scores, labels), "gpu")
    with no_transfers("unless_nan"):  # by the kernel, not by the textbook after a value of NaN
        value, found = loss(*on_gpu)
    assert value == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(device.asnumpy(found), gradient, atol=1e-12)
