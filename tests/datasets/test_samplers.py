"""Samplers: what a batch holds, seeds, the loader's resuming, and bad input by name."""

import numpy as np
import pytest

from datasets import Loader
from datasets.neighbours import across_changes, mutual, pixel_neighbours
from datasets.samplers import ClassBatches, LabelPairs, LabelTriplets, NeighbourPairs

LABELS = np.array([0, 1, 2, 0, 1, 2, 3, 3, 3, 0, 4, 4])
NEAR = mutual([[1], [2], [0], [4], [5], [3]])  # two triangles


def of_all(batches):
    return [drawn for batch in batches for drawn in batch]


def pairs(batches):
    drawn = of_all(batches)
    return list(zip(drawn[::2], drawn[1::2], strict=True))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_batch_holds_p_classes_of_k_images():
    sampler = ClassBatches(LABELS, 3, 4, batches=50)
    assert len(sampler) == 50 and len(ClassBatches(LABELS, 3, 2)) == 2
    seen = set()
    for batch in sampler.epoch(rng()):
        labels = LABELS[[drawn.index for drawn in batch]].reshape(3, 4)
        assert (labels == labels[:, :1]).all() and len(set(labels[:, 0])) == 3
        for members in np.reshape([drawn.index for drawn in batch], (3, 4)):
            assert len(set(members.tolist())) == min(4, (LABELS == LABELS[members[0]]).sum())  # twice only where few
        seen |= {drawn.index for drawn in batch}
    assert seen == set(range(12))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_pairs_by_label(share):
    drawn = pairs(LabelPairs(LABELS, 10, batches=40, similar=share).epoch(rng()))
    assert len(drawn) == 400
    for a, b in drawn:
        assert a.index != b.index and a.fields == b.fields
        assert a.fields["similar"] == (LABELS[a.index] == LABELS[b.index])
    assert np.mean([a.fields["similar"] for a, _ in drawn]) == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_pairs_of_neighbours(share):
    drawn = pairs(NeighbourPairs(NEAR, 10, batches=40, similar=share).epoch(rng()))
    for a, b in drawn:
        assert a.index != b.index and a.fields["similar"] == (b.index in NEAR[a.index])
    assert np.mean([a.fields["similar"] for a, _ in drawn]) == pytest.approx(share, abs=0.06)
    wanted = {(i, j) for i in range(6) for j in range(6) if i != j and (share == 0.5 or (i // 3 == j // 3) == share)}
    assert {(a.index, b.index) for a, b in drawn} == wanted  # every pair can be drawn


def test_triplets():
    drawn = of_all(LabelTriplets(LABELS, 5, batches=20).epoch(rng()))
    anchor, positive, negative = (LABELS[[d.index for d in drawn[k::3]]] for k in range(3))
    assert (anchor == positive).all() and (anchor != negative).all()
    assert all(a.index != p.index for a, p in zip(drawn[::3], drawn[1::3]))


class Samples:
    def __len__(self):
        return len(LABELS)

    def __getitem__(self, index):
        return {"id": f"{index}.png", "label": int(LABELS[index])}


def loaded(sampler, epoch, start=0, seed=3, workers=0):
    transform = lambda sample, rng: sample | {"drawn": rng.random()}  # noqa: E731
    loader = Loader(Samples(), 6, list, transform=transform, sampler=sampler, seed=seed, workers=workers)
    return list(loader.epoch(epoch, start))


@pytest.mark.parametrize("sampler", [
    ClassBatches(LABELS, 2, 3, batches=5), LabelPairs(LABELS, 3, batches=5), LabelTriplets(LABELS, 2, batches=5),
    NeighbourPairs(NEAR, 3, batches=5),
], ids=lambda sampler: type(sampler).__name__)  # fmt: skip
def test_the_loader_resumes_anywhere_with_the_same_bits(sampler):
    whole = loaded(sampler, 2)
    assert len(whole) == 5 and whole == loaded(sampler, 2, workers=2)
    assert all(loaded(sampler, 2, start) == whole[start:] for start in range(6))
    assert whole != loaded(sampler, 1) and whole != loaded(sampler, 2, seed=4)


def test_a_sample_that_comes_twice_is_changed_in_two_ways():
    (batch,) = loaded(ClassBatches([0, 0, 1, 1], 2, 4, batches=1), 0)
    assert len({sample["drawn"] for sample in batch}) == 8


def test_errors_of_a_batch_name_its_samples():
    sampler = LabelPairs(LABELS, 1, batches=3)
    indices = [drawn.index for drawn in sampler.epoch(np.random.default_rng([0, 1]))[2]]
    assert Loader(Samples(), 2, list, sampler=sampler).names(1, 2) == [f"{index}.png" for index in indices]


def test_neighbours_in_pixel_space():
    images = np.random.default_rng(5).integers(0, 256, (30, 4, 5)).astype(np.uint8)
    x = images.reshape(30, -1).astype(float)
    nearest = [
        sorted((j for j in range(30) if j != i), key=lambda j: ((x[i] - x[j]) ** 2).sum())[:3] for i in range(30)
    ]
    found = pixel_neighbours(images, 3)
    for i in range(30):
        assert found[i].tolist() == sorted({*nearest[i], *(j for j in range(30) if i in nearest[j])})


def test_neighbours_across_known_changes():
    graph = across_changes([[1], [0], []], 2)
    assert [each.tolist() for each in graph] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [5], [4]]


def test_bad_input():
    with pytest.raises(ValueError, match="ClassBatches: needs 6 classes, the data has 5"):
        ClassBatches(LABELS, 6, 2)
    with pytest.raises(ValueError, match="LabelPairs: the class b has one image, at least 2 are needed"):
        LabelPairs([0, 0, 1, 2, 2], 2, names="abc")
    with pytest.raises(ValueError, match="LabelTriplets: the class 7 has one image"):
        LabelTriplets([0, 0, 7], 2)
    with pytest.raises(ValueError, match="LabelPairs: needs 2 classes, the data has 1"):
        LabelPairs([3, 3, 3], 2)
    with pytest.raises(ValueError, match=r"LabelPairs: labels must be integers of shape \(N,\), got float64 \(2,\)"):
        LabelPairs([0.5, 1.0], 2)
    with pytest.raises(ValueError, match="ClassBatches: images must be at least 2, got 1"):
        ClassBatches(LABELS, 2, 1)
    with pytest.raises(ValueError, match="NeighbourPairs: sample 2 has no neighbour"):
        NeighbourPairs([[1], [0], []], 2)
    with pytest.raises(ValueError, match="NeighbourPairs: sample 0 has all other samples as neighbours"):
        NeighbourPairs([[1, 2], [0], [0]], 2)
    with pytest.raises(ValueError, match="pixel_neighbours: k must be 1 to 2 for 3 images, got 3"):
        pixel_neighbours(np.zeros((3, 4)), 3)
    with pytest.raises(ValueError, match="across_changes: there must be at least 1 form of each image, got 0"):
        across_changes([[1], [0]], 0)
