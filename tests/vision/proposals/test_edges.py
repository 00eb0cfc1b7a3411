"""Edges, their groups, affinities and paths: lines and squares by hand, and all paths by brute force."""

from itertools import pairwise

import numpy as np
import pytest

from vision.proposals.edges import EdgeGroups, affinities, best_paths, edge_map, group_edges, joined


def square(low=20, high=50, side=70):
    picture = np.full((side, side, 3), 40, np.uint8)
    picture[low:high, low:high] = 200
    return picture


def test_edges_of_a_square_are_thin_lines_with_their_directions():
    magnitude, direction = edge_map(square())
    strong = magnitude > 0.3
    assert strong[25:45].sum(axis=1).tolist() == [2] * 20 and strong[:, 25:45].sum(axis=0).tolist() == [2] * 20
    _, columns = np.nonzero(strong[25:45])
    assert set(columns) <= {19, 20, 49, 50}
    np.testing.assert_allclose(direction[25:45][strong[25:45]], np.pi / 2, atol=1e-12)  # upright
    level = direction[:, 25:45][strong[:, 25:45]]
    np.testing.assert_allclose(np.sin(level), 0, atol=1e-12)
    assert edge_map(np.full((20, 30, 3), 9, np.uint8))[0].max() == 0


def test_groups_end_where_they_bend_by_a_right_angle():
    magnitude, direction = np.zeros((9, 9)), np.zeros((9, 9))
    magnitude[2, 1:7], magnitude[3:8, 6] = 1, 0.5  # a line to the right, then one down: no more than a right angle
    direction[3:8, 6] = np.pi / 2
    groups = group_edges(magnitude, direction)
    assert groups.labels.max() == 0 and groups.magnitudes.tolist() == [8.5]
    direction[5:8, 6] = 0  # turns again
    groups = group_edges(magnitude, direction)
    assert sorted(np.bincount(groups.labels[groups.labels >= 0])) == [3, 8]
    line = group_edges(magnitude * (np.arange(9) < 6), direction)
    assert line.centres.tolist() == [[3.5, 2.5]] and line.angles.tolist() == [0] and line.members.tolist() == [[5, 2]]
    assert line.pixels.sum() == 5
    assert len(group_edges(magnitude * 0, direction).magnitudes) == 0


def test_small_groups_join_their_neighbours():
    magnitude, direction = np.zeros((9, 9)), np.zeros((9, 9))
    magnitude[2, 1:7], magnitude[3:8, 6], direction[3:5, 6] = 1, 0.15, np.pi / 2
    magnitude[6, 1] = 0.3  # touches none
    groups = group_edges(magnitude, direction)  # the last three turn again, and weigh 0.45
    assert groups.magnitudes == pytest.approx([6.75]) and groups.labels[3:8, 6].tolist() == [0] * 5
    assert groups.labels[6, 1] == -1 and groups.pixels[6, 1] == 0.3
    assert len(group_edges(magnitude, direction, small=0.4).magnitudes) == 2


def test_pixels_join_the_neighbour_whose_direction_is_theirs():
    """Two lines, upright and level; between them free pixels, 0.1 and pi - 0.1 from upright and level; ring by ring."""
    labels, direction = np.full((4, 5), -1), np.zeros((4, 5))
    labels[:, 0], labels[:, 4], direction[:, 0] = 0, 1, np.pi / 2
    direction[:, 1:4] = [np.pi / 2 - 0.1, 1.0, np.pi - 0.1]
    free = labels < 0
    free[:, 2] = [True, False, True, False]
    found = joined(labels.copy(), free, direction)
    assert found.tolist() == [[0, 0, 0, 1, 1], [0, 0, -1, 1, 1]] * 2  # 1.0 is nearer to 1.47 than to pi - 0.1
    direction[:, 2] = 0.4
    assert joined(labels.copy(), labels < 0, direction)[:, 2].tolist() == [1] * 4


def test_affinity_is_1_along_a_line_and_0_across():
    labels = np.full((7, 12), -1)
    labels[3, 0:4], labels[3, 5:9], labels[0:2, 4] = 0, 1, 2
    centres = np.array([[2, 3.5], [7, 3.5], [4.5, 1]])
    groups = EdgeGroups(labels, np.ones(3), centres, np.array([0, 0, np.pi / 2]), labels >= 0, centres)
    near = affinities(groups)
    assert near[0][1] == near[1][0] == pytest.approx(1)
    dx, dy = 2.5, -2.5
    assert near[0][2] == pytest.approx((np.cos(np.arctan2(dy, dx)) * np.cos(np.pi / 2 - np.arctan2(dy, dx))) ** 2)
    far = labels.copy()
    far[:, 5:] = -1
    far[3, 7:11] = 1  # three pixels away
    assert 1 not in affinities(groups._replace(labels=far))[0]


def ends_of(paths):
    """For each group {the group where a path from it ends: its product}."""
    parts = [slice(first, last) for first, last in pairwise(paths.starts)]
    return [dict(zip(paths.groups[part].tolist(), paths.values[part].tolist())) for part in parts]


def test_best_paths_equal_all_paths():
    rng = np.random.default_rng(0)
    near = [{} for _ in range(6)]
    for i in range(6):
        for j in range(i):
            if rng.random() < 0.5:
                near[i][j] = near[j][i] = rng.uniform(0.3, 1)

    def walk(i, seen, product):
        found = {i: product}
        for j, a in near[i].items():
            if j not in seen:
                for k, value in walk(j, seen | {j}, product * a).items():
                    found[k] = max(found.get(k, 0), value)
        return found

    for i, ends in enumerate(ends_of(best_paths(near))):
        wanted = {k: value for k, value in walk(i, {i}, 1.0).items() if value >= 0.05}
        assert ends == pytest.approx(wanted, abs=1e-12)
