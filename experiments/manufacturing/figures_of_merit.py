"""The figures of merit of one score on images."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxunreg.datasets.folders import ImageFiles
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.inspection.calibration import calibrate
from jaxunreg.metrics.explained import explained_by_complexity
from jaxunreg.metrics.png_size import bytes_a_pixel
from jaxunreg.metrics.ranking import average_precision, roc_auc

from .config import ManufacturingConfig
from .splits import Split


class Complexities:
    """The complexity of images. Each is measured once."""

    def __init__(self) -> None:
        self._known: dict[Path, float] = {}

    def __call__(self, images: ImageFiles) -> np.ndarray:
        """Return the bytes a pixel of each image's PNG, `[n]`."""
        for k, file in enumerate(images.files):
            if file.path not in self._known:
                self._known[file.path] = bytes_a_pixel(images[k])
        return np.array([self._known[file.path] for file in images.files])


def image_figures(
    config: ManufacturingConfig,
    split: Split,
    calibration: np.ndarray,
    scores: np.ndarray,
    complexities: Complexities,
) -> dict[str, Any]:
    """Return the figures of merit of one score of a trial.

    Args:
      config: of the study.
      split: the split of the trial.
      calibration: scores of the calibration images.
      scores: scores of the test images.
      complexities: complexities of images.
    """
    anomalous, labels = split.test.is_anomalous, np.array(split.test.labels)
    pair = scores[~anomalous], scores[anomalous]
    sizes = complexities(split.test.select(~anomalous))
    rate = split.rate(config.false_positive_rate)
    flagged = calibrate(calibration).is_anomalous(scores, rate)
    return {
        "auc": roc_auc(*pair, bootstrap=config.bootstrap)._asdict(),
        "average_precision": average_precision(*pair, bootstrap=config.bootstrap)._asdict(),
        "auc_by_defect": {
            label: roc_auc(pair[0], scores[labels == label], bootstrap=1).value
            for label in sorted({*split.test.labels} - {GOOD})
        },
        "complexity_rho": explained_by_complexity(pair[0], sizes, bootstrap=config.bootstrap).rho._asdict(),
        "false_positive_rate_calibrated": rate,
        "false_positive_rate": float(flagged[~anomalous].mean()),
        "missed": float(1.0 - flagged[anomalous].mean()),
    }
