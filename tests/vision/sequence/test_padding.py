import numpy as np
import pytest

from nn.gradcheck import check_loss
from vision.sequence.padding import pad_batch, sequence_cross_entropy

LENGTHS = np.array([2, 4, 0, 3])


def batch(dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.standard_normal((4, 4, 5)).astype(dtype), rng.integers(0, 5, (4, 4))


def naive(logits, targets, lengths):
    """The sum of the step losses, one at a time."""
    total = 0.0
    for n, length in enumerate(lengths):
        for t in range(length):
            p = np.exp(logits[t, n]) / np.exp(logits[t, n]).sum()
            total -= np.log(p[targets[t, n]])
    return total


def test_pad_batch():
    ids, lengths = pad_batch([np.array([5, 6]), np.array([], int), np.array([7, 8, 9])])
    assert ids.tolist() == [[5, 0, 7], [6, 0, 8], [0, 0, 9]]
    assert lengths.tolist() == [2, 0, 3]
    assert ids.dtype == lengths.dtype == np.int64
    assert pad_batch([np.array([5]), np.array([6, 7])], pad=3)[0].tolist() == [[5, 6], [3, 7]]
    with pytest.raises(ValueError, match="pad_batch: needs at least one sequence, got none"):
        pad_batch([])


@pytest.mark.parametrize("reduction, divisor", [("sum", 1), ("sequence", 4), ("step", 9)])
def test_the_sum_over_the_real_steps(reduction, divisor):
    logits, targets = batch()
    value, dlogits = sequence_cross_entropy(logits, targets, LENGTHS, reduction)
    assert value == pytest.approx(naive(logits, targets, LENGTHS) / divisor, rel=1e-12)
    assert not dlogits[LENGTHS <= np.arange(4)[:, None]].any()
    options = {"reduction": reduction}
    check_loss(sequence_cross_entropy, logits, targets, LENGTHS, complex_step=True, tolerance=1e-12, **options)


def test_without_lengths_all_steps_count():
    logits, targets = batch()
    assert sequence_cross_entropy(logits, targets)[0] == pytest.approx(naive(logits, targets, [4] * 4) / 4, rel=1e-12)


def test_a_padded_batch_is_its_sequences_one_by_one():
    logits, targets = batch()
    value, dlogits = sequence_cross_entropy(logits, targets, LENGTHS, "sum")
    alone = [
        sequence_cross_entropy(logits[:length, n : n + 1], targets[:length, n : n + 1], reduction="sum")
        for n, length in enumerate(LENGTHS)
    ]
    assert value == pytest.approx(sum(v for v, _ in alone), rel=1e-12)
    for n, (_, d) in enumerate(alone):
        np.testing.assert_allclose(dlogits[: LENGTHS[n], n : n + 1], d, rtol=1e-12)


def test_values_in_the_padding_do_not_matter():
    logits, targets = batch(np.float32)
    value, dlogits = sequence_cross_entropy(logits, targets, LENGTHS)
    assert dlogits.dtype == np.float32
    logits[LENGTHS <= np.arange(4)[:, None]] = 99
    targets[LENGTHS <= np.arange(4)[:, None]] = 99
    other, dother = sequence_cross_entropy(logits, targets, LENGTHS)
    assert other == value
    np.testing.assert_array_equal(dother, dlogits)


def test_no_real_step_at_all():
    logits, targets = batch()
    for reduction in ("sum", "sequence", "step"):
        value, dlogits = sequence_cross_entropy(logits, targets, np.zeros(4, int), reduction)
        assert value == 0
        assert not dlogits.any()


def test_bad_input():
    logits, targets = batch()
    with pytest.raises(
        ValueError, match=r"sequence_cross_entropy: targets must be whole numbers of shape \(4, 4\), got int64 \(3, 4\)"
    ):
        sequence_cross_entropy(logits, targets[:3])
    with pytest.raises(
        ValueError, match=r"sequence_cross_entropy: lengths must be whole numbers of shape \(4,\), got int64 \(3,\)"
    ):
        sequence_cross_entropy(logits, targets, LENGTHS[:3])
    with pytest.raises(ValueError, match=r"lengths must be whole numbers of shape \(4,\), got float64 \(4,\)"):
        sequence_cross_entropy(logits, targets, LENGTHS * 1.0)
    with pytest.raises(ValueError, match="reduction must be 'sequence', 'step' or 'sum', got 'mean'"):
        sequence_cross_entropy(logits, targets, LENGTHS, "mean")
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 5\).*got 7"):
        sequence_cross_entropy(logits, targets * 0 + 7)
