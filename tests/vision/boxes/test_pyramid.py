"""RPN and RoIAlign on a pyramid: levels, anchors, proposals, gradients."""

import numpy as np
import pytest

from nn import RoIAlign
from nn.gradcheck import check_layer
from vision.boxes.pyramid import PyramidAlign, PyramidRPN, RPNHead
from vision.instances.mask_rcnn_fpn import Options

STRIDES = (4, 8, 16)


def rpn(**options):
    options = {"anchor_scales": (16, 32, 64), "min_size": 1.0} | options
    return PyramidRPN(3, STRIDES, Options(**options), rng=np.random.default_rng(0))


def test_levels_of_regions():
    """The paper's example: 224 pixels are pooled from level 4, the third of 2 to 5; half of it from level 3."""
    align = PyramidAlign(7, (4, 8, 16, 32), 2, 224)
    sides = np.array([10, 55.9, 56, 111.9, 112, 223.9, 224, 447, 448, 4000])
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    assert align.level(boxes).tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert align.level(np.array([[0, 0, 448, 112.0], [5, 5, 5, 9]])).tolist() == [2, 0]  # by area; a region without any


def test_each_region_is_pooled_from_its_level_alone():
    rng, align = np.random.default_rng(0), PyramidAlign(3, STRIDES, 2, 40)
    maps = [rng.standard_normal((2, 4, 96 // stride, 96 // stride)) for stride in STRIDES]
    rois = np.array([[0, 0, 80, 90], [3, 5, 12, 16], [10, 10, 40, 44], [1, 1, 90, 95], [30, 30, 38, 40.0]])
    index, level = np.array([0, 1, 1, 0, 1]), align.level(rois)
    assert set(level) == {0, 1, 2}
    y, cache = align.forward(maps, rois, index)
    for k in range(5):
        single = RoIAlign(3, 1 / STRIDES[level[k]], 2)(maps[level[k]], rois[k : k + 1], index[k : k + 1])
        np.testing.assert_array_equal(y[k], single[0])
    dy = rng.standard_normal(y.shape)
    dmaps, *_ = align.backward(dy, cache)
    for i, x in enumerate(maps):  # y is linear in the maps: <dy, y> = sum of <dx, x>
        assert dmaps[i].shape == x.shape
    assert sum((d * x).sum() for d, x in zip(dmaps, maps)) == pytest.approx((dy * y).sum())
    none, cache = align.forward(maps, rois[:0], index[:0])
    assert none.shape == (0, 4, 3, 3) and not any(d.any() for d in align.backward(none, cache)[0])


def pyramid():
    return [np.zeros((1, 3, side, side), np.float32) for side in (24, 12, 6)]


def test_gradients_of_the_head():
    x = np.random.default_rng(3).standard_normal((2, 3, 4, 5))
    check_layer(RPNHead(3, 2, rng=np.random.default_rng(1)).astype(np.float64), x, complex_step=True, tolerance=1e-12)


def test_a_score_belongs_to_the_anchor_at_its_place():
    """Put one large score into one channel of one level: the best proposal is that anchor."""
    net, maps = rpn(), pyramid()
    anchors = net.anchors(maps)
    assert len(anchors) == 3 * (24 * 24 + 12 * 12 + 6 * 6)
    for layer in (net.head.cls_logits, net.head.bbox_pred):
        layer.weight.value[...] = 0
    net.head.conv[0][0].weight.value[...] = 0
    net.head.conv[0][0].weight.value[0, 0, 1, 1] = 1
    net.head.cls_logits.weight.value[2, 0] = 1  # ratio 2: twice as high as wide
    maps[1][0, 0, 7, 4] = 9
    scores, deltas = net(tuple(maps))
    best = net.propose(scores[0], deltas[0], anchors, (96, 96), training=False)[0]
    x, y, half = 4.5 * 8, 7.5 * 8, np.array([32 / 2**0.5, 32 * 2**0.5]) / 2
    np.testing.assert_allclose(best, [x - half[0], y - half[1], x + half[0], min(y + half[1], 96)], rtol=1e-5)


def test_proposals_of_two_levels_do_not_suppress_each_other():
    net = rpn(anchor_ratios=(1.0,), proposal_nms_iou=0.1, test_pre_nms=1)
    anchors = net.anchors(pyramid())
    scores = np.random.default_rng(0).random(len(anchors)).astype(np.float32)
    boxes = net.propose(scores, np.zeros((len(anchors), 4), np.float32), anchors, (96, 96), training=False)
    assert len(boxes) == 3  # one of each level, whatever they overlap


def test_the_loss_counts_sampled_anchors_alone():
    scores, labels = np.array([[2.0, -1.0, 0.5, 3.0]]), np.array([[1, 0, -1, 0]])
    deltas, wanted = np.zeros((1, 4, 4)), np.full((1, 4, 4), 2.0)
    losses, (dscores, ddeltas) = rpn().loss((scores, deltas), labels, wanted)
    p = 1 / (1 + np.exp(-scores))
    assert losses["rpn_cls"] == pytest.approx(-(np.log(p[0, 0]) + np.log(1 - p[0, [1, 3]]).sum()) / 3)
    assert losses["rpn_box"] == pytest.approx(4 * (2 - 0.5 / 9) / 3)  # of the positive one
    assert dscores[0, 2] == 0 and not ddeltas[0, 1:].any()


def test_a_scale_is_needed_for_each_level():
    with pytest.raises(ValueError, match="anchor_scales must have one scale a level, got 2 for 3 levels"):
        rpn(anchor_scales=(16, 32))
