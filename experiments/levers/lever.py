"""One change of the recipe."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jaxunreg as ju

from .config import LeverName, LeversConfig


class Lever(NamedTuple):
    """One change of the recipe."""

    title: str
    vae: ju.VAEConfig
    train: ju.TrainConfig


def lever(config: LeversConfig, name: LeverName) -> Lever:
    """Return the recipe with one change. Up to rounding, it trains on the same number of images.

    >>> from experiments.levers.config import PRESETS
    >>> lever(PRESETS["paper"], "small_batch").title
    'batches of 64 in place of 128'
    """
    vae, train = config.vae, config.train
    change = functools.partial(dataclasses.replace, train)
    rate, steps, warmup = train.learning_rate, train.steps, train.warmup_steps
    random: dict[str, Any] = {"start": "random", "batch_statistics": "batch"}
    # Twice the steps with half the batch, or the reverse.
    half = {"batch_size": train.batch_size // 2, "steps": 2 * steps, "warmup_steps": 2 * warmup}
    double = {"batch_size": 2 * train.batch_size, "steps": steps // 2, "warmup_steps": warmup // 2}
    rows: dict[LeverName, tuple[str, ju.VAEConfig, ju.TrainConfig]] = {
        "recipe": ("the recipe", vae, train),
        "start": ("its start, without training", vae, train),
        "random": ("random weights, batch statistics", vae, change(**random)),
        "random_fast": ("the same at a learning rate of 1e-3", vae, change(**random, learning_rate=1e-3)),
        "batch_statistics": ("each batch's own statistics", vae, change(batch_statistics="batch")),
        "rate_low": (f"learning rate {rate / 3:.0e}", vae, change(learning_rate=rate / 3)),
        "rate_high": (f"learning rate {rate * 2:.0e}", vae, change(learning_rate=rate * 2)),
        "rate_far": (f"learning rate {rate * 10:.0e}", vae, change(learning_rate=rate * 10)),
        "warmup": ("no warm-up of the learning rate", vae, change(warmup_steps=0)),
        "small_batch": (f"batches of {half['batch_size']} in place of {train.batch_size}", vae, change(**half)),
        "large_batch": (f"batches of {double['batch_size']} in place of {train.batch_size}", vae, change(**double)),
        "floor": (
            f"log-variance floor -8 in place of {vae.x_log_var_min:g}",
            dataclasses.replace(vae, x_log_var_min=-8.0),
            train,
        ),
        "kl_warmup": ("weight of D warmed up over the first half", vae, change(kl_warmup_steps=steps // 2)),
    }
    return Lever(*rows[name])
