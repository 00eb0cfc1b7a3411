"""Step 11. Overfit two images.

Question: the network does not learn. Is it the data, the rate, or a mistake in my code?

First make it learn two images by heart. A network with thousands of weights can do that, so its loss must go to 0
within a hundred steps. If it does not, there is a mistake, and it is small enough to find: a try takes a second.

The checks, in this order. Each finds what the one before cannot:

    1. the first loss is log C          else: the scores are too large, or the input is not scaled
    2. the gradient check (step 3)      else: a backward is wrong
    3. two images are learned           else: what is between the layers is wrong: the loop, the rate, the data
    4. then real data; compare the loss on the training images and on others. Only there the word overfitting has its
       usual meaning: the first falls and the second rises

`main` makes four mistakes on purpose. Two of them show at once. The other two do not: the network learns the two images
in spite of a wrong backward, and in spite of gradients that are never zeroed (they add up, like a momentum of 1, and
here that even helps). Learning is no proof that all is right. Check 2 finds the wrong backward; exercise 2 the other.
"""

import sys

import numpy as np

from datasets import Shapes
from docs.tour import drawing
from nn import SGD, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, softmax_cross_entropy
from nn.gradcheck import GradientError, check_layer


def two_images():
    """images (2, 3, 32, 32), the pixels around 0, and labels (2,): a circle and a square."""
    scenes = Shapes(20, size=(32, 32), max_objects=1, classes=("circle", "square"))
    first = [next(scene for scene in scenes if scene["label"] == label) for label in (1, 2)]
    images = np.stack([scene["image"] for scene in first]).transpose(0, 3, 1, 2)  # (2, H, W, 3) to (2, 3, H, W)
    return (images / 255 - 0.5).astype(np.float32), np.array([0, 1])


class BrokenReLU(ReLU):
    """A mistake in the backward: the gradient goes through everywhere."""

    def backward(self, dy, cache):
        return dy


def network(relu=ReLU, rng=None):
    """images (N, 3, 32, 32) -> 2 scores: two convolutions, each followed by pooling, and a Linear layer."""
    rng = rng or np.random.default_rng(0)
    made = Sequential(
        Conv2d(3, 8, 3, padding=1, rng=rng), relu(), MaxPool2d(2),  # (N, 8, 16, 16)
        Conv2d(8, 16, 3, padding=1, rng=rng), relu(), MaxPool2d(2),  # (N, 16, 8, 8)
        Flatten(), Linear(16 * 8 * 8, 2, rng=rng),
    )  # fmt: skip
    made[7].weight.value *= 0.01  # scores near 0 at the start
    return made


def train(model, images, labels, steps=60, rate=0.02, zero=True, shuffle=False):
    """The loss of each step. zero=False and shuffle=True are mistakes."""
    optimiser, losses, rng = SGD(model.parameters(), lr=rate, momentum=0.9), [], np.random.default_rng(0)
    for _ in range(steps):
        if zero:
            optimiser.zero_grad()
        logits, cache = model.forward(images)
        loss, dlogits = softmax_cross_entropy(logits, rng.permutation(labels) if shuffle else labels)
        model.backward(dlogits, cache)
        optimiser.step()
        losses.append(min(loss, 1e6))
    return losses


def main(out="tour_out"):
    images, labels = two_images()
    bytes_in = (images + 0.5) * 255
    curves = {
        "right": train(network(), images, labels),
        "gradients not zeroed": train(network(), images, labels, zero=False),
        "labels do not go with the images": train(network(), images, labels, shuffle=True),
        "pixels 0 to 255": train(network(), bytes_in, labels),
        "ReLU without its mask in backward": train(network(BrokenReLU), images, labels),
    }
    figure, (axes,) = drawing.new(width=7, height=4)
    print(f"{'':36}first loss   last loss (log 2 = {np.log(2):.3f})")
    for name, losses in curves.items():
        print(f"{name:36}{losses[0]:10.3f} {losses[-1]:11.4f}")
        axes.semilogy(np.maximum(losses, 1e-4), label=name)
    axes.set(xlabel="step", ylabel="loss of two images")
    drawing.save(figure, out, "step_11.png")
    assert abs(curves["right"][0] - np.log(2)) < 0.02 and curves["right"][-1] < 0.01

    small = images[:1, :, 8:16, 8:16]  # the check tries every element: few of them
    for relu in (ReLU, BrokenReLU):
        model = Sequential(Conv2d(3, 2, 3), relu(), Flatten(), Linear(72, 2))
        try:
            print(f"check_layer with {relu.__name__}: right to {max(check_layer(model, small).values()):.0e}")
        except GradientError as error:
            print(f"check_layer with {relu.__name__}:", str(error).split(":")[1])
            assert relu is BrokenReLU


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_11_two_images.py)
# 1. Give the two images of a circle and a square the labels (1, 0). Are they learned, too? What does that say about a
#    training loss of 0?
# 2. Train on 40 images in batches of 4, with zero=True and zero=False. What do gradients that add up do there?
