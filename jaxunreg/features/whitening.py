"""Gaussians of features: whitening for each place of the map or for all places, and its nats.

With no latent variable, the features `x` of a place have the density `N(mu, Sigma)` and

    D = 0,    A = 1/2 log det(2 pi Sigma),    M = 1/2 (x - mu)^T Sigma^-1 (x - mu),

which is eq. 8 of the paper with one component (a place). With a mean and a covariance for each place, M is half the
square of PaDiM's score. Whitening is the linear map `y = (x - mu) U` with `U U^T = Sigma^-1`. Then M = |y|^2 / 2, and A
includes the log-determinant of the map, so that nats stay nats of `x`.

References:
  Defard, T. et al. PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization. ICPR
    Workshops 2021.
"""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxunreg.decomposition import LOG_2PI, Decomposition
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features.network import FeatureError, FeatureMap
from jaxunreg.signatures import check_fields, checked


@dataclass(frozen=True)
class WhiteningConfig:
    """The kind of Gaussian.

    Attributes:
      per_place: whether each place of the map has its own mean and covariance. That suits parts in a fixture. Use one
        Gaussian for all places for textures, and for parts that may lie anywhere.
      shrinkage: `s` in the covariance of a place, `(1 - s) S_place + s S_all`, in [0, 1]. `S_all` is the mean of
        `S_place` over all places. Zero is PaDiM without its constant. One is a mean for each place with a common
        covariance. With one Gaussian for all places it has no meaning and must be zero.

    Raises:
      ArgumentError: the shrinkage is out of its range.

    >>> WhiteningConfig(per_place=True, shrinkage=0.6)
    WhiteningConfig(per_place=True, shrinkage=0.6)
    """

    per_place: bool
    shrinkage: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0.0 <= self.shrinkage <= 1.0:
            raise ArgumentError(argument("shrinkage", self.shrinkage), "a number in [0, 1]")
        if self.shrinkage and not self.per_place:
            raise ArgumentError(
                argument("shrinkage", self.shrinkage), "0 with one Gaussian for all places, which has no other to mix"
            )


@partial(jax.tree_util.register_dataclass, data_fields=["mean", "factor", "scale", "log_normalizer"], meta_fields=[])
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, like a function, so that `jit` takes it.
class Whitening:
    """Gaussians of features as a callable pytree, from a map to a `Decomposition` of `[rows, columns]`.

    Arrays that all places share are stored once, with one row and one column. With one Gaussian for all places these
    are all arrays, and maps of any size are taken. With a shrinkage of 1 it is the factor.

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

    @property
    def latent_dim(self) -> int:
        """Zero, because a Gaussian has no latent variable."""
        return 0

    def widened(self, squared: Float[Array, "*places"]) -> "Whitening":
        """Return the whitening with `Sigma` times `t^2`: M is divided by `t^2`, and A grows by `features log t`.

        Args:
          squared: `t^2`, a scalar for all places, or `[rows, columns]`.
        """
        return replace(
            self,
            scale=self.scale * jnp.sqrt(squared),
            log_normalizer=self.log_normalizer + 0.5 * self.mean.shape[2] * jnp.log(squared),
        )

    def row(self, number: int) -> "Whitening":
        """Return the whitening of one row of the map."""
        return jax.tree.map(lambda leaf: leaf if leaf.shape[0] == 1 else leaf[number : number + 1], self)

    def __call__(self, features: FeatureMap) -> Decomposition:
        """Return D, A and M of each place.

        Args:
          features: `[rows, columns, features]`, floating point. `jax.vmap` makes a batch of it.

        Returns:
          Float32 `[rows, columns]`, in nats a place, higher is more anomalous. D is zero.

        Raises:
          FeatureError: the number of features differs, or, with a Gaussian for each place, the size of the map.
        """
        m = 0.5 * jnp.sum(jnp.square(self.whiten(features)), axis=2)
        return Decomposition(d=jnp.zeros_like(m), a=jnp.broadcast_to(self.log_normalizer, m.shape), m=m)

    @checked
    def whiten(self, features: FeatureMap) -> Float[Array, "rows columns features"]:
        """Return the whitened residual `y = (x - mu) U / t` of each place, standard normal under the Gaussian.

        A density of `y` becomes one of `x` by `A_x = A_y + log_determinant`.

        Args:
          features: `[rows, columns, features]`, floating point.

        Returns:
          Float32, same shape.

        Raises:
          FeatureError: as above.
        """
        self._check(features)
        # The residual comes first: x U - mu U would subtract two large numbers and lose digits in float32.
        residual = features.astype(jnp.float32) - self.mean
        residual = residual / self.scale[:, :, None]
        if self.factor.shape[:2] == (1, 1):
            return residual @ self.factor[0, 0]
        return jnp.einsum("ijc,ijcd->ijd", residual, self.factor)

    @property
    def log_determinant(self) -> Float[Array, "_ _"]:
        """Return `1/2 log det Sigma` of each place: minus the log-determinant of the map from `x` to `y`, in nats."""
        return self.log_normalizer - 0.5 * LOG_2PI * self.mean.shape[2]

    def _check(self, features: FeatureMap) -> None:
        rows, columns, channels = features.shape
        if channels != self.mean.shape[2]:
            raise FeatureError(
                f"{channels} features a place",
                f"{self.mean.shape[2]}, as in the fit of this whitening",
                "use the feature network of the fit",
            )
        if self.per_place and (rows, columns) != self.mean.shape[:2]:
            raise FeatureError(
                f"a map of {rows}x{columns}",
                f"{self.mean.shape[0]}x{self.mean.shape[1]}, since each place has its own Gaussian",
                "resize the image to the size of the fitted images, or fit one Gaussian for all places",
            )
