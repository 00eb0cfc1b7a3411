"""Solutions to step 9."""

from itertools import product

import numpy as np

from docs.tour.step_09_residual import Block, along, body
from nn import ReLU, Sequential


def six_blocks():
    """Six blocks, their caches for a random x, and a random dy."""
    rng = np.random.default_rng(0)
    blocks = [Block(body(8, rng)) for _ in range(6)]
    _, caches = Sequential(*blocks).forward(rng.standard_normal((4, 8)))
    return blocks, caches, rng.standard_normal((4, 8))


def exercise_1():
    """The paths through its F are gone: half of them, 32 of 64. The other half is as it was, for the same activations.

    In a plain network there is one path, through all F. Delete a layer of it, and none is left: dy never arrives.
    """
    blocks, caches, dy = six_blocks()
    paths = {through: along(blocks, caches, dy, through) for through in product((0, 1), repeat=6)}
    left = [d for through, d in paths.items() if not through[2]]
    others = [i for i in range(6) if i != 2]
    without = Sequential(*(blocks[i] for i in others)).backward(dy, [caches[i] for i in others])
    print(f"{len(left)} of {len(paths)} paths are left without block 3")
    assert len(left) == 32 and np.allclose(sum(left), without)


def exercise_2():
    """All 2^n, but each passes the ReLUs, too: the path through no F no longer brings dy down unchanged.

    Where x + F(x) is negative the ReLU stops all paths at once. He et al. 2016 (arXiv:1603.05027) therefore move it
    into F: pre-activation.
    """
    blocks, _, dy = six_blocks()
    network = Sequential(*(Sequential(block, ReLU()) for block in blocks))
    _, caches = network.forward(np.random.default_rng(1).standard_normal((4, 8)))
    shortest = dy
    for _, c_relu in reversed(caches):
        shortest = ReLU().backward(shortest, c_relu)  # past every F
    passed = (shortest != 0).mean()
    print(f"the path through no F: {passed:.0%} of dy arrives, the rest is stopped by a ReLU")
    assert 0 < passed < 1 and np.array_equal(shortest[shortest != 0], dy[shortest != 0])


if __name__ == "__main__":
    exercise_1()
    exercise_2()
