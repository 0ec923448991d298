"""The random features of the linear start: their channels and their running averages."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.compilation import jit_once
from jaxunreg.models import apply
from jaxunreg.models.linear_start.block_pca import linear_channels
from jaxunreg.models.network_model import NetworkModel
from jaxunreg.nn.config import NetworkConfig
from jaxunreg.typing import PRNGKey, Variables


def measure_random_features(model: NetworkModel, variables: Variables, x: np.ndarray, key: PRNGKey) -> None:
    """Write the running averages of the random features, which one pass in training finds."""
    config = model.config
    # With this momentum, the new average is the batch's average.
    measuring = model.with_config(batch_norm_momentum=0.0)
    few = jnp.asarray(x[: images_within(config, 2**21)])
    found = _batch_averages(measuring, jax.tree.map(jnp.asarray, variables), few, key)
    for part, layers in variables["batch_stats"].items():
        for layer, stats in layers.items():
            k = linear_count(config, part, layer)
            for name, values in stats.items():
                values[k:] = np.asarray(found[part][layer][name])[k:]


def linear_count(config: NetworkConfig, part: str, layer: str) -> int:
    """Return how many channels of a layer are linear."""
    counts = linear_channels(config)
    number = int(layer.rpartition("_")[2])
    if layer.startswith("Dense"):
        return counts[-1]
    return counts[number] if part == "encoder" else counts[config.depth - 2 - number]


def last_hidden(part: str, config: NetworkConfig) -> str:
    """Return the last but one layer of the encoder or the decoder."""
    if part == "encoder":
        return f"Convolution_{config.depth - 1}"
    return "Dense_0" if config.depth == 1 else f"Convolution_{config.depth - 2}"


# The model is an argument, so that the next start of an equal model compiles nothing.
@jit_once
def _batch_averages(model: NetworkModel, variables: Variables, images: jax.Array, key: PRNGKey) -> Any:
    """Return the running averages after a pass in training."""
    _, updated = apply.training_terms(model, variables, images, key)
    return updated["batch_stats"]


def images_within(config: NetworkConfig, values: int) -> int:
    height, width, _ = config.image_shape
    return max(2, values // (height * width))
