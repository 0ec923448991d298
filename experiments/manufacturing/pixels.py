"""The figures of merit of heat maps, which are to find the pixels of a defect."""

import tempfile

import numpy as np

from jaxunreg.inspection.stored_heat_maps import StoredHeatMaps
from jaxunreg.progress import with_bar

from .config import ManufacturingRun
from .fitting import fit
from .models import MODELS, Candidate
from .splits import Split


def pixel_figures(run: ManufacturingRun, split: Split, candidate: Candidate) -> dict[str, dict[str, float]]:
    """Return pixel ROC AUC and per-region overlap of each score over the test images with a mask, or nothing."""
    config = run.config
    images = split.test.masked()
    if not images.is_anomalous.any():
        return {}

    def compute() -> dict[str, np.ndarray]:
        fitted = fit(run, split, candidate)
        found = fitted.pixel_maps(images, stride=config.heat_map_stride)
        with tempfile.TemporaryDirectory() as folder:
            stored = StoredHeatMaps(folder, images.sizes, MODELS[candidate.model].scores)
            for k, maps in enumerate(
                with_bar(found, len(images), f"heat maps of {candidate.name}", visible=config.progress)
            ):
                stored.store(k, maps)
            metrics = stored.metrics([images.mask(k) for k in range(len(images))])
        return {name: np.array([of_score["roc_auc"], of_score["aupro"]]) for name, of_score in metrics.items()}

    # If settings are chosen on some of the images, the others are fewer.
    kind = "pixels-validated" if split.is_validation.any() else "pixels"
    arrays = run.stage(f"{kind}-{candidate.name}", compute)
    return {name: {"pixel_auc": float(pair[0]), "aupro": float(pair[1])} for name, pair in arrays.items()}
