"""Evaluations between the steps of training."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Num

from jaxunreg.models.base import Model
from jaxunreg.scoring import sharded
from jaxunreg.scoring.batched import score_images
from jaxunreg.scoring.scorer import make_scorer
from jaxunreg.typing import Variables

HeldOut: TypeAlias = Num[Array | np.ndarray, "held_out height width channels"]
"""Images that are scored while a model trains on others."""

Evaluate: TypeAlias = Callable[[Variables], Mapping[str, Any]]
"""A function from variables to JSON data, which goes into the record of a run."""


def held_out_means(model: Model, variables: Variables, images: HeldOut, mesh: Mesh | None) -> dict[str, float]:
    """Return the means of D, A and M over held-out images, and their sum as `loss`.

    Args:
      model: the model.
      variables: its variables.
      images: the held-out images.
      mesh: the devices over which to spread the images; None for the default device.
    """
    scorer = make_scorer(model, variables)
    if mesh is None:
        terms = score_images(scorer, images)
    else:
        terms = sharded.sharded_scorer(scorer, list(mesh.devices.flat))(images)
    means = {name: float(np.mean(term, dtype=np.float64)) for name, term in terms._asdict().items()}
    return {"loss": sum(means.values()), **means}
