"""Gaussians of features: whitening for each place of the map or for all places, and its nats.

With no latent variable, the features `x` of a place have the density `N(mu, Sigma)` and

    D = 0,    A = 1/2 log det(2 pi Sigma),    M = 1/2 (x - mu)^T Sigma^-1 (x - mu),

which is eq. 8 of the paper with one component (a place). With a mean and a covariance for each place, M is the score of
PaDiM (Defard et al., 2021), half its square. Whitening is the linear map `y = (x - mu) U` with `U U^T = Sigma^-1`: `y`
has M = |y|^2 / 2, and the log-determinant of the map stands in A, so that nats stay nats of `x`.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxunreg.decomposition import LOG_2PI, Decomposition
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features.network import FeatureError, FeatureMap
from jaxunreg.features.triangular import inverse_lower

# Added to each variance, relative to the mean variance of a channel: keeps the Cholesky factor of float32 positive
# where channels are copies of each other, or never active.
RIDGE = 1e-5

AnyFeatureMaps = Float[Array | np.ndarray, "images rows columns features"]
"""Maps of several images; a memory-mapped file, or float16, will do."""

_HeldOutMaps = Float[Array | np.ndarray, "held_out ..."]


@dataclass(frozen=True)
class WhiteningConfig:
    """Which Gaussian.

    Attributes:
      per_place: whether each place of the map has its own mean and covariance. That suits parts that lie in a fixture;
        textures, and parts that lie anywhere, have one Gaussian for all places.
      shrinkage: `s` in the covariance of a place, `(1 - s) S_place + s S_all`, in [0, 1]. `S_all` is the mean of
        `S_place` over all places. Zero is PaDiM without its constant; one is a mean a place and a common covariance.
        It has no meaning, and must be zero, with one Gaussian for all places.

    Raises:
      ArgumentError: a shrinkage outside of its range.

    >>> WhiteningConfig(per_place=True, shrinkage=0.6)
    WhiteningConfig(per_place=True, shrinkage=0.6)
    """

    per_place: bool
    shrinkage: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.shrinkage <= 1.0:
            raise ArgumentError(argument("shrinkage", self.shrinkage), "a number in [0, 1]")
        if self.shrinkage and not self.per_place:
            raise ArgumentError(
                argument("shrinkage", self.shrinkage), "0 with one Gaussian for all places, which has no other to mix"
            )


CANDIDATES = (
    WhiteningConfig(per_place=False),
    *(WhiteningConfig(per_place=True, shrinkage=s) for s in (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)),
)
"""What `held_out_nats` tries by default."""


@partial(jax.tree_util.register_dataclass, data_fields=["mean", "factor", "scale", "log_normalizer"], meta_fields=[])
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, as a function is, so that `jit` takes it.
class Whitening:
    """Gaussians of features as a callable pytree: map in, `Decomposition` of `[rows, columns]` out.

    What all places have in common is stored once, with one row and one column. With one Gaussian for all places that
    is everything, and maps of any size are taken; with a shrinkage of 1 it is the factor.

    Attributes:
      mean: `mu`, `[rows, columns, features]`.
      factor: `U`, upper triangular, `[rows, columns, features, features]`.
      scale: `t` with `U U^T / t^2 = Sigma^-1`, `[rows, columns]`; 1 unless `inflate` made it larger or smaller.
      log_normalizer: A of each place, in nats, `[rows, columns]`.
    """

    mean: Float[Array, "_ _ features"]
    factor: Float[Array, "_ _ features features"]
    scale: Float[Array, "_ _"]
    log_normalizer: Float[Array, "_ _"]

    @property
    def per_place(self) -> bool:
        """Whether each place has its own mean."""
        return self.mean.shape[:2] != (1, 1)

    def __call__(self, features: FeatureMap) -> Decomposition:
        """D, A and M of each place.

        Args:
          features: `[rows, columns, features]`, floating point. `jax.vmap` makes a batch of it.

        Returns:
          Float32 `[rows, columns]`, in nats a place, higher is more anomalous. D is zero.

        Raises:
          FeatureError: another number of features, or with a Gaussian a place another size of the map.
        """
        m = 0.5 * jnp.sum(jnp.square(self.whiten(features)), axis=2)
        return Decomposition(d=jnp.zeros_like(m), a=jnp.broadcast_to(self.log_normalizer, m.shape), m=m)

    def whiten(self, features: FeatureMap) -> Float[Array, "rows columns features"]:
        """The whitened residual `y = (x - mu) U / t` of each place, standard normal under the Gaussian.

        A density of `y` becomes one of `x` by `A_x = A_y + log_determinant`.

        Args:
          features: `[rows, columns, features]`, floating point.

        Returns:
          Float32, same shape.

        Raises:
          FeatureError: as above.
        """
        self._check(features)
        # The residual first: x U - mu U would subtract two large numbers and lose digits in float32.
        residual = features.astype(jnp.float32) - self.mean
        residual = residual / self.scale[:, :, None]
        if self.factor.shape[:2] == (1, 1):
            return residual @ self.factor[0, 0]
        return jnp.einsum("ijc,ijcd->ijd", residual, self.factor)

    @property
    def log_determinant(self) -> Float[Array, "_ _"]:
        """`1/2 log det Sigma` of each place: minus the log-determinant of the map from `x` to `y`, in nats."""
        return self.log_normalizer - 0.5 * LOG_2PI * self.mean.shape[2]

    def _check(self, features: FeatureMap) -> None:
        rows, columns, channels = features.shape
        if channels != self.mean.shape[2]:
            raise FeatureError(
                f"{channels} features a place",
                f"{self.mean.shape[2]}, as this whitening was fitted on",
                "use the feature network that it was fitted with",
            )
        if self.per_place and (rows, columns) != self.mean.shape[:2]:
            raise FeatureError(
                f"a map of {rows}x{columns}",
                f"{self.mean.shape[0]}x{self.mean.shape[1]}, since each place has a Gaussian of its own",
                "resize the image to the size of those it was fitted on, or fit one Gaussian for all places",
            )


class HeldOutNats(NamedTuple):
    """How well a Gaussian predicts normal images that it was not fitted on.

    Attributes:
      config: which Gaussian.
      nats: mean of A + M over held-out images and places, in nats a place; lower is better.
      standard_error: of that mean, over images.
    """

    config: WhiteningConfig
    nats: float
    standard_error: float


def fit_whitening(features: AnyFeatureMaps, config: WhiteningConfig) -> Whitening:
    """Fit Gaussians to the features of normal images.

    Means and covariances are unbiased estimates, regularised by `RIDGE`. One row of the map is worked on at a time, so
    little more memory is needed than for the result: `features^2 + features` numbers a place, in float32.

    Args:
      features: `[images, rows, columns, features]`.
      config: which Gaussian.

    Returns:
      The whitening; a pure function of one map.

    Raises:
      FeatureError: NaN or infinity, features that do not vary, or too few images or places for a covariance.

    >>> import jax.numpy as jnp, numpy as np
    >>> features = np.random.default_rng(0).normal(size=(20, 4, 6, 3)).astype(np.float32)
    >>> whitening = fit_whitening(features, WhiteningConfig(per_place=True, shrinkage=0.5))
    >>> whitening(jnp.asarray(features[0])).m.shape
    (4, 6)
    """
    shared = _moments_of_all(features, config.per_place)
    if not config.per_place:
        return _one_place(shared)
    if config.shrinkage == 1.0:
        mean = jnp.stack([jnp.mean(row, axis=1) for row in _rows(features)])
        return dataclasses.replace(_one_place(shared), mean=mean)
    rows = [_fit_row(row, shared.covariance, _as_array(config.shrinkage)) for row in _rows(features)]
    mean, factor, log_normalizer = (jnp.stack(parts) for parts in zip(*rows, strict=True))
    return Whitening(mean, factor, jnp.ones((1, 1), jnp.float32), log_normalizer)


def inflate(whitening: Whitening, held_out: AnyFeatureMaps, *, prior_images: float = 20.0) -> Whitening:
    """Widen each Gaussian to what it reaches on normal images that it was not fitted on.

    A covariance is too small for other images than those it is estimated on, and by more at one place than at another.
    `Sigma` is multiplied by `t^2`, the mean of `2 M / features` over held-out images; M is divided by `t^2`, and A
    grows by `features log t`. So it stays a density, and the nats of further images say whether it is a better one. On
    metal_plate (40 images to fit, 7 held out) they fall from 228 to 224 nats a place, on bottle (157 and 26) from 74
    to 61.

    Args:
      whitening: from `fit_whitening`.
      held_out: features of other normal images, `[images, rows, columns, features]`.
      prior_images: so many images with the mean of `M` over all places are added to those of each place. It has no
        effect with one Gaussian for all places.

    Raises:
      FeatureError: no images, NaN or infinity, or maps that do not fit the whitening.

    >>> import jax.numpy as jnp, numpy as np
    >>> maps = np.random.default_rng(0).normal(size=(9, 4, 6, 3)).astype(np.float32)
    >>> whitening = fit_whitening(maps[:4], WhiteningConfig(per_place=True, shrinkage=0.5))
    >>> wider = inflate(whitening, maps[4:])
    >>> bool(jnp.all(wider.scale > 1.0))
    True
    """
    if len(held_out) == 0:
        raise FeatureError("no held-out images", "at least 1", "hold out normal images")
    for _ in _rows(held_out):  # Looks for NaN and infinity.
        pass
    total = _total(_m_of_map(whitening, jnp.asarray(features, jnp.float32)) for features in held_out)
    ratio = 2.0 * total / whitening.mean.shape[2]
    common = jnp.mean(ratio, keepdims=True) / len(held_out)
    squared = (ratio + prior_images * common) / (len(held_out) + prior_images) if whitening.per_place else common
    return dataclasses.replace(
        whitening,
        scale=whitening.scale * jnp.sqrt(squared),
        log_normalizer=whitening.log_normalizer + 0.5 * whitening.mean.shape[2] * jnp.log(squared),
    )


def held_out_nats(
    features: AnyFeatureMaps, held_out: _HeldOutMaps, configs: Sequence[WhiteningConfig] = CANDIDATES
) -> tuple[HeldOutNats, ...]:
    """How well each of several Gaussians, fitted to some normal images, predicts others.

    The densities are of the same features, so their nats can be compared. No defect and no label is needed. On a CPU
    a place takes half a millisecond for each config, with 152 features; a regular subset of the places, such as
    `features[:, ::2, ::2]`, tells as much in a quarter of the time.

    Args:
      features: of the images to fit to, `[images, rows, columns, features]`.
      held_out: of other normal images.
      configs: the Gaussians to try.

    Returns:
      An entry for each config, in that order.

    Raises:
      FeatureError: as `fit_whitening`; also maps of another size, or of other features, held out.

    >>> import numpy as np
    >>> features = np.random.default_rng(0).normal(size=(40, 4, 6, 3)).astype(np.float32)
    >>> table = held_out_nats(features[:30], features[30:])
    >>> best_config(table).per_place
    False
    """
    if held_out.shape[1:] != features.shape[1:] or len(held_out) == 0:
        raise FeatureError(
            f"held-out features of shape {list(held_out.shape)}",
            f"{['images', *features.shape[1:]]}, as those to fit to".replace("'", ""),
            "pass at least one image, through the same network at the same size",
        )
    nats = np.zeros((len(configs), len(held_out)))
    of_places = [k for k, config in enumerate(configs) if config.per_place]
    if len(of_places) < len(configs):
        whitening = _one_place(_moments_of_all(features, per_place=False))
        nats[[k for k in range(len(configs)) if k not in of_places]] = sum(
            np.asarray(_nats_of_row(whitening, row)) for row in _rows(held_out)
        )
    if of_places:
        covariance = _moments_of_all(features, per_place=True).covariance
        shrinkages = [_as_array(configs[k].shrinkage) for k in of_places]
        for row, other in zip(_rows(features), _rows(held_out), strict=True):
            moments = _moments_of_row(row)
            for k, shrinkage in zip(of_places, shrinkages, strict=True):
                nats[k] += np.asarray(_held_out_row(moments, other, covariance, shrinkage))
    nats /= features.shape[1] * features.shape[2]
    errors = nats.std(axis=1, ddof=1) / np.sqrt(len(held_out)) if len(held_out) > 1 else np.full(len(configs), np.nan)
    return tuple(
        HeldOutNats(config, float(mean), float(error))
        for config, mean, error in zip(configs, nats.mean(axis=1), errors, strict=True)
    )


def best_config(table: Sequence[HeldOutNats]) -> WhiteningConfig:
    """The Gaussian with the fewest held-out nats, the first of equals.

    >>> one, other = WhiteningConfig(per_place=False), WhiteningConfig(per_place=True, shrinkage=0.3)
    >>> best_config([HeldOutNats(one, 193.0, 2.0), HeldOutNats(other, 182.0, 2.0)])
    WhiteningConfig(per_place=True, shrinkage=0.3)
    """
    return min(table, key=lambda entry: entry.nats).config


class _Moments(NamedTuple):
    mean: Array
    covariance: Array


def _as_array(number: float) -> Array:
    return jnp.asarray(number, jnp.float32)


def _rows(features: Array | np.ndarray) -> Iterator[Array]:
    """Each row of the map for all images, places first: `[columns, images, features]` in float32, checked."""
    for k in range(features.shape[1]):
        row = np.asarray(features[:, k])
        if not np.isfinite(row).all():
            image, column, _ = np.argwhere(~np.isfinite(row))[0]
            raise FeatureError(
                f"features with NaN or infinity, first in image {image} at row {k}, column {column}",
                "finite numbers",
                "look at that image and at the feature network; float16 ends at 65504",
            )
        yield jnp.asarray(row.transpose(1, 0, 2), jnp.float32)


def _moments_of_all(features: AnyFeatureMaps, per_place: bool) -> _Moments:
    """Mean and covariance for all places; with `per_place`, of the residuals from the mean of each place."""
    images, height, width, channels = features.shape
    if images < 2:
        raise FeatureError(f"{images} images to fit to", "at least 2", "add normal images")
    places = height * width
    free = (images - 1) * places if per_place else images * places - 1
    if free < channels:
        raise FeatureError(
            f"{images} images with maps of {height}x{width}, too few for a covariance of {channels} features",
            f"at least {channels} independent places in all; there are {free}",
            "add normal images, or enlarge them",
        )
    if per_place:
        mean = jnp.zeros(channels, jnp.float32)
        scatter = _total(_scatter_of_row(row) for row in _rows(features))
    else:
        mean = _total(jnp.sum(row, axis=(0, 1)) for row in _rows(features)) / (images * places)
        scatter = _total(_scatter_around(row, mean) for row in _rows(features))
    covariance = scatter / free
    ridge = RIDGE * float(jnp.trace(covariance)) / channels
    if ridge == 0.0:
        raise FeatureError(
            f"features of {images} images that do not vary", "normal images that differ", "pass different images"
        )
    return _Moments(mean, covariance + ridge * jnp.eye(channels, dtype=jnp.float32))


def _total(parts: Iterator[Array]) -> Array:
    return functools.reduce(jnp.add, parts)


@jax.jit
def _scatter_of_row(row: Array) -> Array:
    residual = row - jnp.mean(row, axis=1, keepdims=True)
    return jnp.einsum("pnc,pnd->cd", residual, residual)


@jax.jit
def _scatter_around(row: Array, mean: Array) -> Array:
    residual = row - mean.reshape(1, 1, -1)
    return jnp.einsum("pnc,pnd->cd", residual, residual)


@jax.jit
def _moments_of_row(row: Array) -> _Moments:
    mean = jnp.mean(row, axis=1)
    residual = row - mean[:, None]
    return _Moments(mean, jnp.swapaxes(residual, 1, 2) @ residual / (row.shape[1] - 1))


def _shrink(covariance: Array, shared: Array, shrinkage: Array) -> Array:
    # The shared covariance has its ridge already, and a place needs one where it is not shrunk.
    channels = shared.shape[0]
    ridge = (1.0 - shrinkage) * RIDGE * jnp.trace(shared) / channels
    return (
        (1.0 - shrinkage) * covariance + shrinkage * shared[None] + ridge * jnp.eye(channels, dtype=shared.dtype)[None]
    )


@jax.jit
def _fit_row(row: Array, shared: Array, shrinkage: Array) -> tuple[Array, Array, Array]:
    moments = _moments_of_row(row)
    lower = jnp.linalg.cholesky(_shrink(moments.covariance, shared, shrinkage))
    return moments.mean, _upper(lower), _log_normalizer(lower)


@jax.jit
def _held_out_row(moments: _Moments, held_out: Array, shared: Array, shrinkage: Array) -> Array:
    """A + M of a row of places, summed over the row, for each held-out image."""
    lower = jnp.linalg.cholesky(_shrink(moments.covariance, shared, shrinkage))
    residual = held_out - moments.mean[:, None]
    whitened = residual @ _upper(lower)
    return jnp.sum(_log_normalizer(lower)) + 0.5 * jnp.sum(jnp.square(whitened), axis=(0, 2))


@jax.jit
def _nats_of_row(whitening: Whitening, held_out: Array) -> Array:
    """The same with one Gaussian for all places."""
    terms = jax.vmap(whitening)(held_out.transpose(1, 0, 2)[:, None])
    return jnp.sum(terms.a + terms.m, axis=(1, 2))


@jax.jit
def _one_place(moments: _Moments) -> Whitening:
    lower = jnp.linalg.cholesky(moments.covariance)
    one = jnp.ones((1, 1), jnp.float32)
    return Whitening(moments.mean[None, None], _upper(lower)[None, None], one, _log_normalizer(lower)[None, None])


@jax.jit
def _m_of_map(whitening: Whitening, features: Array) -> Array:
    return jnp.asarray(whitening(features).m)


def _upper(lower: Array) -> Array:
    """`U = L^-T` of `Sigma = L L^T`, so that `U U^T = Sigma^-1`."""
    return jnp.swapaxes(inverse_lower(lower), -1, -2)


def _log_normalizer(lower: Array) -> Array:
    """`1/2 log det(2 pi Sigma)` of `Sigma = L L^T`."""
    diagonal = jnp.diagonal(lower, axis1=-2, axis2=-1)
    return 0.5 * LOG_2PI * lower.shape[-1] + jnp.sum(jnp.log(diagonal), axis=-1)
