"""The models that are trained and scored, and what a model must offer."""

from jaxunreg.models.autoencoder import Autoencoder, AutoencoderConfig
from jaxunreg.models.base import Model, ModelConfig
from jaxunreg.models.base_model import BaseModel
from jaxunreg.models.latent_space import Gaussian, LatentSpace
from jaxunreg.models.registry import register_model, registered_models
from jaxunreg.models.vae import VAE
from jaxunreg.models.vae_config import VAEConfig

__all__ = [
    "VAE",
    "Autoencoder",
    "AutoencoderConfig",
    "BaseModel",
    "Gaussian",
    "LatentSpace",
    "Model",
    "ModelConfig",
    "VAEConfig",
    "register_model",
    "registered_models",
]
