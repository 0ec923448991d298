"""A Gaussian mixture of full covariances, on pixels or on PCA features, with its own D, A and M."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import sklearn.mixture
from jaxtyping import Array, Float32, Float64

from jaxunreg.baselines.base import check_fitted, check_like_fit
from jaxunreg.baselines.convergence import convergence_warnings
from jaxunreg.baselines.rows import CHUNK, flatten, flatten_in_chunks
from jaxunreg.decomposition import Decomposition
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.images import check_images
from jaxunreg.integers import check_integer
from jaxunreg.mixture import gmm_decompose_with_component
from jaxunreg.signatures import check_fields, checked


@dataclass(frozen=True)
class GaussianMixtureConfig:
    """A Gaussian mixture of full covariances (section V.B), with or without PCA before it.

    The paper gives the number of components, full covariances and EM. The other settings are ours.

    Attributes:
      n_components: number of hidden classes, the paper's `N_z`. A component with fewer images than features has a
        singular covariance, which only `reg_covar` makes invertible.
      pca_components: number of principal components, the paper's `N_h`; None models the pixels. A defect outside of the
        components cannot be scored. On 24,776 SVHN digits with a mixture of two components, the ROC AUC of L and M on
        erased 4x4 squares is 0.856 and 0.858 in pixels, 0.679 and 0.535 with 500 principal components, and 0.593 and
        0.531 with 200. EM on the 3,072 pixels takes about 12 processor seconds an iteration and component.
      reg_covar: added to the diagonal of every covariance, in squared units of an image in [0, 1].
        Quantisation to uint8 alone adds a variance of `1 / (12 * 255^2) = 1.3e-6` to every pixel, so
        directions of a smaller variance carry no information. On the same digits, in float32, one component
        reaches a ROC AUC of M of 0.855 with 1e-6, 0.840 with 1e-5, 0.797 with 1e-4; on 4,000 of them the
        Cholesky factorisation fails with 1e-7.
      max_iter: most EM iterations of one initialisation.
      tol: EM has converged when the mean log-likelihood gains less, in nats an image. At 3,072 pixels it is
        near 12,000, and float32 resolves 0.001 of that.
      init: how the responsibilities start. "k-means++" and "random_from_data" start every component at a single image,
        with covariance `reg_covar`.
      n_init: number of initialisations. The likeliest result is kept.
      dtype: precision of EM. float32 takes half the memory. scikit-learn 1.6 computes in float64 anyway, later versions
        keep float32.
      seed: seed of the initialisation, not negative. A fit does not repeat exactly, because threads add in any order.
        Two fits of those digits with two components took 18 and 30 iterations, and the ROC AUCs of all four scores
        differ by less than 0.001.

    Raises:
      ArgumentTypeError: an integer field is not an integer.
      ArgumentError: a field is out of its range.
    """

    n_components: int = 2
    pca_components: int | None = None
    reg_covar: float = 1e-6
    max_iter: int = 100
    tol: float = 1e-2
    init: Literal["kmeans", "k-means++", "random", "random_from_data"] = "kmeans"
    n_init: int = 1
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer("n_components", self.n_components, at_least=1)
        if self.pca_components is not None:
            check_integer("pca_components", self.pca_components, at_least=1)
        check_integer("max_iter", self.max_iter, at_least=1)
        check_integer("n_init", self.n_init, at_least=1)
        check_integer("seed", self.seed, at_least=0)
        for name, value in (("reg_covar", self.reg_covar), ("tol", self.tol)):
            if not (math.isfinite(value) and value >= 0.0):
                raise ArgumentError(argument(name, value), "a finite number that is not negative")
        if self.init not in ("kmeans", "k-means++", "random", "random_from_data"):
            raise ArgumentError(argument("init", self.init), "kmeans, k-means++, random or random_from_data")
        if self.dtype not in ("float32", "float64"):
            raise ArgumentError(argument("dtype", self.dtype), "float32 or float64")


class GaussianMixture:
    """A Gaussian mixture whose negative log-likelihood is the sum of D, A and M (eq. 7 and 8).

    Attributes:
      config: as given.
      image_shape_: height, width and channels of the images of the fit.
      mean_image_: float32, the mean of the training images as a vector. It is subtracted from all images. That does not
        change the density, and it saves EM in float32 the digits of a common offset.
      pca_: the fitted `sklearn.decomposition.PCA`, or None.
      weights_, means_, precisions_cholesky_: the mixture in feature space, as scikit-learn names them.
      n_iter_: EM iterations of the kept initialisation.
      converged_: whether it reached `tol` within `max_iter`.
      lower_bound_: mean log-likelihood of the training images at the last iteration, in nats an image.
      convergence_warnings_: scikit-learn's convergence warnings, which are kept here and not printed.

    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 1), dtype=np.uint8)
    >>> baseline = GaussianMixture(GaussianMixtureConfig(n_components=1)).fit(images)
    >>> scores = baseline.scores(np.stack([images[0], np.full_like(images[0], 255)]))
    >>> bool(scores["m"][1] > scores["m"][0])
    True
    """

    @checked
    def __init__(self, config: GaussianMixtureConfig | None = None) -> None:
        self.config = GaussianMixtureConfig() if config is None else config

    def fit(self, images: np.ndarray | Array) -> "GaussianMixture":
        """Fit PCA, if the config asks for it, and the mixture by EM.

        Reaching `max_iter` is not an error. Then `converged_` is False, and `diagnostics` says so.

        Args:
          images: `[N, height, width, channels]`, uint8 or floating point in [0, 1]; assumed normal.

        Returns:
          The baseline itself.

        Raises:
          ArgumentTypeError: images that are neither uint8 nor floating point.
          ArgumentError: images of another rank, not finite or out of range; fewer of them than components (two
            at least) or than principal components; a covariance that is not positive definite.
        """
        config = self.config
        check_images(images, (None, None, None, None))
        flat = flatten(images)
        n_images, n_pixels = flat.shape
        if n_images < max(2, config.n_components):
            raise ArgumentError(
                f"{n_images} image(s)",
                f"at least {max(2, config.n_components)} to fit {config.n_components} component(s)",
                f"give more images or lower {argument('n_components')}",
                "images",
            )
        if config.pca_components is not None and config.pca_components > min(n_images, n_pixels):
            raise ArgumentError(
                argument("pca_components", config.pca_components),
                f"at most {min(n_images, n_pixels)} for {n_images} images of {n_pixels} values",
                "lower it",
            )
        mean_image = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
        # `flat` is our own copy, so subtracting in place saves another copy of the training set (0.9 GB for all of
        # SVHN).
        flat -= mean_image
        centred = flat.astype(config.dtype, copy=False)
        pca = None
        if config.pca_components is not None:
            pca = sklearn.decomposition.PCA(config.pca_components, random_state=config.seed).fit(centred)
            centred = pca.transform(centred)

        mixture = sklearn.mixture.GaussianMixture(
            config.n_components,
            covariance_type="full",
            tol=config.tol,
            reg_covar=config.reg_covar,
            max_iter=config.max_iter,
            n_init=config.n_init,
            init_params=config.init,
            random_state=config.seed,
        )
        with convergence_warnings() as warned:
            try:
                mixture.fit(centred)
            except ValueError as error:
                raise ArgumentError(
                    f"{n_images} images of {centred.shape[1]} features with "
                    f"{argument('n_components', config.n_components)}, {argument('reg_covar', config.reg_covar)} and "
                    f"{argument('dtype', config.dtype)}, for which EM failed ({error})",
                    "covariances that can be inverted",
                    f"raise {argument('reg_covar')}, lower {argument('n_components')} or set "
                    f"{argument('pca_components')}",
                ) from error

        self.image_shape_: tuple[int, ...] = images.shape[1:]
        self.mean_image_ = mean_image
        self.pca_ = pca
        # The estimator itself is not kept: it also holds covariances and precisions, each as large as the factors.
        self.weights_: np.ndarray = mixture.weights_
        self.means_: np.ndarray = mixture.means_
        self.precisions_cholesky_: np.ndarray = mixture.precisions_cholesky_
        self.n_iter_ = int(mixture.n_iter_)
        self.converged_ = bool(mixture.converged_)
        self.lower_bound_ = float(mixture.lower_bound_)
        self.convergence_warnings_ = warned
        self._n_images = n_images
        return self

    @property
    def diagnostics(self) -> dict[str, Any]:
        """Return how the fit went, as JSON data.

        Returns:
          `converged`, `n_iter`, `lower_bound` (nats an image), `images_of_smallest_component` (expected
          number) and `warnings` (scikit-learn's convergence warnings).

        Raises:
          NotFittedError: before `fit`.
        """
        check_fitted(self)
        return {
            "converged": self.converged_,
            "n_iter": self.n_iter_,
            "lower_bound": self.lower_bound_,
            "images_of_smallest_component": float(self._n_images * self.weights_.min()),
            "warnings": list(self.convergence_warnings_),
        }

    def decompose(self, images: np.ndarray | Array) -> Decomposition:
        """Return D, A and M of each image at its maximum a posteriori component (eq. 7 and 8).

        With `pca_components` they belong to the density of the features, which does not include PCA's residual. They
        are computed in the dtype of the fit, but in float32 unless JAX's x64 mode is on.

        Args:
          images: `[N, height, width, channels]` of the shape fitted on, uint8 or floating point in [0, 1].

        Returns:
          Leaves float64 NumPy arrays `[N]`, in nats; higher is more anomalous.

        Raises:
          NotFittedError: before `fit`.
          ArgumentTypeError: images that are neither uint8 nor floating point.
          ArgumentError: images of another shape, not finite or out of range.
        """
        terms = [terms for terms, _ in self._map_terms(images)]
        return jax.tree.map(lambda *parts: np.concatenate(parts).astype(np.float64), *terms)

    def scores(self, images: np.ndarray | Array) -> dict[str, Float64[np.ndarray, "n"]]:
        """Return anomaly scores by name: "nelbo" (`D + A + M = -log p(x, z = k)`), "d", "a" and "m".

        L is that of the maximum a posteriori component (eq. 7). It exceeds `-log p(x)` (eq. 2) by
        `-log p(z = k | x)`, which is at most `log n_components`, and nearly zero if many dimensions tell the
        components apart.

        Args:
          images: as for `decompose`.

        Returns:
          Float64 arrays `[N]`, in nats; higher is more anomalous.

        Raises:
          NotFittedError: before `fit`.
          ArgumentTypeError: images that are neither uint8 nor floating point.
          ArgumentError: images of another shape, not finite or out of range.
        """
        terms = self.decompose(images)
        d, a, m = (np.asarray(leaf) for leaf in terms)
        return {"nelbo": d + a + m, "d": d, "a": a, "m": m}

    def reconstruct(self, images: np.ndarray | Array) -> Float32[np.ndarray, "n height width channels"]:
        """Return the mean `mu_k` of each image's maximum a posteriori component (Fig. 8), mapped back through PCA.

        Args:
          images: as for `decompose`.

        Returns:
          Float32 images, in [0, 1] up to rounding without PCA.

        Raises:
          NotFittedError: before `fit`.
          ArgumentTypeError: images that are neither uint8 nor floating point.
          ArgumentError: images of another shape, not finite or out of range.
        """
        component = np.concatenate([component for _, component in self._map_terms(images)])
        means = self.means_ if self.pca_ is None else self.pca_.inverse_transform(self.means_)
        pictures = (means + self.mean_image_).astype(np.float32).reshape(-1, *self.image_shape_)
        return pictures[component]

    def _map_terms(self, images: np.ndarray | Array) -> Iterator[tuple[Decomposition, np.ndarray]]:
        """Return terms and component of the images, chunk after chunk, in bounded memory."""
        check_like_fit(self, images)
        mixture = [jnp.asarray(array) for array in (self.weights_, self.means_, self.precisions_cholesky_)]
        mixture = [array.astype(mixture[2].dtype) for array in mixture]
        for rows in flatten_in_chunks(images):
            features = rows - self.mean_image_
            if self.pca_ is not None:
                features = self.pca_.transform(features)
            count = len(features)
            # A ragged chunk is padded with copies of its last row, so that one program serves any number of images.
            filled = np.pad(features, ((0, CHUNK - count), (0, 0)), mode="edge")
            terms, component = _map_terms(jnp.asarray(filled, dtype=mixture[2].dtype), *mixture)
            yield jax.tree.map(lambda leaf, n=count: np.asarray(leaf)[:n], (terms, component))


_map_terms = jax.jit(jax.vmap(gmm_decompose_with_component, in_axes=(0, None, None, None)))
