"""The work of a sweep's worker, which trains and scores a group, in this process or on a cluster."""

import json
import os
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

import jaxunreg as ju
from jaxunreg.files import replacing

from ..toy_scores import aucs, score
from .groups import Group, Images, Outcome, describe_error


def train_group(
    group: Group,
    images: Images,
    *,
    directory: Path | None,
    devices: Sequence[jax.Device] | None = None,
    progress: bool = False,
    description: str = "sweep",
) -> list[Outcome]:
    """Train and score a group. An error fails only the trials that cause it.

    A member whose loss is not finite fails by itself. After any other error, for example too little memory, the group
    is tried again in halves, down to the trial that cannot be trained.

    Args:
      group: the trials.
      images: images to train on and to score.
      directory: parent of the group's folder with its checkpoints. Training that was killed goes on from there.
      devices: as in `fit_sweep`.
      progress: show a bar.
      description: the bar's title.

    Returns:
      An outcome for each trial. A result has `auc` with `validation` and `test`, each with `nelbo`, `d`, `a` and `m`;
      the means of these over the normal test images, in nats, as `mean_nats`; the `seconds` of the group since it was
      last begun, and its `members`; and the `worker`, the `device` and the `versions` behind it.
    """
    try:
        return train_together(group, images, directory, devices, progress, description)
    except Exception as error:
        if len(group.members) == 1:
            return [Outcome(group.keys[0], None, describe_error(error))]
    return [
        outcome
        for half in group.halves()
        for outcome in train_group(
            half, images, directory=directory, devices=devices, progress=progress, description=description
        )
    ]


def remove_checkpoints(directory: Path, group: Group) -> None:
    """Remove the checkpoints of a group and of its parts, once their results are written. Its metrics stay."""
    for checkpoints in (directory / group.name).glob("part-*/checkpoints"):
        shutil.rmtree(checkpoints, ignore_errors=True)
    if len(group.members) > 1:
        for half in group.halves():
            remove_checkpoints(directory, half)


def train_together(
    group: Group,
    images: Images,
    directory: Path | None,
    devices: Sequence[jax.Device] | None,
    progress: bool,
    description: str,
) -> list[Outcome]:
    began = time.perf_counter()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    folder = None if directory is None else directory / group.name
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "worker.json") as temporary:
            temporary.write_text(json.dumps({"worker": worker, "pid": os.getpid(), "began": time.time()}))
    result = ju.fit_sweep(
        group.model,
        images.train,
        group.train,
        group.members,
        directory=folder,
        devices=devices,
        progress=progress,
        description=description,
    )
    about = {
        "members": len(group.members),
        "group": group.name,
        "worker": worker,
        "device": jax.local_devices()[0].device_kind,
        "versions": {"jax": jax.__version__, "jaxunreg": ju.__version__},
    }
    outcomes = []
    for index, key in enumerate(group.keys):
        if index in result.failures:
            outcomes.append(Outcome(key, None, f"NonFiniteLossError: {result.failures[index]}"))
            continue
        # Padded to the largest latent size, so that one program scores all members.
        variables = jax.tree.map(lambda leaf, index=index: leaf[index], result.stacked)
        scorer = ju.make_scorer(result.model, variables)
        validation = score(scorer, images.validation, images.validation_erased)
        test = score(scorer, images.normal, images.anomalous)
        outcomes.append(
            Outcome(
                key,
                {
                    "auc": {"validation": aucs(validation), "test": aucs(test)},
                    "mean_nats": {name: float(np.mean(pair[0], dtype=np.float64)) for name, pair in test.items()},
                    **about,
                },
                None,
            )
        )
    seconds = time.perf_counter() - began
    return [
        outcome._replace(result={**outcome.result, "seconds": seconds}) if outcome.result else outcome
        for outcome in outcomes
    ]
