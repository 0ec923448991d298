"""A model after its training, as the study uses it: maps of scores by patch and by pixel, by name."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

import jaxunreg as ju
from jaxunreg.baselines import Baseline
from jaxunreg.images import to_float
from jaxunreg.scoring.patch_stream import average_patches, map_patches

_PATCHES_A_CALL = 1024


class Fitted(Protocol):
    """What a trained model must offer."""

    def score_maps(self, images: Iterable[np.ndarray], *, stride: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield scores of every patch of each image, by name, `[rows, columns]`."""
        ...

    def pixel_maps(self, images: Iterable[np.ndarray], *, stride: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield a value for each pixel of each image, by name, `[height, width]`: the mean over its patches."""
        ...


class FittedNetwork(NamedTuple):
    """A VAE or an AE, which has a value for each pixel of a patch.

    Attributes:
      scorer: the trained network.
      scores: the terms of its decomposition that are scores.
    """

    scorer: ju.Scorer
    scores: tuple[str, ...]

    def score_maps(self, images: Iterable[np.ndarray], *, stride: int) -> Iterator[dict[str, np.ndarray]]:
        """See `Fitted`."""
        yield from map(self._named, ju.score_each(self.scorer, images, stride=stride))

    def pixel_maps(self, images: Iterable[np.ndarray], *, stride: int) -> Iterator[dict[str, np.ndarray]]:
        """See `Fitted`."""
        yield from map(self._named, ju.heat_map_each(self.scorer, images, stride=stride))

    def absolute_error(self, image: np.ndarray, *, stride: int) -> np.ndarray:
        """Return `|x - mu_x|` for each pixel, the mean over channels and over the patches that cover it."""

        def error(patches: np.ndarray) -> np.ndarray:
            return abs(np.asarray(to_float(patches)) - ju.reconstruct_images(self.scorer, patches)).mean(-1)

        patch = self.scorer.model.config.image_shape[:2]
        [found] = average_patches(error, [image], patch=patch, stride=stride, patches_a_call=_PATCHES_A_CALL)
        return found

    def _named(self, terms: ju.Decomposition) -> dict[str, np.ndarray]:
        return {name: np.asarray(getattr(terms, name)) for name in self.scores}


class FittedBaseline(NamedTuple):
    """A model of scikit-learn. All pixels of a patch get the patch's score.

    Attributes:
      baseline: the fitted model.
      scores: names of its scores.
      patch: height and width of a patch.
    """

    baseline: Baseline
    scores: tuple[str, ...]
    patch: tuple[int, int]

    def score_maps(self, images: Iterable[np.ndarray], *, stride: int) -> Iterator[dict[str, np.ndarray]]:
        """See `Fitted`."""
        yield from map(
            self._in_order,
            map_patches(self.baseline.scores, images, patch=self.patch, stride=stride, patches_a_call=_PATCHES_A_CALL),
        )

    def pixel_maps(self, images: Iterable[np.ndarray], *, stride: int) -> Iterator[dict[str, np.ndarray]]:
        """See `Fitted`."""

        def spread(patches: np.ndarray) -> dict[str, np.ndarray]:
            scores = self.baseline.scores(patches)
            return {name: np.broadcast_to(s[:, None, None], (len(s), *self.patch)) for name, s in scores.items()}

        yield from map(
            self._in_order,
            average_patches(spread, images, patch=self.patch, stride=stride, patches_a_call=_PATCHES_A_CALL),
        )

    def _in_order(self, maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # JAX's trees have alphabetical order.
        return {name: maps[name] for name in self.scores}
