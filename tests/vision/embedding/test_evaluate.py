"""What is measured of an embedder, with a model whose vectors are known."""

import numpy as np
import pytest

from nn.losses.mining import squared_distances
from vision.embedding import draw
from vision.embedding import evaluate as module
from vision.embedding.draw import draw_map, draw_retrieval, spread_out, thumbnail, upright
from vision.embedding.evaluate import Embedded, embed_all, embedding_table, evaluate_embedder, forms_around, spread
from vision.embedding.task import draw_embedder, flattened, retrieval_sheet

RNG = np.random.default_rng(83)


class Pixel:
    """The vector of an image is its first pixel."""

    def embeddings(self, images):
        return np.array([image[0, 0] for image in images], np.float64)

    def similarity(self, x, y):
        return -squared_distances(x, y)


class Samples:
    def __init__(self, samples, gallery=None):
        self.samples, self.gallery, self.classes = samples, gallery, ("a", "b", "c")

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def sample(value, label, **more):
    return {"id": f"{value}", "image": np.full((4, 5, 3), value, np.uint8), "label": label, **more}


def test_each_image_against_all_others(monkeypatch):
    monkeypatch.setattr(module, "QUERIES", 2)
    data = Samples([sample(0, 0), sample(1, 0), sample(10, 1), sample(12, 0), sample(13, 1)])
    found = evaluate_embedder(Pixel(), data)
    # nearest of 0 is 1 (right), of 1 is 0 (right), of 10 is 12 (wrong), of 12 is 13 (wrong), of 13 is 12 (wrong)
    assert found["accuracy"] == pytest.approx(2 / 5) and found["error"] == pytest.approx(3 / 5)
    assert found["recall"] == {"1": pytest.approx(0.4), "2": pytest.approx(0.8), "4": 1.0, "8": 1.0}
    assert 0 <= found["auc"] <= 1 and found["gallery"] == 5 and "NMI" in embedding_table(found)


def test_against_a_gallery_of_its_own():
    gallery = Samples([sample(0, 0), sample(9, 1)])
    found = evaluate_embedder(Pixel(), Samples([sample(1, 0), sample(8, 1), sample(2, 1)], gallery))
    assert found["accuracy"] == pytest.approx(2 / 3) and found["gallery"] == 2


def test_one_shot_runs_look_at_their_own_supports_alone():
    runs = [sample(0, 0, run=0, support=True), sample(20, 1, run=0, support=True), sample(2, 0, run=0, support=False)]
    runs += [sample(3, 2, run=1, support=True), sample(9, 3, run=1, support=True), sample(1, 3, run=1, support=False)]
    found = evaluate_embedder(Pixel(), Samples(runs))
    assert found["runs"] == {"1": 1.0, "2": 0.0} and found["accuracy"] == 0.5
    assert "one-shot error 50.0 %" in embedding_table(found)
    sheet = retrieval_sheet(Pixel(), embed_all(Pixel(), Samples(runs)), Samples(runs))
    assert sheet.shape[0] == 2 * 78 + 6  # a row for each of two queries, not for supports


def test_the_spread_of_forms():
    """Forms at +-1 around means at 0 and 10, which lie 5 from their own mean."""
    vectors = np.array([[-1.0], [1.0], [9.0], [11.0]])
    assert spread(Embedded(vectors, None, None, None, np.array([4, 4, 7, 7])))["spread"] == pytest.approx(1 / 5)


def test_forms_of_the_neighbours(monkeypatch):
    monkeypatch.setattr(module, "AROUND", 2)
    origins, kinds = np.repeat(np.arange(4), 2), np.tile([0, 1], 4)
    mixed = Embedded(np.repeat([[0.0], [1], [10], [11]], 2, axis=0), None, None, None, origins, kinds)
    apart = Embedded((origins + 100 * kinds)[:, None].astype(float), None, None, None, origins, kinds)
    assert forms_around(Pixel(), mixed) == {"same_form": 0.5, "forms": 2}  # both forms of the nearest other image
    assert forms_around(Pixel(), apart) == {"same_form": 1.0, "forms": 2}
    data = Samples([sample(v, v % 3, origin=v // 2, form=v % 2) for v in range(8)])
    data.forms = ("left", "right")
    table = embedding_table(evaluate_embedder(Pixel(), data))
    assert "have the same form (1 of 2 forms would be 0.500)" in table
    assert "map_of_forms" in draw_embedder(Pixel(), data)


def test_turns_of_the_neighbours():
    turns = np.radians([350, 0, 20, 180])
    data = Samples([sample(v, 0, angle=a, size=i % 2) for i, (v, a) in enumerate(zip((1, 2, 4, 90), turns))])
    found = evaluate_embedder(Pixel(), data)
    assert found["nearest_turn"] == pytest.approx((10 + 10 + 20 + 160) / 4)  # 0 is next to 350, 20 to 0, 180 to 20
    assert "the nearest neighbour's by 50.0 (90 by chance)\nsize read along a line: correlation " in embedding_table(
        found
    )


def test_a_sample_that_cannot_be_read_is_left_out():
    class Damaged(Samples):
        def __getitem__(self, index):
            if index == 1:
                raise ValueError("1.png: damaged")
            return super().__getitem__(index)

    failed = []
    found = evaluate_embedder(Pixel(), Damaged([sample(v, v // 10) for v in (0, 1, 2, 10, 11)]), failed)
    assert found["images"] == 4 and found["accuracy"] == 1.0 and failed == ["1.png: damaged"]


def test_pictures(monkeypatch):
    monkeypatch.setattr(draw, "CELLS", 3)  # few thumbnails: matplotlib takes long
    data = Samples([sample(int(v), int(v) % 3) for v in RNG.integers(0, 255, 20)])
    pictures = draw_embedder(Pixel(), data)
    assert list(pictures) == ["map", "retrieval", "roc"]
    assert all(p.dtype == np.uint8 and p.ndim == 3 and p.shape[2] == 3 for p in pictures.values())


def test_a_retrieval_sheet_frames_right_and_wrong():
    red, white = np.zeros((8, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    sheet = draw_retrieval([red], [[white, red]], [[True, False]])
    colours = {tuple(c) for c in sheet.reshape(-1, 3).tolist()}
    assert {(20, 150, 60), (205, 40, 50), (120, 120, 120)} <= colours
    assert thumbnail(red).shape == (64, 64, 3) and (thumbnail(red)[:, :16] == 255).all()
    with pytest.raises(ValueError, match="draw_retrieval: needs queries and a list for each, got 0 and 0"):
        draw_retrieval([], [])


def test_maps():
    points = RNG.normal(size=(30, 3))
    assert draw_map(points, np.zeros(30, int), ["a"]).shape[2] == 3
    turned = upright(points * [3, 1, 10])
    assert turned.std(axis=0).argsort().tolist() == [1, 0, 2]  # whichever way round
    apart = [np.linalg.norm(p[0] - p[1]) for p in (turned, points * [3, 1, 10])]
    assert apart[0] == pytest.approx(apart[1])
    flat, title = flattened(RNG.normal(size=(30, 5)))
    assert flat.shape == (30, 2) and title.startswith("two principal components of 5")
    assert flattened(points)[0] is points
    cells = spread_out(np.array([[0.0, 0.0], [0.01, 0.0], [1.0, 1.0]]))
    assert cells == [0, 2]
    with pytest.raises(ValueError, match=r"draw_map: points must have shape \(N, 2\) or \(N, 3\), got \(30, 5\)"):
        draw_map(np.zeros((30, 5)), np.zeros(30, int), ["a"])
