"""An Isolation Forest over pixels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import sklearn.ensemble
from jaxtyping import Array, Float64

from jaxunreg.baselines.base import check_like_fit
from jaxunreg.baselines.rows import flatten, flatten_in_chunks
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.images import check_images
from jaxunreg.integers import check_integer
from jaxunreg.signatures import check_fields, checked


@dataclass(frozen=True)
class IsolationForestConfig:
    """An Isolation Forest (section V.B).

    Attributes:
      n_trees: number of isolation trees, the paper's `N_e`.
      samples_per_tree: number of images for each tree.
      contamination: the fraction of the training images to call anomalous, in (0, 0.5], the paper's `r`, or "auto" for
        the threshold of the original article. It decides only `threshold_`. The scores do not depend on it.
      n_jobs: threads; None is one, -1 all processors.
      seed: seed of samples and splits, not negative.

    Raises:
      ArgumentTypeError: an integer field is not an integer.
      ArgumentError: a field is out of its range.
    """

    n_trees: int = 1000
    samples_per_tree: int = 256
    contamination: float | Literal["auto"] = 0.01
    n_jobs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer("n_trees", self.n_trees, at_least=1)
        check_integer("samples_per_tree", self.samples_per_tree, at_least=2)
        check_integer("seed", self.seed, at_least=0)
        if self.contamination != "auto" and (
            isinstance(self.contamination, str) or not 0.0 < self.contamination <= 0.5
        ):
            raise ArgumentError(argument("contamination", self.contamination), "a number in (0, 0.5] or 'auto'")


class IsolationForest:
    """An Isolation Forest over the pixels of whole images, or of patches.

    The score is `2^(-h(x) / c)`, where `h` is the mean depth at which the trees isolate the image, and `c` the expected
    depth for `samples_per_tree` images. It is in (0, 1], and higher for more anomalous images.

    Attributes:
      config: as given.
      image_shape_: height, width and channels of the images of the fit.
      threshold_: a score above it is anomalous. The fraction `contamination` of the training images exceeds it.

    References:
      Liu, F. T., Ting, K. M. and Zhou, Z.-H. Isolation Forest. ICDM 2008.

    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(100, 120, (300, 4, 4, 1), dtype=np.uint8)
    >>> baseline = IsolationForest(IsolationForestConfig(n_trees=50)).fit(images)
    >>> score = baseline.scores(np.stack([images[0], np.full_like(images[0], 255)]))["score"]
    >>> bool(score[1] > baseline.threshold_)
    True
    """

    @checked
    def __init__(self, config: IsolationForestConfig | None = None) -> None:
        self.config = IsolationForestConfig() if config is None else config

    def fit(self, images: np.ndarray | Array) -> "IsolationForest":
        """Grow the trees and set the threshold.

        Args:
          images: `[N, height, width, channels]`, uint8 or floating point in [0, 1]; assumed normal.

        Returns:
          The baseline itself.

        Raises:
          ArgumentTypeError: images that are neither uint8 nor floating point.
          ArgumentError: images of another rank, not finite or out of range, or fewer than `samples_per_tree`.
        """
        config = self.config
        check_images(images, (None, None, None, None))
        if len(images) < config.samples_per_tree:
            raise ArgumentError(
                f"{len(images)} image(s)",
                f"at least {argument('samples_per_tree', config.samples_per_tree)}",
                f"give more images or lower {argument('samples_per_tree')}",
                "images",
            )
        forest = sklearn.ensemble.IsolationForest(
            n_estimators=config.n_trees,
            max_samples=config.samples_per_tree,
            contamination=config.contamination,
            n_jobs=config.n_jobs,
            random_state=config.seed,
        ).fit(flatten(images))
        self.image_shape_: tuple[int, ...] = images.shape[1:]
        self.forest_ = forest
        self.threshold_ = float(-forest.offset_)
        return self

    def scores(self, images: np.ndarray | Array) -> dict[str, Float64[np.ndarray, "n"]]:
        """Return the anomaly score, under the name "score".

        Args:
          images: `[N, height, width, channels]` of the shape fitted on, uint8 or floating point in [0, 1].

        Returns:
          One float64 array `[N]` in (0, 1]; higher is more anomalous.

        Raises:
          NotFittedError: before `fit`.
          ArgumentTypeError: images that are neither uint8 nor floating point.
          ArgumentError: images of another shape, not finite or out of range.
        """
        check_like_fit(self, images)
        scores = [-self.forest_.score_samples(rows) for rows in flatten_in_chunks(images)]
        return {"score": np.concatenate(scores).astype(np.float64)}
