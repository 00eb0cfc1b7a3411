"""Edge Boxes: scores by the definition, the search's density, a square found."""

import numpy as np
import pytest

from tests.vision.proposals.test_edges import ends_of
from vision.boxes.boxes import iou
from vision.proposals import build_proposer
from vision.proposals.edge_boxes import BoxScorer, EdgeBoxesOptions, ranges, search_windows
from vision.proposals.edges import affinities, best_paths, edge_map, group_edges


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(3)
    x = np.full((90, 120, 3), 90)
    x[20:60, 30:80], x[40:75, 60:110] = 200, (20, 90, 150)
    return np.clip(x + rng.normal(0, 4, x.shape), 0, 255).astype(np.uint8)


def naive_score(groups, box, options):
    """Eq. 2 to 4, group by group and pixel by pixel."""
    x1, y1, x2, y2 = box
    paths, labels = ends_of(best_paths(affinities(groups, gamma=options.gamma))), groups.labels
    border = {labels[r, c] for r in range(y1, y2) for c in range(x1, x2) if r in (y1, y2 - 1) or c in (x1, x2 - 1)}
    border -= {-1}
    total = 0.0
    for i, (x, y) in enumerate(groups.members):
        if x1 <= x < x2 and y1 <= y < y2:
            total += (1 - max([paths[t].get(i, 0) for t in border], default=0)) * groups.magnitudes[i]
    across, down = (x2 - x1) // 4, (y2 - y1) // 4
    for r in range(y1 + down, y2 - down):
        for c in range(x1 + across, x2 - across):
            total -= groups.pixels[r, c]
    return total / (2 * (x2 - x1 + y2 - y1) ** options.kappa)


def test_scores_equal_the_definition_and_are_below_their_bounds(picture):
    options = EdgeBoxesOptions()
    groups = group_edges(*edge_map(picture))
    scorer = BoxScorer(groups, options)
    boxes = np.random.default_rng(1).permutation(search_windows((90, 120), options))[:25]
    boxes = np.concatenate([boxes, [[29, 19, 81, 61], [0, 0, 120, 90]]])
    bounds = scorer.bounds(boxes)
    scores = scorer.scores(boxes, bounds)
    np.testing.assert_allclose(scores, [naive_score(groups, b.tolist(), options) for b in boxes], rtol=0, atol=1e-6)
    assert (scores <= bounds + 1e-12).all() and len(groups.magnitudes) > 5


def test_the_best_are_those_of_scoring_all(picture):
    options = EdgeBoxesOptions(alpha=0.5)
    scorer = BoxScorer(group_edges(*edge_map(picture)), options)
    boxes = search_windows((90, 120), options)
    everything = scorer.scores(boxes, scorer.bounds(boxes))
    best, scores = scorer.best(boxes, 40)
    np.testing.assert_allclose(scores, np.sort(everything)[::-1][:40], rtol=0, atol=1e-12)
    moved, values = scorer.refined(best, scores, (90, 120))
    assert (values >= scores).all() and (values > scores).any()
    np.testing.assert_allclose(values, scorer.scores(moved, scorer.bounds(moved)), rtol=0, atol=1e-12)
    alone, _ = scorer.refined(best[5:6], scores[5:6], (90, 120))
    assert alone[0].tolist() == moved[5].tolist()  # each is moved on its own


def test_ranges_by_hand():
    indices, owners = ranges(np.array([3, 7, 0]), np.array([5, 7, 3]))
    assert indices.tolist() == [3, 4, 0, 1, 2] and owners.tolist() == [0, 0, 2, 2, 2]


def test_neighbouring_windows_overlap():
    options = EdgeBoxesOptions(alpha=0.65)
    windows = search_windows((200, 300), options).astype(float)
    assert (windows >= 0).all() and (windows <= [300, 200, 300, 200]).all()
    corner = [(300 - w, 200 - h, 300, 200) for w, h in ((300, 200), (290, 130), (150, 197), (70, 45), (35, 60))]
    assert iou(np.array(corner, float), windows).max(axis=1).min() > 0.75  # the search reaches the border
    windows = windows[(windows[:, 2:] < [300, 200]).all(axis=1)]
    sides = windows[:, 2:] - windows[:, :2]
    assert sides.prod(axis=1).min() >= 950 and (sides.max(axis=1) / sides.min(axis=1)).max() <= 3.1
    first = np.flatnonzero((sides == sides[0]).all(axis=1))[:2]
    assert 0.6 < iou(windows[first[:1]], windows[first[1:]])[0, 0] < 0.8


def test_two_blocks_are_the_first_boxes():
    picture, truth = np.full((90, 120, 3), 90, np.uint8), np.array([[10, 20, 50, 60], [65, 30, 110, 75]], np.float32)
    picture[20:60, 10:50], picture[30:75, 65:110] = 200, (20, 90, 150)
    boxes, scores = build_proposer("edge_boxes")(picture)
    assert (np.diff(scores) <= 0).all() and (scores > 0).all()
    assert (iou(boxes[:2], truth).max(axis=0) > 0.8).all()  # edges are two pixels wide, and inside
    overlaps = iou(boxes, boxes) - np.eye(len(boxes))
    assert overlaps.max() <= 0.75 + 1e-6


def test_pictures_without_edges_have_no_boxes():
    boxes, scores = build_proposer("edge_boxes")(np.full((40, 50, 3), 7, np.uint8))
    assert boxes.shape == (0, 4) and scores.shape == (0,)
    assert build_proposer("edge_boxes")(np.zeros((1, 1, 3), np.uint8))[0].shape == (0, 4)


@pytest.mark.parametrize("options", [{"alpha": 1.0}, {"beta": 0.0}, {"max_aspect": 0.5}, {"min_area": 0}])
def test_bad_options(options):
    ((name, _),) = options.items()
    with pytest.raises(ValueError, match=f"edge_boxes: (need 0 < alpha < 1, 0 < beta|{name} must be at least 1)"):
        build_proposer("edge_boxes", **options)
