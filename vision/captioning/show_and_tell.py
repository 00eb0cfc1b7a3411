"""Show and Tell, and neuraltalk: a recurrent network that describes an image given once, as one vector.

Reference: Vinyals et al. 2015, Show and tell, arXiv:1411.4555; Karpathy and Fei-Fei 2015, Deep visual-semantic
alignments for generating image descriptions, arXiv:1412.2306.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import LSTM, RNN, Dropout, Embedding, Linear
from nn.dispatch import array_module
from vision.captioning.captioner import (
    PHOTO_RECIPE,
    PHOTO_TINY,
    Captioner,
    CaptionerOptions,
    EncoderKind,
    PhotoOptions,
)
from vision.captioning.encoder import ImageVector
from vision.copies import gather, spread
from vision.registry import Tiny, register
from vision.sequence import sequence_cross_entropy


class Cache(NamedTuple):
    """From loss to backward: the caches of all parts, and the gradient of the loss with respect to the logits."""

    encoder: Any
    vector: Any
    counts: np.ndarray  # sentences per image
    decoder: Any
    dlogits: np.ndarray


class DecoderCache(NamedTuple):
    """The caches of the decoder's parts."""

    image: Any
    embedding: Any
    cell: Any
    dropout: Any
    output: Any


class ShowAndTell(Captioner):
    """p(S_0 ... S_T | image) = product over t of p(S_t | v, S_0 ... S_{t-1}), v the image as one vector.

    v is the hidden layer of the CNN before its softmax (ImageVector), and enters the recurrent network once:

    image="first_input": x_{-1} = W_e v, then x_t = E S_t for the words from <start> on (Vinyals et al., eq. 10-12)
    image="first_step": h_t = f(W_xh E S_t + W_hh h_{t-1} + W_ih v [t = 1] + b) (Karpathy and Fei-Fei, eq. 13-15)

    and p_{t+1} = softmax(W_o h_t + b_o). cell: "lstm" or "rnn", the latter with f by `nonlinearity`: ReLU, as in the
    authors' neuraltalk, or tanh. W_xh and W_ih are the left and the right columns of the cell's weight_ih_l0, its input
    being [E S_t; v], and [E S_t; 0] after the first step.

    loss: the mean over the sentences of the sum of -log p of their words and <end> (Vinyals et al., eq. 13).
    fine_tune: whether gradients flow into the CNN below v. Vinyals et al. leave their published CNN unchanged (sec.
    4.3.1); here, from random weights, it has to learn.
    """

    def __init__(self, words, options: "Options | ShowAndTellPhotoOptions", rng: np.random.Generator):
        super().__init__(words, options, rng)
        inputs, hidden, v = options.embedding_size, options.hidden_size, options.vector_size
        self.at_first_step = options.image == "first_step"
        self.vector = ImageVector(self.encoder.out_channels, options.levels, v, rng=rng)
        self.image = None if self.at_first_step else Linear(v, inputs, rng=rng)  # W_e
        self.embedding = Embedding(len(words), inputs, rng=rng)
        inputs = inputs + v if self.at_first_step else inputs
        if options.cell == "lstm":
            self.cell = LSTM(inputs, hidden, rng=rng)
        else:
            self.cell = RNN(inputs, hidden, nonlinearity=options.nonlinearity, rng=rng)
        self.dropout = Dropout(options.dropout, rng=rng.spawn(1)[0])
        self.output = Linear(hidden, len(words), rng=rng)

    def loss(self, batch, rng: np.random.Generator, sampled: None = None):
        """({words}, cache)."""
        images, counts, before, after, lengths = self.sentences(batch)
        features, c_encoder = self.encoder.forward(images)
        v, c_vector = self.vector.forward(features)
        logits, c_decoder = self.decode(spread(v, counts), before)
        words, dlogits = sequence_cross_entropy(logits, after, lengths)
        return {"words": words}, Cache(c_encoder, c_vector, counts, c_decoder, dlogits)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters."""
        dv = gather(self.decode_backward(cache.dlogits, cache.decoder), cache.counts)
        dfeatures = self.vector.backward(dv, cache.vector)
        self.encoder.backward_parameters(dfeatures, cache.encoder)

    def decode(self, v, words, training=True):
        """logits (T, N, V) of the words that follow `words` (T, N)."""
        x, c_embedding = self.embedding.forward(words, training)
        x, c_image = self._show(v, x)
        (h, *_), c_cell = self.cell.forward(x, training=training)
        h = h if self.at_first_step else h[1:]  # the image's own step has no output
        h, c_dropout = self.dropout.forward(h, training)
        logits, c_output = self.output.forward(h.reshape(-1, h.shape[2]), training)
        cache = DecoderCache(c_image, c_embedding, c_cell, c_dropout, c_output)
        return logits.reshape(*words.shape, logits.shape[1]), cache

    def decode_backward(self, dlogits, cache):
        """dv."""
        xp, (steps, n, size) = array_module(dlogits), dlogits.shape
        dh = self.output.backward(dlogits.reshape(steps * n, size), cache.output)
        dh = self.dropout.backward(dh.reshape(steps, n, dh.shape[1]), cache.dropout)
        if not self.at_first_step:
            dh = xp.concatenate([xp.zeros_like(dh[:1]), dh])  # h[1:]
        dx = self.cell.backward((dh, *[None] * len(self.cell.states)), cache.cell)[0]
        dx, dv = self._show_backward(dx, cache.image)
        self.embedding.backward(dx, cache.embedding)
        return dv

    def _show(self, v, x):
        """The input of the recurrent network: the words (T, N, E) with the image."""
        xp = array_module(v)
        if self.at_first_step:
            seen = xp.zeros((*x.shape[:2], v.shape[1]), v.dtype)
            seen[0] = v
            return xp.concatenate([x, seen], axis=2), None
        first, cache = self.image.forward(v)
        return xp.concatenate([first[None], x]), cache

    def _show_backward(self, dx, cache):
        """(gradient of the words, dv)."""
        if self.at_first_step:
            size = self.embedding.embedding_dim
            return dx[:, :, :size], dx[0, :, size:]  # [x; v] at the first step
        return dx[1:], self.image.backward(dx[0], cache)  # [W_e v, x_0, x_1, ...]

    def first_state(self, features):
        """(hidden states ..., v): v is the image at the first step, zeros after it; see `step`."""
        v = self.vector(features)
        states = [array_module(v).zeros((len(v), self.cell.hidden_size), v.dtype) for _ in self.cell.states]
        if self.at_first_step:
            return (*states, v)
        return (*self._advance(self.image(v), states), v)

    def step(self, state, last):
        """(log_p (N, V), state) of the word after `last` (N,)."""
        *states, v = state
        x, xp = self.embedding(last), array_module(v)
        x = xp.concatenate([x, v], axis=1) if self.at_first_step else x
        states = self._advance(x, states)
        return self.log_probabilities(self.output(states[0])), (*states, xp.zeros_like(v))

    def _advance(self, x, states):
        """The states (N, H) after one more input (N, D)."""
        (_, *states), _ = self.cell.forward(x[None], *(s[None] for s in states), training=False)
        return [s[0] for s in states]


# Vinyals et al., sec. 4.3.1, use SGD without momentum. A batch has both captions of each generated scene.
RECIPE = {
    "epochs": 4, "batch_size": 8, "optimiser": "adam", "lr": 0.001, "weight_decay": 0.0, "schedule": "polynomial",
    "warm_up": 200, "clip_norm": 5.0, "shapes_size": [64, 80], "shapes_train": 48000, "jitter": 0.0,
    "flip_vertical": 0.5,
}  # fmt: skip
TINY = {"width": 1, "embedding_size": 3, "hidden_size": 4, "levels": (2, 1), "vector_size": 5}
PAPER = {"system": "Show and Tell", "paper": "Vinyals et al. 2015, arXiv:1411.4555"}


@dataclass(frozen=True)
class Options(CaptionerOptions):
    """Show and Tell: an LSTM with the image as its first input."""

    cell: Literal["lstm", "rnn"] = "lstm"  # the recurrent network
    nonlinearity: Literal["relu", "tanh"] = "relu"  # nonlinearity of cell=rnn
    image: Literal["first_input", "first_step"] = "first_input"  # where the image comes in
    levels: tuple[int, ...] | None = (4, 2, 1)  # bins of the pyramid pooling of the features; none: their mean
    vector_size: int = 256  # size of the image's vector


register(
    "show_and_tell", "captioning", RECIPE, options=Options, tiny=Tiny(TINY), **PAPER,
    figures="63.1 % of the captions of 1,000 unseen generated scenes are true, 70.7 % with image=first_step; "
    "photographs: CIDEr-D 0.223",
)(ShowAndTell)  # fmt: skip


@dataclass(frozen=True)
class ShowAndTellPhotoOptions(PhotoOptions):
    """Show and Tell on the class scores of SqueezeNet before its softmax: --set encoder_weights=FILE."""

    encoder: EncoderKind = "squeezenet_classes"  # the CNN: see Encoder
    cell: Literal["lstm", "rnn"] = "lstm"  # the recurrent network
    nonlinearity: Literal["relu", "tanh"] = "relu"  # nonlinearity of cell=rnn
    image: Literal["first_input", "first_step"] = "first_input"  # where the image comes in
    levels: tuple[int, ...] | None = None  # bins of the pyramid pooling of the features; none: their mean
    vector_size: int = 256  # size of the image's vector


register(
    "show_and_tell_photos", "captioning", PHOTO_RECIPE, options=ShowAndTellPhotoOptions,
    tiny=Tiny(PHOTO_TINY | {"vector_size": 5}), **PAPER,
)(ShowAndTell)  # fmt: skip


@dataclass(frozen=True)
class NeuraltalkOptions(Options):
    """neuraltalk: a simple recurrent network; the image is added at its first step."""

    cell: Literal["lstm", "rnn"] = "rnn"  # the recurrent network
    image: Literal["first_input", "first_step"] = "first_step"  # where the image comes in


register(
    "neuraltalk", "captioning", RECIPE, options=NeuraltalkOptions, tiny=Tiny(TINY),
    system="neuraltalk", paper="Karpathy and Fei-Fei 2015, arXiv:1412.2306",
    figures="60.1 % of the captions of 1,000 unseen generated scenes are true, with nonlinearity=tanh",
)(ShowAndTell)  # fmt: skip
