"""How well heat maps find the pixels of a defect."""

import numpy as np

from experiments.manufacturing.config import ManufacturingRun
from experiments.manufacturing.fitting import fit
from experiments.manufacturing.models import Candidate
from experiments.manufacturing.splits import Split
from jaxunreg.metrics.pixels import per_region_overlap, pixel_roc_auc
from jaxunreg.progress import with_bar


def pixel_figures(run: ManufacturingRun, split: Split, candidate: Candidate) -> dict[str, dict[str, float]]:
    """Pixel ROC AUC and per-region overlap of each score, over the test images with a mask; empty where none has."""
    config = run.config
    images = split.test.masked()
    if not images.is_anomalous.any():
        return {}

    def compute() -> dict[str, np.ndarray]:
        fitted = fit(run, split, candidate)
        maps: dict[str, list[np.ndarray]] = {}
        found = fitted.pixel_maps(images, stride=config.heat_map_stride)
        for by_name in with_bar(found, len(images), f"heat maps of {candidate.name}", visible=config.progress):
            for name, values in by_name.items():
                maps.setdefault(name, []).append(values.astype(np.float32))
        truth = [images.mask(k) for k in range(len(images))]
        return {
            name: np.array([pixel_roc_auc(values, truth), per_region_overlap(values, truth)])
            for name, values in maps.items()
        }

    # Where settings are chosen on some of the images, the others are fewer.
    kind = "pixels-validated" if split.is_validation.any() else "pixels"
    arrays = run.stage(f"{kind}-{candidate.name}", compute)
    return {name: {"pixel_auc": float(pair[0]), "aupro": float(pair[1])} for name, pair in arrays.items()}
