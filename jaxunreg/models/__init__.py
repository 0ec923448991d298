"""The models that are trained and scored, and what a model must offer."""

from jaxunreg.models.autoencoder import Autoencoder, AutoencoderConfig
from jaxunreg.models.base import Model
from jaxunreg.models.vae import VAE, Gaussian, VAEConfig

__all__ = ["VAE", "Autoencoder", "AutoencoderConfig", "Gaussian", "Model", "VAEConfig"]
