"""A detector's scorer in the space of features: a density that is chosen by nats of normal images alone."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.datasets.folders.splitting import held_out
from jaxunreg.errors import ArgumentError
from jaxunreg.features.choosing import HeldOutNats, best_config, held_out_nats
from jaxunreg.features.efficientnet_lite import EfficientNetLite0
from jaxunreg.features.fitting import fit_whitening
from jaxunreg.features.map_vae_fitting import fit_map_vae
from jaxunreg.features.moments import AnyFeatureMaps
from jaxunreg.features.network import FeatureNetwork, map_shape
from jaxunreg.inspection.affordable import affordable_gaussians, affordable_latent_dims
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.learned import Learn, Learned
from jaxunreg.inspection.normal_images import NormalImages
from jaxunreg.progress import status
from jaxunreg.scoring.feature_scorer import FeatureScorer
from jaxunreg.scoring.feature_stream import check_network, feature_maps
from jaxunreg.scoring.working_size import working_size

# Share of the parts that are learned from on which the Gaussian is chosen. Those that set the threshold stay untouched.
_CHOICE_FRACTION = 0.2

# An image's score is the mean over this share of the places of its map, its most anomalous ones.
_SHARE_THAT_COUNTS = 0.02

# With more places than this, every other one in height and width is enough to choose on.
_PLACES_TO_CHOOSE_ON = 512


def feature_learning(
    normal: NormalImages,
    chosen: np.ndarray,
    groups: Sequence[str],
    config: DetectorConfig,
    network: FeatureNetwork | None,
    *,
    progress: bool,
) -> Learn:
    """The fit of a density to what a feature network sees.

    Of the images to learn from, whole parts are set apart. The Gaussian of the others that predicts them best is
    taken, see `held_out_nats`, and a VAE that starts there as far as it predicts them better, see `fit_map_vae`.

    Args:
      normal: the normal images.
      chosen: which of them to learn from, a truth value for each.
      groups: the part that each image shows.
      config: see `DetectorConfig`.
      network: the feature network; by default `EfficientNetLite0`.
      progress: whether to show progress bars.

    Returns:
      A function that fits.

    Raises:
      ArgumentError: too few images, or images that the network does not take.
      FeatureError: a network that does not return what it says.
      MissingPackageError, WeightsError: the errors of `EfficientNetLite0.pretrained`.
    """
    network = EfficientNetLite0.pretrained() if network is None else network
    members = np.flatnonzero(chosen)
    size = working_size(normal.sizes[members], config.resolution, network.stride)
    check_network(network, size, normal.channels)
    order, fitted = learning_order([groups[k] for k in members.tolist()], config.seed)
    rows, columns, features = map_shape(network, *size)
    _check_count(fitted, rows * columns, features)
    images = normal.select(members[order].tolist())

    def learn(directory: Path | None) -> Learned:
        maps = feature_maps(network, images, len(order), size, normal.channels, progress=progress)
        apart = [groups[k] for k in members[order[fitted:]].tolist()]
        return learn_from_maps(maps, apart, network, size, normal.channels, progress=progress)

    return learn


def learning_order(groups: Sequence[str], seed: int) -> tuple[list[int], int]:
    """Set whole parts apart to choose the Gaussian on.

    Args:
      groups: the part that each image to learn from shows.
      seed: of the choice of the parts.

    Returns:
      The numbers of all images, those that are set apart last, and how many stand before them. So either part of the
      features is a view of them all.

    Raises:
      ArgumentError: there is only one part.

    >>> learning_order(["a", "b", "a", "c"], seed=1)
    ([1, 3, 0, 2], 2)
    """
    if len(set(groups)) < 2:
        raise ArgumentError(
            f"{len(set(groups))} normal part to learn from",
            "at least 2, one of which the density is chosen on",
            "add images",
            field="images",
        )
    apart = held_out(groups, _CHOICE_FRACTION, seed=seed)
    return np.argsort(apart, kind="stable").tolist(), int((~apart).sum())


def learn_from_maps(
    maps: AnyFeatureMaps,
    apart: Sequence[str],
    network: FeatureNetwork,
    size: tuple[int, int],
    channels: int,
    *,
    progress: bool,
) -> Learned:
    """Choose a Gaussian by the nats of the images that are set apart, and a VAE that starts there.

    The Gaussian is that of the other images. What is learned of the images that are set apart is how far they lie from
    it: the noise, the variance of the latent variables, and the sigma that follows the image. See `fit_map_vae`.

    Args:
      maps: features of the images in the order of `learning_order`.
      apart: the part that each of those that are set apart shows; they stand last.
      network: that made the features.
      size: height and width of the working image.
      channels: of the images.
      progress: whether to show progress bars.

    Raises:
      FeatureError: the errors of `held_out_nats` and `fit_map_vae`.
    """
    fitted = len(maps) - len(apart)
    with status(progress, "choosing the Gaussian by held-out nats"):
        table = try_gaussians(maps, fitted)
    with status(progress, "fitting it"):
        best = best_config(table)
        whitening = fit_whitening(maps[:fitted], best)
    with status(progress, "fitting the VAE on the map"):
        latent_dims = affordable_latent_dims(maps.shape[1] * maps.shape[2], maps.shape[3])
        fit = fit_map_vae(whitening, maps[:fitted], maps[fitted:], latent_dims=latent_dims, groups=apart)
    scorer = FeatureScorer(network, jax.tree.map(jnp.asarray, fit.density), size, channels)
    record = {
        "network": network.name,
        "sha256": network.sha256,
        "working_size": size,
        "map": list(maps.shape[1:3]),
        "whitening": dataclasses.asdict(best),
        "chosen_on": len(maps) - fitted,
        "held_out_nats": [_row(entry) for entry in table],
        "vae": [entry._asdict() for entry in fit.table],
    }
    return Learned(scorer, scorer.stride, places_that_count(*maps.shape[1:3]), {"features": record})


def places_that_count(rows: int, columns: int) -> int:
    """Of how many places of a map an image's score is the mean, if the user does not say: one in fifty.

    >>> places_that_count(48, 48), places_that_count(4, 4)
    (46, 1)
    """
    return max(1, round(_SHARE_THAT_COUNTS * rows * columns))


def try_gaussians(maps: AnyFeatureMaps, fitted: int) -> tuple[HeldOutNats, ...]:
    """The nats of the images that are set apart for each kind of Gaussian, at some of the places where they are many.

    A covariance for each place is not tried where that would take more than 2 GiB; see `affordable_gaussians`.

    Args:
      maps: see `learn_from_maps`.
      fitted: see `learn_from_maps`.

    Raises:
      FeatureError: the errors of `held_out_nats`.
    """
    rows, columns = maps.shape[1:3]
    step = 2 if rows * columns > _PLACES_TO_CHOOSE_ON else 1
    configs = affordable_gaussians(rows * columns, maps.shape[3])
    return held_out_nats(maps[:fitted, ::step, ::step], maps[fitted:, ::step, ::step], configs)


def _check_count(images: int, places: int, features: int) -> None:
    """Refuse too few images for the covariance that all places share."""
    needed = max(2, -(-features // places) + 1)
    if images < needed:
        raise ArgumentError(
            f"{images} normal images to fit a covariance of {features} features at {places} places to",
            f"at least {needed}",
            "add images, or give larger ones",
            field="images",
        )


def _row(entry: HeldOutNats) -> dict[str, float | bool | None]:
    error = entry.standard_error
    return {
        **dataclasses.asdict(entry.config),
        "nats": entry.nats,
        "standard_error": None if np.isnan(error) else error,
    }
