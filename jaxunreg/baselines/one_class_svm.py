"""A one-class support vector machine on an approximate RBF kernel. Its time is linear in the number of images."""

import math
from dataclasses import dataclass

import numpy as np
import sklearn.preprocessing
from jaxtyping import Array, Float32, Float64

from jaxunreg.baselines.base import check_like_fit
from jaxunreg.baselines.convergence import convergence_warnings
from jaxunreg.baselines.rows import flatten, flatten_in_chunks
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.images import check_images
from jaxunreg.integers import check_integer
from jaxunreg.signatures import check_fields, checked


@dataclass(frozen=True)
class OneClassSVMConfig:
    """A one-class SVM (section V.B) by stochastic gradient descent on a Nystroem map of the RBF kernel.

    The exact SVM takes quadratic to cubic time in the number of images, and did not finish in the paper. The features
    of the map are the kernel between an image and a few training images, the landmarks.

    Attributes:
      nu: an upper bound on the fraction of training images outside the boundary, and a lower bound on the fraction of
        support vectors; in (0, 1].
      gamma: `gamma` of the kernel `exp(-gamma |x - y|^2)` between images whose values are scaled to unit variance; None
        for one over the number of values.
      n_landmarks: number of training images that are landmarks, at most all.
      max_iter: most passes over the training images.
      tol: descent has converged when five passes in a row gain less than this, in hinge loss an image.
      seed: seed of the landmarks and of the order of the images, not negative.

    Raises:
      ArgumentTypeError: an integer field is not an integer.
      ArgumentError: a field is out of its range.
    """

    nu: float = 0.05
    gamma: float | None = None
    n_landmarks: int = 300
    max_iter: int = 1000
    tol: float = 1e-6
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer("n_landmarks", self.n_landmarks, at_least=1)
        check_integer("max_iter", self.max_iter, at_least=1)
        check_integer("seed", self.seed, at_least=0)
        if not 0.0 < self.nu <= 1.0:
            raise ArgumentError(argument("nu", self.nu), "a number in (0, 1]")
        if self.gamma is not None and not (math.isfinite(self.gamma) and self.gamma > 0.0):
            raise ArgumentError(argument("gamma", self.gamma), "a finite number above zero, or None")
        if not (math.isfinite(self.tol) and self.tol >= 0.0):
            raise ArgumentError(argument("tol", self.tol), "a finite number that is not negative")


class OneClassSVM:
    """A one-class SVM over the pixels of whole images, or of patches.

    The score is `rho - <w, phi(x)>`, the signed distance from the boundary in feature space times the length of `w`. It
    is above zero outside of the boundary.

    Attributes:
      config: as given.
      image_shape_: height, width and channels of the images of the fit.
      scaler_: the fitted `sklearn.preprocessing.StandardScaler`, with one mean and scale for each value.
      kernel_map_: the fitted `sklearn.kernel_approximation.Nystroem`.
      svm_: the fitted `sklearn.linear_model.SGDOneClassSVM`.
      converged_: whether it reached `tol` within `max_iter`.

    References:
      Schoelkopf, B. et al. Estimating the Support of a High-Dimensional Distribution. Neural Computation 13, 2001.
      Williams, C. K. I. and Seeger, M. Using the Nystroem Method to Speed Up Kernel Machines. NIPS 2000.

    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(100, 120, (300, 4, 4, 1), dtype=np.uint8)
    >>> baseline = OneClassSVM(OneClassSVMConfig(n_landmarks=50)).fit(images)
    >>> score = baseline.scores(np.stack([images[0], np.full_like(images[0], 255)]))["score"]
    >>> bool(score[1] > 0.0 and score[1] > score[0])
    True
    """

    @checked
    def __init__(self, config: OneClassSVMConfig | None = None) -> None:
        self.config = OneClassSVMConfig() if config is None else config

    def fit(self, images: np.ndarray | Array) -> "OneClassSVM":
        """Scale the values, draw the landmarks and fit the SVM.

        Reaching `max_iter` is not an error. Then `converged_` is False.

        Args:
          images: `[N, height, width, channels]`, uint8 or floating point in [0, 1]; assumed normal.

        Returns:
          The baseline itself.

        Raises:
          ArgumentTypeError: images that are neither uint8 nor floating point.
          ArgumentError: images of another rank, not finite or out of range, or fewer than `n_landmarks`.
        """
        config = self.config
        check_images(images, (None, None, None, None))
        if len(images) < config.n_landmarks:
            raise ArgumentError(
                f"{len(images)} image(s)",
                f"at least {argument('n_landmarks', config.n_landmarks)}",
                f"give more images or lower {argument('n_landmarks')}",
                "images",
            )
        scaler = sklearn.preprocessing.StandardScaler()
        for rows in flatten_in_chunks(images):
            scaler.partial_fit(_wide(rows))
        # Drawn here, because Nystroem would need all images in float64 at once.
        landmarks = np.sort(np.random.default_rng(config.seed).permutation(len(images))[: config.n_landmarks])
        kernel_map = sklearn.kernel_approximation.Nystroem(
            gamma=1.0 / math.prod(images.shape[1:]) if config.gamma is None else config.gamma,
            n_components=config.n_landmarks,
            random_state=config.seed,
        ).fit(scaler.transform(_wide(flatten(images[landmarks]))))
        svm = sklearn.linear_model.SGDOneClassSVM(
            nu=config.nu, max_iter=config.max_iter, tol=config.tol, random_state=config.seed
        )
        features = np.concatenate(
            [kernel_map.transform(scaler.transform(_wide(rows))) for rows in flatten_in_chunks(images)]
        )
        with convergence_warnings() as warned:
            svm.fit(features)
        self.image_shape_: tuple[int, ...] = images.shape[1:]
        self.scaler_ = scaler
        self.kernel_map_ = kernel_map
        self.svm_ = svm
        self.converged_ = not warned
        return self

    def scores(self, images: np.ndarray | Array) -> dict[str, Float64[np.ndarray, "n"]]:
        """Return the anomaly score, under the name "score".

        Args:
          images: `[N, height, width, channels]` of the shape fitted on, uint8 or floating point in [0, 1].

        Returns:
          One float64 array `[N]`; higher is more anomalous, above zero outside of the boundary.

        Raises:
          NotFittedError: before `fit`.
          ArgumentTypeError: images that are neither uint8 nor floating point.
          ArgumentError: images of another shape, not finite or out of range.
        """
        check_like_fit(self, images)
        scores = []
        for rows in flatten_in_chunks(images):
            scaled = self.scaler_.transform(_wide(rows))
            scores.append(-self.svm_.decision_function(self.kernel_map_.transform(scaled)))
        return {"score": np.concatenate(scores)}


def _wide(rows: Float32[np.ndarray, "n pixels"]) -> Float64[np.ndarray, "n pixels"]:
    """Return rows in float64: the map divides by the kernel's singular values, down to 1e-6. float32 resolves 1e-7."""
    return rows.astype(np.float64)
