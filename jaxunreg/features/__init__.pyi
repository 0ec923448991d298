"""The public names of `jaxunreg.features`, each imported when it is first asked for."""

from .choosing import HeldOutNats, best_config, held_out_nats
from .efficientnet_lite import EfficientNetLite0
from .fitting import fit_whitening, inflate
from .map_vae import FeatureDensity, MapVAE
from .map_vae_fitting import FittedMapVAE, VAENats, fit_map_vae
from .network import FeatureError, FeatureNetwork, map_shape, wrap
from .receptive_field import Tiling
from .resnet import ResNet
from .tiles import look_at
from .weights_file import WeightsError
from .whitening import Whitening, WhiteningConfig

__all__ = [
    "EfficientNetLite0",
    "FeatureDensity",
    "FeatureError",
    "FeatureNetwork",
    "FittedMapVAE",
    "HeldOutNats",
    "MapVAE",
    "ResNet",
    "Tiling",
    "VAENats",
    "WeightsError",
    "Whitening",
    "WhiteningConfig",
    "best_config",
    "fit_map_vae",
    "fit_whitening",
    "held_out_nats",
    "inflate",
    "look_at",
    "map_shape",
    "wrap",
]
