"""A detector's scorer in the space of pixels: the paper's VAE, trained on random crops."""

from pathlib import Path

import numpy as np

from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.learned import Learn, Learned
from jaxunreg.inspection.normal_images import NormalImages
from jaxunreg.scoring.scorer import make_scorer
from jaxunreg.training.loop import fit
from jaxunreg.typing import PRNGKey


def pixel_learning(
    normal: NormalImages, chosen: np.ndarray, config: DetectorConfig, key: PRNGKey, *, progress: bool
) -> Learn:
    """Return the training of a VAE on random crops.

    Args:
      normal: the normal images.
      chosen: whether to train on each of them.
      config: see `DetectorConfig`.
      key: PRNG key of the training.
      progress: whether to show a progress bar.

    Returns:
      A function that trains. With a folder, it resumes a training that was stopped there.
    """

    def learn(directory: Path | None) -> Learned:
        model = config.model(normal.channels)
        images = normal.select(np.flatnonzero(chosen).tolist())
        state = fit(model, images, config.train, key=key, directory=directory, progress=progress)
        return Learned(make_scorer(model, state.variables), config.stride, 1, {})

    return learn
