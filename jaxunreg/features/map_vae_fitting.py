"""A VAE fitted to whitened maps, and kept as far as it predicts other normal images better than its start."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

from jaxunreg.decomposition import LOG_2PI
from jaxunreg.errors import ArgumentError
from jaxunreg.features.components import Projected, energies_of_places, principal_components, project
from jaxunreg.features.map_vae import FeatureDensity, MapVAE
from jaxunreg.features.moments import AnyFeatureMaps, HeldOutMaps, unlike_fitted
from jaxunreg.features.network import FeatureError
from jaxunreg.features.sigma import Sigma, fit_sigma
from jaxunreg.features.whitening import Whitening
from jaxunreg.integers import check_integer
from jaxunreg.signatures import checked

LATENT_DIMS = (0, 8, 16, 32, 64)
"""What `fit_map_vae` tries by default."""

# Held-out images take turns: what is estimated on the others is judged on these.
_FOLDS = 5


class VAENats(NamedTuple):
    """How well a VAE on the map predicts normal images that it was not fitted on.

    Attributes:
      latent_dim: how many latent variables; 0 is a Gaussian.
      sigma: `one` as the whitening has it, `common` to all places and images, or one that follows the `image`.
      nats: of held-out images, in nats a place; lower is better.
    """

    latent_dim: int
    sigma: str
    nats: float


class FittedMapVAE(NamedTuple):
    """What `fit_map_vae` found.

    Attributes:
      density: the best; a `Whitening` where latent variables do not help.
      table: the nats of all that was tried, the Gaussian that it started from first.
    """

    density: FeatureDensity
    table: tuple[VAENats, ...]


@checked
def fit_map_vae(
    whitening: Whitening,
    features: AnyFeatureMaps,
    held_out: HeldOutMaps,
    *,
    latent_dims: Sequence[int] = LATENT_DIMS,
    groups: Sequence[str] | None = None,
) -> FittedMapVAE:
    """Fit a linear VAE to whitened maps, and keep what lowers the nats of held-out images.

    The components are those of the images that the whitening was fitted to. The noise, the variance of each component
    and the sigma that follows the image are estimated on held-out images, since on the images that it was fitted to any
    sigma is too small. They are judged on others of them than they are estimated on, in turns.

    Args:
      whitening: from `fit_whitening`, fitted to `features`.
      features: of normal images, `[images, rows, columns, features]`.
      held_out: of others. Of a single one, or of a single part, nothing is learned, and the whitening is returned.
      latent_dims: the numbers of latent variables to try; 0 is always among them.
      groups: the part that each held-out image shows; all images of a part take their turn together. By default each
        image is a part of its own.

    Returns:
      What predicts the held-out images best, with the nats of all.

    Raises:
      ArgumentError: a number of latent variables below zero, or another number of groups than held-out images.
      FeatureError: NaN or infinity, no images, or maps that do not fit the whitening.

    >>> from jaxunreg.features import WhiteningConfig, fit_whitening
    >>> maps = np.random.default_rng(0).normal(size=(40, 4, 6, 3)).astype(np.float32)
    >>> whitening = fit_whitening(maps[:30], WhiteningConfig(per_place=False))
    >>> fitted = fit_map_vae(whitening, maps[:30], maps[30:], latent_dims=(0, 2))
    >>> fitted.density.latent_dim, [(row.latent_dim, row.sigma) for row in fitted.table]
    (0, [(0, 'one'), (0, 'common'), (2, 'common')])
    """
    if held_out.shape[1:] != features.shape[1:] or len(held_out) == 0:
        raise unlike_fitted(features, held_out)
    if len(features) == 0:
        raise FeatureError("0 images to fit to", "at least 1", "add normal images")
    for count in latent_dims:
        check_integer("latent_dims", count, at_least=0)
    if groups is not None and len(groups) != len(held_out):
        raise ArgumentError(
            f"{len(groups)} groups for {len(held_out)} held-out images", "a group an image", field="groups"
        )
    places, dims = features.shape[1] * features.shape[2], int(np.prod(features.shape[1:]))
    components = principal_components(whitening, features, max(latent_dims, default=0))
    seen = project(whitening, components, held_out)
    shift = float(jnp.mean(whitening.log_determinant))
    counts = sorted({0, *(min(count, len(components)) for count in latent_dims)})

    def in_nats_a_place(energy_and_log: np.ndarray) -> float:
        return float(np.mean(energy_and_log)) / places + 0.5 * LOG_2PI * features.shape[3] + shift

    table = [VAENats(0, "one", in_nats_a_place(0.5 * seen.energy))]
    folds = _folds(len(held_out) if groups is None else groups)
    if folds.max() == 0:
        return FittedMapVAE(whitening, tuple(table))
    table += [VAENats(count, "common", in_nats_a_place(_judged_in_turns(seen, count, dims, folds))) for count in counts]
    count = min(table[1:], key=lambda row: row.nats).latent_dim
    noise, signal = _noise_and_signal(seen, count, dims)
    wider = whitening.widened(jnp.float32(noise))
    if count == 0:
        return FittedMapVAE(wider, tuple(table))
    components = components[:count]
    latent = seen.latent[:, :count] / np.sqrt(noise)
    energies = energies_of_places(wider, components, latent * signal / (1.0 + signal), held_out)
    sigma = fit_sigma(latent, signal, energies, features.shape[3], folds=folds)
    if sigma.gain > 0.0:
        best = min(row.nats for row in table)
        table.append(VAENats(count, "image", best - sigma.gain))
    return FittedMapVAE(_map_vae(wider, components, signal, sigma), tuple(table))


def _map_vae(whitening: Whitening, components: np.ndarray, signal: np.ndarray, sigma: Sigma) -> MapVAE:
    return MapVAE(
        whitening, jnp.asarray(components), jnp.asarray(signal, jnp.float32), jnp.asarray(sigma.weights, jnp.float32)
    )


def _folds(parts: int | Sequence[str]) -> Int64[np.ndarray, " images"]:
    """The turn of each image; `parts` is how many there are, or the name of each image's."""
    number = np.arange(parts) if isinstance(parts, int) else np.unique(np.array(parts), return_inverse=True)[1]
    return number % _FOLDS


def _noise_and_signal(seen: Projected, count: int, dims: int) -> tuple[float, Float64[np.ndarray, " latent_dim"]]:
    """Variance of the noise, and of each component beyond it in units of the noise."""
    latent = seen.latent[:, :count]
    left = np.sum(seen.energy - np.sum(np.square(latent), axis=1))
    noise = float(left / (len(latent) * (dims - count)))
    return noise, np.maximum(0.0, np.mean(np.square(latent), axis=0) / noise - 1.0)


def _judged_in_turns(seen: Projected, count: int, dims: int, folds: np.ndarray) -> Float64[np.ndarray, " images"]:
    """Nats of each whitened map but for the constant of 2 pi, each judged by estimates on others."""
    nats = np.zeros(len(seen.latent))
    for fold in range(int(folds.max()) + 1):
        is_judged = folds == fold
        noise, signal = _noise_and_signal(Projected(*(part[~is_judged] for part in seen)), count, dims)
        energy, squares = seen.energy[is_judged], np.square(seen.latent[is_judged, :count])
        # The exact density of probabilistic PCA: in the components a variance of noise (1 + signal), elsewhere noise.
        nats[is_judged] = 0.5 * (
            dims * np.log(noise)
            + np.sum(np.log1p(signal))
            + (energy - np.sum(squares * signal / (1.0 + signal), axis=1)) / noise
        )
    return nats
