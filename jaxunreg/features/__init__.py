"""Frozen, pretrained feature networks, and the Gaussians and VAEs of their features."""

from jaxunreg.features.choosing import HeldOutNats, best_config, held_out_nats
from jaxunreg.features.efficientnet_lite import EfficientNetLite0
from jaxunreg.features.fitting import fit_whitening, inflate
from jaxunreg.features.map_vae import FeatureDensity, MapVAE
from jaxunreg.features.map_vae_fitting import FittedMapVAE, VAENats, fit_map_vae
from jaxunreg.features.network import FeatureError, FeatureNetwork, map_shape, wrap
from jaxunreg.features.receptive_field import Tiling
from jaxunreg.features.resnet import ResNet
from jaxunreg.features.tiles import look_at
from jaxunreg.features.weights_file import WeightsError
from jaxunreg.features.whitening import Whitening, WhiteningConfig

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
