"""Fitting a VAE to whitened maps. Only parts that predict other normal images better than its start are kept."""

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
"""The latent sizes that `fit_map_vae` tries by default."""

# Number of turns: in each, estimates from the other held-out images are judged on these.
_FOLDS = 5


class VAENats(NamedTuple):
    """How well a VAE on the map predicts normal images outside of its fit.

    Attributes:
      latent_dim: number of latent variables; 0 is a Gaussian.
      sigma: `one` as in the whitening, `common` to all places and images, or one that depends on the `image`.
      nats: nats of held-out images, in nats a place; lower is better.
    """

    latent_dim: int
    sigma: str
    nats: float


class FittedMapVAE(NamedTuple):
    """The result of `fit_map_vae`.

    Attributes:
      density: the best density; a `Whitening` if latent variables do not help.
      table: the nats of all densities that were tried. The Gaussian of the start comes first.
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
    """Fit a linear VAE to whitened maps, and keep the parts that lower the nats of held-out images.

    The components come from the images of the whitening's fit. The noise, the variance of each component and the sigma
    that depends on the image are estimated on held-out images, because any sigma is too small on the images of the fit.
    In turns, they are judged on held-out images that they were not estimated on.

    Args:
      whitening: from `fit_whitening`, fitted to `features`.
      features: features of normal images, `[images, rows, columns, features]`.
      held_out: features of other normal images. From a single image or a single part nothing is learned, and the
        whitening is returned.
      latent_dims: the numbers of latent variables to try. 0 is always among them.
      groups: the part that each held-out image shows. All images of a part take their turn together. By default each
        image is a separate part.

    Returns:
      The density that predicts the held-out images best, with the nats of all.

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
    """Return the turn of each image. `parts` is the number of images, or the name of each image's part."""
    number = np.arange(parts) if isinstance(parts, int) else np.unique(np.array(parts), return_inverse=True)[1]
    return number % _FOLDS


def _noise_and_signal(seen: Projected, count: int, dims: int) -> tuple[float, Float64[np.ndarray, " latent_dim"]]:
    """Return the variance of the noise, and of each component beyond it in units of the noise."""
    latent = seen.latent[:, :count]
    left = np.sum(seen.energy - np.sum(np.square(latent), axis=1))
    noise = float(left / (len(latent) * (dims - count)))
    return noise, np.maximum(0.0, np.mean(np.square(latent), axis=0) / noise - 1.0)


def _judged_in_turns(seen: Projected, count: int, dims: int, folds: np.ndarray) -> Float64[np.ndarray, " images"]:
    """Return the nats of each whitened map without the constant of 2 pi, judged by estimates from other images."""
    nats = np.zeros(len(seen.latent))
    for fold in range(int(folds.max()) + 1):
        is_judged = folds == fold
        noise, signal = _noise_and_signal(Projected(*(part[~is_judged] for part in seen)), count, dims)
        energy, squares = seen.energy[is_judged], np.square(seen.latent[is_judged, :count])
        # The exact density of probabilistic PCA: its variance is noise (1 + signal) in the components, and noise
        # elsewhere.
        nats[is_judged] = 0.5 * (
            dims * np.log(noise)
            + np.sum(np.log1p(signal))
            + (energy - np.sum(squares * signal / (1.0 + signal), axis=1)) / noise
        )
    return nats
