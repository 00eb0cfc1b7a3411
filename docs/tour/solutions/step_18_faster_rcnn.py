"""Solutions to step 18."""

import numpy as np

from datasets import Shapes
from docs.tour.step_18_faster_rcnn import SIZE, FasterRCNN


class ForgetsTheRPN(FasterRCNN):
    def backward(self, cache):
        c_backbone, _, _, c_pool, c_head, _, dfound, _ = cache
        dfeatures, _, _ = self.pool.backward(self.head.backward(dfound, c_head), c_pool)
        self.backbone.backward(dfeatures, c_backbone)


def check(model, names, h=1e-6):
    """{name: (by backward, by differences)} of one element of each parameter, the samples held fixed."""
    rng, scenes = np.random.default_rng(0), [*Shapes(2, SIZE, classes=("circle",), max_objects=2)]
    model.astype(np.float64)
    _, cache = model.loss(scenes, rng)
    sampled, parameters = cache[-1], model.parameters()
    model.zero_grad()
    model.backward(cache)
    found = {}
    for name in names:
        value, grad = parameters[name].value, parameters[name].grad
        index = np.unravel_index(abs(grad).argmax(), grad.shape)  # its largest gradient
        before, losses = value[index], []
        for step in (h, -h):
            value[index] = before + step
            losses.append(sum(model.loss(scenes, rng, sampled)[0].values()))
        value[index] = before
        found[name] = grad[index], (losses[0] - losses[1]) / (2 * h)
    return found


NAMES = "backbone.0.weight", "backbone.5.bias", "rpn.0.weight", "rpn_out.bias", "head.1.weight", "head.3.bias"


def exercise_1():
    """They agree to 6 digits. `sampled` must be fixed, as the loss of other anchors and regions is another function.

    A nudge could change the order of two proposals; the loss would jump, and a jump has no derivative.
    """
    for name, (by_backward, by_differences) in check(FasterRCNN(np.random.default_rng(0)), NAMES).items():
        print(f"{name:18} {by_backward:12.8f} by backward {by_differences:12.8f} by differences")
        assert np.isclose(by_backward, by_differences, rtol=1e-4, atol=1e-9)


def exercise_2():
    """The backbone's are wrong: the RPN's share is missing. The RPN's own are 0: it never learns. The head's are right.

    Such a detector still trains, by its head; only the comparison with differences shows that something is missing.
    """
    found = check(ForgetsTheRPN(np.random.default_rng(0)), NAMES)
    right = {name for name, pair in found.items() if np.isclose(*pair, rtol=1e-4, atol=1e-9)}
    none = {name for name, (by_backward, _) in found.items() if by_backward == 0}
    print("right:", *sorted(right), "  none at all:", *sorted(none), "  wrong:", *sorted({*NAMES} - right - none))
    assert right == {"head.1.weight", "head.3.bias"} and none == {"rpn.0.weight", "rpn_out.bias"}


if __name__ == "__main__":
    exercise_1()
    exercise_2()
