"""The densities of features that fit into memory, for maps of any number of places."""

from jaxunreg.features.choosing import CANDIDATES
from jaxunreg.features.map_vae_fitting import LATENT_DIMS
from jaxunreg.features.whitening import WhiteningConfig

_BYTES_OF_GAUSSIANS = 2**31

_BYTES_OF_COMPONENTS = 2**30


def affordable_gaussians(places: int, features: int) -> tuple[WhiteningConfig, ...]:
    """Return the configs of `CANDIDATES` that take at most 2 GiB.

    A covariance for each place takes `4 features^2` bytes a place: 92 kB with 152 features, and 24 GB with 512x512
    places. A covariance that all places share always fits, with a mean for each place or one for all.

    Args:
      places: number of places of a map.
      features: number of features of a place.

    >>> len(affordable_gaussians(48 * 48, 152))
    10
    >>> affordable_gaussians(512 * 512, 152)
    (WhiteningConfig(per_place=False, shrinkage=0.0), WhiteningConfig(per_place=True, shrinkage=1.0))
    """
    return tuple(config for config in CANDIDATES if _nbytes(config, places, features) <= _BYTES_OF_GAUSSIANS)


def _nbytes(config: WhiteningConfig, places: int, features: int) -> int:
    means, factors = (places if own else 1 for own in (config.per_place, config.per_place and config.shrinkage < 1.0))
    return 4 * features * (means + features * factors)


def affordable_latent_dims(places: int, features: int) -> tuple[int, ...]:
    """Return the sizes of `LATENT_DIMS` whose VAE on the map takes at most 1 GiB beside its Gaussians.

    Args:
      places: number of places of a map.
      features: number of features of a place.

    >>> affordable_latent_dims(48 * 48, 152), affordable_latent_dims(512 * 512, 152)
    ((0, 8, 16, 32, 64), (0, 8))
    """
    # A latent variable has a component in float16, and two weights of the variance, for each place.
    a_latent_variable = places * (2 * features + 2 * 4)
    return tuple(count for count in LATENT_DIMS if count * a_latent_variable <= _BYTES_OF_COMPONENTS)
