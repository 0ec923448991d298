"""`results.json`: the ROC AUC of each score, the share that the digit explains, and the means in nats."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxunreg.metrics.explained import explained_by_class
from jaxunreg.metrics.ranking import roc_auc

from ..toy_data import Data
from ..toy_scores import KINDS, Scores
from .config import ToyRun


def summarise(
    run: ToyRun, data: Data, models: Mapping[str, Scores], sweep: Mapping[str, Mapping[int, Scores]]
) -> dict[str, Any]:
    """Return the content of `results.json`."""

    def auc(scores: Scores) -> dict[str, dict[str, float]]:
        return {
            key: roc_auc(*pair, paired=True, bootstrap=run.config.bootstrap)._asdict() for key, pair in scores.items()
        }

    return {
        **run.head,
        "auc": {model: auc(scores) for model, scores in models.items()},
        "explained_by_class": {
            model: {key: explained_by_class(pair[0], data.labels) for key, pair in scores.items()}
            for model, scores in models.items()
        },
        "mean_nats": {
            model: {
                key: dict(zip(KINDS, (float(np.mean(part, dtype=np.float64)) for part in pair), strict=True))
                for key, pair in models[model].items()
            }
            for model in ("vae", "gmm")
            if model in models
        },
        "auc_by_latent_dim": {str(size): auc(scores) for size, scores in sweep["vae"].items()},
        "auc_by_components": {str(count): auc(scores) for count, scores in sweep["gmm"].items()},
        "latent_dims_steps": run.config.latent_dims_steps,
        "auc_by_step": auc_by_step(run.training_records("vae")),
        "late_auc": late_auc(run.training_records("vae"), run.config.vae_train.steps),
        "notes": run.notes,
        **run.tail,
    }


def auc_by_step(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the ROC AUC of each score on the held-out digits after each evaluation, and their negative ELBO.

    >>> auc_by_step([{"step": 5, "auc": {"m": 0.9}, "held_out": {"loss": -2.0}}, {"step": 6, "loss": 1.0}])
    {'5': {'m': 0.9, 'nats': -2.0}}
    """
    # After a resume, the records after the checkpoint come again, and the later ones count.
    held_out = {record["step"]: record["held_out"]["loss"] for record in records if "held_out" in record}
    return {
        str(record["step"]): {**record["auc"], "nats": held_out[record["step"]]}
        for record in records
        if "auc" in record
    }


def late_auc(records: Sequence[Mapping[str, Any]], steps: int) -> dict[str, dict[str, float]]:
    """Return the lowest and highest ROC AUC of each score on the held-out digits over the last quarter of training.

    >>> late_auc([{"step": step, "auc": {"m": step / 100}} for step in (50, 80, 90)], steps=100)
    {'m': {'low': 0.8, 'high': 0.9, 'evaluations': 2}}
    """
    late = [record["auc"] for record in records if "auc" in record and 4 * record["step"] >= 3 * steps]
    return {
        key: {
            "low": min(auc[key] for auc in late),
            "high": max(auc[key] for auc in late),
            "evaluations": len(late),
        }
        for key in (late[-1] if late else ())
    }
