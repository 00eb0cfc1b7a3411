"""Real photographs: the models can overfit 50 captions on features of SqueezeNet."""

import os
from pathlib import Path

import numpy as np
import pytest

import vision
from datasets import ListedCaptions
from nn import Adam
from nn.optim.clipping import clip_gradient_norm
from vision.captioning.task import caption_batch
from vision.sequence import Vocabulary

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data"))
WEIGHTS = DATA / "weights" / "squeezenet1_0_imagenet.npz"
CAPTIONS = DATA / "coco_captions_open"

pytestmark = pytest.mark.skipif(
    not (WEIGHTS.exists() and CAPTIONS.is_dir()), reason="needs the shared photographs and weights"
)


@pytest.mark.parametrize("name", ["show_and_tell_photos", "show_attend_tell_photos"])
def test_overfits_25_captions(name):
    photographs = ListedCaptions(CAPTIONS, "train")
    samples = [photographs[i] for i in range(25)]
    samples = [sample | {"caption": sample["caption"][:1]} for sample in samples]
    words = Vocabulary.build([sample["caption"][0] for sample in samples]).words
    options = {"encoder_weights": str(WEIGHTS), "dropout": 0.0}
    model = vision.build(name, words, np.random.default_rng(0), **options)
    optimiser, rng = Adam(model.parameters(), lr=0.002), np.random.default_rng(0)
    batch = caption_batch(model, samples)
    for _ in range(150):
        model.zero_grad()
        losses, cache = model.loss(batch, rng)
        if losses["words"] < 0.1:
            break
        model.backward(cache)
        clip_gradient_norm(model.parameters(), 5.0)
        optimiser.step()
    assert losses["words"] < 0.1  # a sentence, not a word
    said = [found["caption"] for found in model.predict(batch[0])]
    truth = [model.vocabulary.decode(model.vocabulary.encode(sample["caption"][0])) for sample in samples]
    assert sum(a == b for a, b in zip(said, truth)) >= 23  # running statistics are not quite the batch's own
