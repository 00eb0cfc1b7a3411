"""A few samples of each class."""

import numpy as np
import pytest

from datasets import FewOfEach
from datasets.listing import Listed, fingerprint


class Numbers(list):
    """Samples of two classes, and how many of them were read."""

    classes, read = ("even", "odd"), 0

    def __getitem__(self, index):
        self.read += 1
        return {"id": str(index), "label": index % 2}

    def listing(self):
        return (Listed(str(k), (1, 1)) for k in range(len(self)))


def ids(data):
    return [data[k]["id"] for k in range(len(data))]


def test_so_many_of_each_class_and_fewer_are_a_part():
    data = Numbers(range(20))
    three, five = FewOfEach(data, 3, seed=1), FewOfEach(data, 5, seed=1)
    assert [int(k) % 2 for k in ids(three)] == [0, 0, 0, 1, 1, 1]
    assert len(set(ids(five))) == 10
    assert set(ids(three)) < set(ids(five))
    assert ids(five) != ids(FewOfEach(data, 5, seed=2))
    assert three.counts == {"even": 3, "odd": 3}
    assert [row.id for row in three.listing()] == ids(three)
    assert fingerprint(three) != fingerprint(five)


def test_known_labels_spare_reading():
    data = Numbers(range(8))
    data.labels = np.arange(8) % 2
    FewOfEach(data, 4)
    assert data.read == 0


@pytest.mark.parametrize(
    "n, message", [(0, "n must be at least 1, got 0"), (3, "there are 2 training images of 'odd', 3 of each")]
)
def test_refusals(n, message):
    with pytest.raises(ValueError, match=message):
        FewOfEach(Numbers(range(5)), n)


def test_images_without_a_label():
    class Boxes(Numbers):
        def __getitem__(self, index):
            return {"id": "scene"}

    with pytest.raises(ValueError, match="sample scene: has no label"):
        FewOfEach(Boxes(range(2)), 1)
