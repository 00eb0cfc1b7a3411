"""The features of a picture and of its mirror image by a frozen network."""

from collections.abc import Container, Mapping

import numpy as np

from nn.dispatch import array_module
from nn.layer import Layer
from vision.backbones import Backbone


class TwoViews(Layer):
    """images (N, 3, H, W) to features (N, 2, D h w + E) of each and of its mirror image: the map (D, h, w) of the stage
    `last`, flat, and the means (E,) of the map of the later stage `whole`, where there is one.

    size: (H, W). shape: (D, h, w); means: E. All of the network is frozen. Raises ValueError for a stage `whole` that
    is not later than `last`.
    """

    def __init__(self, backbone: Backbone, size: tuple[int, int], last: str, whole: str | None = None):
        self.backbone, self.names = backbone.up_to(whole or last), (last, whole) if whole else (last,)
        self.backbone.freeze(whole or last)
        if last not in self.backbone.names:
            raise ValueError(f"TwoViews: whole must be a stage after {last}, got {whole}")
        (cells,), _ = self.backbone.forward_stages(np.zeros((1, 3, *size), np.float32), False, (last,))
        self.shape, self.means = cells.shape[1:], self.backbone.channels[whole] if whole else 0

    def see(self, images):
        """(features, None)."""
        xp, views = array_module(images), []
        for view in (images, images[..., ::-1]):
            (cells, *later), _ = self.backbone.forward_stages(view, False, self.names)
            views.append(xp.concatenate([cells.reshape(len(view), -1), *(y.mean(axis=(2, 3)) for y in later)], axis=1))
        return xp.stack(views, axis=1), None

    def split(self, x):
        """The map (N, D, h, w) and the means (N, E) of the features (N, D h w + E) of one view."""
        flat = x.shape[1] - self.means
        return x[:, :flat].reshape(len(x), *self.shape), x[:, flat:]

    def names_of(self, arrays: Mapping[str, np.ndarray], own: Container[str]) -> dict[str, np.ndarray]:
        """Published weights of the network under the names that a model has for them, `own`, with these as `views`."""
        renamed = self.backbone.pretrained_names(arrays)
        return {name if name in own else f"views.backbone.{name}": array for name, array in renamed.items()}
