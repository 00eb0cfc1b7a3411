"""What the captioning models share: encoding of captions, and generation of captions word by word."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from nn import LogSoftmax
from nn.gpu.device import device_of, to_device
from vision.backbones import Remembered
from vision.captioning.encoder import KINDS, Encoder
from vision.model import Model
from vision.options import ImageOptions
from vision.preprocess import Photograph, Preprocess, open_photograph
from vision.sequence import Vocabulary, pad_batch
from vision.sequence.beam_search import beam_search
from vision.task import on_its_device

EncoderKind = Literal["small_cnn", "squeezenet", "squeezenet_classes", "vgg16", "efficientnet_lite0"]


@dataclass(frozen=True)
class CaptionerOptions(ImageOptions):
    """Options of all captioning models, for generated scenes."""

    encoder: EncoderKind = "small_cnn"  # the CNN: see Encoder
    width: int = 12  # width of the CNN: its channels are multiples of it (efficientnet_lite0: not used)
    fine_tune: bool = True  # whether gradients flow into the CNN
    encoder_weights: str | None = None  # file of published weights of the CNN
    standardise: bool = False  # each channel of the features gets mean 0 and variance 1
    embedding_size: int = 64  # size of the words' vectors
    hidden_size: int = 128  # units of the recurrent network
    dropout: float = 0.0  # dropout before the words' scores
    short_side: int = 64  # pixels of the shorter side
    max_side: int = 128  # pixels of the longer side at most
    square: bool = False  # scale photographs to short_side x short_side, so that all shapes fit into a batch
    mean: float | tuple[float, float, float] | None = None  # subtracted from each channel; none: as the encoder wants
    std: float | tuple[float, float, float] | None = None  # then each channel is divided by this; none: likewise
    beam_size: int = 1  # sentences that the search keeps in parallel; 1: the most probable word at each step

    def __post_init__(self):
        _check_beam(self.beam_size)

    def preprocess(self, **changes) -> Preprocess:
        """Photographs as the encoder's published weights want them."""
        wanted = KINDS[self.encoder]
        mean, std = wanted.mean if self.mean is None else self.mean, wanted.std if self.std is None else self.std
        return super().preprocess(**{"mean": mean, "std": std} | changes)


@dataclass(frozen=True)
class PhotoOptions(CaptionerOptions):
    """For photographs, on features of published weights (`encoder_weights`), by default of SqueezeNet's.

    The CNN is frozen: a few hundred photographs are enough, and the features of each are computed once.
    """

    encoder: EncoderKind = "squeezenet"  # the CNN: see Encoder
    width: int = 16  # width of the CNN: its channels are multiples of it (efficientnet_lite0: not used)
    fine_tune: bool = False  # whether gradients flow into the CNN
    standardise: bool = True  # each channel of the features gets mean 0 and variance 1
    embedding_size: int = 128  # size of the words' vectors
    hidden_size: int = 256  # units of the recurrent network
    dropout: float = 0.5  # dropout before the words' scores
    short_side: int = 192  # pixels of the shorter side
    max_side: int = 192  # pixels of the longer side at most
    square: bool = True  # scale photographs to short_side x short_side, so that all shapes fit into a batch


PHOTO_RECIPE = {
    "data": "listed_captions", "epochs": 14, "batch_size": 16, "optimiser": "adam", "lr": 0.001, "weight_decay": 0.0,
    "schedule": "polynomial", "warm_up": 0, "clip_norm": 5.0, "jitter": 0.0,
}  # fmt: skip
# The CNN of photographs is frozen and too large for a gradient check.
PHOTO_TINY = {
    "encoder": "small_cnn", "width": 1, "fine_tune": True, "short_side": 32, "max_side": 32, "embedding_size": 3,
    "hidden_size": 4,
}  # fmt: skip


class Captioner(Model):
    """An encoder of images and a vocabulary: the part of a captioning model that does not depend on its decoder.

    batch: (images (N, 3, H, W), or features (N, D, h, w) where the encoder is frozen; for each image a list of one or
    more captions, all of which are learned). A subclass has loss and backward, and for predict two methods:

    state = first_state(features): a tuple of arrays with one row per image
    log_p (N, V), state = step(state, last): the log probabilities of the word after `last` (N,)

    classes: the words of the vocabulary, <pad>, <start>, <end> and <unk> first.
    features: function from images to features where the encoder is frozen, computed once per image; else None.
    """

    def __init__(self, classes: Sequence[str], options: CaptionerOptions, rng: np.random.Generator):
        kept = replace(options, encoder_weights=None)  # a checkpoint holds the weights themselves
        super().__init__(classes, kept, options.preprocess(resize="square" if options.square else "short_side"))
        self.vocabulary, o = Vocabulary(classes), options
        self.encoder = Encoder(o.encoder, o.width, o.fine_tune, o.encoder_weights, o.standardise, rng=rng)
        self.features = None if o.fine_tune else Remembered(self.encoder)
        self.needs_weights = not o.fine_tune and not o.encoder_weights  # else its CNN stays random

    def caption(self, photograph: Photograph, beam_size: int | None = None) -> dict:
        """caption, the ids of its words, and attention (T, h, w) where the model has one.

        photograph: a path, a PIL image, or (H, W, 3) uint8. beam_size: by default the option of this name.
        Raises ValueError for anything else, and a beam below 1.
        """
        return self.captions([open_photograph(photograph)], beam_size)[0]

    def captions(self, photographs: Sequence[np.ndarray], beam_size: int | None = None) -> list[dict]:
        """`caption` for each photograph (H, W, 3) uint8: one batch if all have one size, else one by one."""
        beam_size = self.options.beam_size if beam_size is None else beam_size
        _check_beam(beam_size)
        scaled = [self.preprocess.scaled(photograph) for photograph in photographs]
        one_size = len({image.shape for image in scaled}) == 1
        found = []
        for batch in [scaled] if one_size else [[image] for image in scaled]:
            images = self.preprocess.batch(batch)
            seen = self.features(images) if self.features else images
            found += on_its_device(self, self.predict, seen, beam_size)
        return found

    def predict(self, images, beam_size: int = 1, max_length: int = 20) -> list[dict]:
        """For each image {caption: str, ids (T,): its words without <start>, with <end> where it was reached}.

        beam_size 1 takes the most probable word at each step; a larger one keeps beam_size sentences in parallel.
        Captions have at most max_length words, never <pad>, <start> or <unk>.
        """
        return [self.describe(ids) for ids in self.search(self.encoder(images), beam_size, max_length)]

    def describe(self, ids) -> dict:
        """The dict that predict returns for the ids of a caption."""
        return {"caption": self.vocabulary.decode(ids), "ids": ids}

    def search(self, features, beam_size: int, max_length: int) -> list[np.ndarray]:
        """The ids of each image's caption; all images in one batch where the beam is 1."""
        if beam_size == 1:
            return self._greedy(features, max_length)
        start, end = self.vocabulary.start, self.vocabulary.end
        found = []
        for one in features:
            state = self.first_state(one[None])
            best = beam_search(self.step, state, start, end, beam=beam_size, max_steps=max_length)[0]
            found.append(np.array(best.ids + [end] * best.ended, np.int64))
        return found

    def _greedy(self, features, max_length):
        state, last, device = self.first_state(features), np.full(len(features), self.vocabulary.start), device_of(self)
        said, ended = [], np.zeros(len(features), bool)
        while len(said) < max_length and not ended.all():
            log_p, state = self.step(state, to_device(last, device))
            last = to_device(log_p.argmax(axis=1), "cpu")
            said.append(last)
            ended |= last == self.vocabulary.end
        return [_until(ids, self.vocabulary.end) for ids in np.stack(said, axis=1)]

    def log_probabilities(self, logits):
        """(N, V): -inf for the words that a caption never has."""
        logits = logits.copy()
        for never in (self.vocabulary.pad, self.vocabulary.start, self.vocabulary.unknown):
            logits[:, never] = -np.inf
        return LogSoftmax(axis=1)(logits)

    def sentences(self, batch):
        """(images, sentences per image (N,), words (T, S), the next words (T, S), lengths (S,)) of S captions.

        Words begin with <start>, the next words end with <end>; unknown ones are <unk>. All except the counts are on
        the images' device. Raises ValueError for an image without caption, or a caption without words.
        """
        images, captions = batch
        owner = type(self).__name__
        if len(images) != len(captions):
            raise ValueError(f"{owner}: {len(images)} images, but captions for {len(captions)}")
        for of_image in captions:
            if isinstance(of_image, str) or not len(of_image):
                raise ValueError(f"{owner}: each image needs a list of captions, got {of_image!r}")
        encoded = [self._encode(caption) for of_image in captions for caption in of_image]
        ids, lengths = pad_batch(encoded, self.vocabulary.pad)
        words = to_device((ids[:-1], ids[1:], lengths - 1), device_of(images))
        return images, np.array([*map(len, captions)]), *words

    def _encode(self, caption):
        """The ids of a caption, from <start> to <end>."""
        ids = self.vocabulary.encode(caption, start=True, end=True)
        if len(ids) == 2:
            raise ValueError(f"{type(self).__name__}: there are no words in the caption {caption!r}: leave it out")
        return ids


def _check_beam(beam_size):
    """ValueError for a beam that is none."""
    if not isinstance(beam_size, int) or beam_size < 1:
        raise ValueError(f"beam_size must be a whole number >= 1, got {beam_size!r}")


def _until(ids, end):
    """The ids up to the first `end`, with it."""
    ends = np.flatnonzero(ids == end)
    return ids[: ends[0] + 1] if len(ends) else ids
