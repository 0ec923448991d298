"""A detector's scorer in the space of features: a density chosen only by nats of normal images."""

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

# Share of the training parts on which the Gaussian is chosen. The parts that set the threshold are not used.
_CHOICE_FRACTION = 0.2

# An image's score is the mean over this share of the places of its map: the most anomalous ones.
_SHARE_THAT_COUNTS = 0.02

# With more places than this, every other place in height and width is enough for the choice.
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
    """Return a fit of a density to the features of a network.

    Whole parts are set apart from the images to learn from. The fit takes the Gaussian of the others that predicts
    these parts best (see `held_out_nats`), and the parts of a VAE that predict them better (see `fit_map_vae`).

    Args:
      normal: the normal images.
      chosen: whether to learn from each of them.
      groups: the part that each image shows.
      config: see `DetectorConfig`.
      network: the feature network; by default `EfficientNetLite0`.
      progress: whether to show progress bars.

    Returns:
      A function that fits.

    Raises:
      ArgumentError: there are too few images, or the network does not take them.
      FeatureError: the network does not return what it states.
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
    """Set whole parts apart for the choice of the Gaussian.

    Args:
      groups: the part that each training image shows.
      seed: seed of the choice of the parts.

    Returns:
      The indices of all images, with those that are set apart last, and the number of the others. So each part of the
      features is a view of the whole.

    Raises:
      ArgumentError: there is only one part.

    >>> learning_order(["a", "b", "a", "c"], seed=1)
    ([1, 3, 0, 2], 2)
    """
    if len(set(groups)) < 2:
        raise ArgumentError(
            f"{len(set(groups))} normal part to learn from",
            "at least 2, one of them to choose the density on",
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
    """Choose a Gaussian by the nats of the images that are set apart, and a VAE that starts from it.

    The Gaussian is fitted to the other images. From the images that are set apart, the fit learns how far they lie from
    it: the noise, the variance of the latent variables, and the sigma that depends on the image. See `fit_map_vae`.

    Args:
      maps: features of the images in the order of `learning_order`.
      apart: the part that each image that is set apart shows. These images come last.
      network: the network that made the features.
      size: height and width of the working image.
      channels: channels of the images.
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
    """Return the default number of places in the mean of an image's score: one in fifty places of a map.

    >>> places_that_count(48, 48), places_that_count(4, 4)
    (46, 1)
    """
    return max(1, round(_SHARE_THAT_COUNTS * rows * columns))


def try_gaussians(maps: AnyFeatureMaps, fitted: int) -> tuple[HeldOutNats, ...]:
    """Return the nats of the images set apart for each kind of Gaussian, at a subset of the places if they are many.

    A covariance for each place is not tried if it would take more than 2 GiB; see `affordable_gaussians`.

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
