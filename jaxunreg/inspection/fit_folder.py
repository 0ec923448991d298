"""The folder of a detector while it is made, and checks that its content has the same images and settings."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxunreg.errors import CheckpointError, argument
from jaxunreg.files import replacing
from jaxunreg.inspection.detector_folder import TRAINING, cannot_write
from jaxunreg.training.identity import FREE_TO_CHANGE


def make_folder(target: Path) -> None:
    """Make the folder of a run, or check that it is one.

    Raises:
      CheckpointError: the folder holds something else or cannot be made.
    """
    training = target / TRAINING
    note = training / "config.json"
    try:
        if target.exists() and not note.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CheckpointError(
                f"{target}, which is already used for something else",
                "a new or empty folder, or one in which a training was stopped",
                "choose another output",
            )
        training.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(target, error) from error


def note_beginning(target: Path, made_of: Mapping[str, Any]) -> None:
    """Note what a detector is made of, unless a training with a note has begun there.

    If there is a checkpoint, `fit` decides whether the training may go on. The old note stays until then.
    """
    training = target / TRAINING
    begun = any(path.name.isdigit() for path in training.glob("checkpoints/*"))
    if not begun or not (training / "config.json").exists():
        write_note(target, made_of)


def refuse_training(target: Path) -> None:
    """Refuse a folder in which a training was stopped, if the fit cannot resume it.

    Raises:
      CheckpointError: there are checkpoints.
    """
    if any(path.name.isdigit() for path in (target / TRAINING).glob("checkpoints/*")):
        raise CheckpointError(
            f"{target}, in which a training with {argument('space', 'pixels')} was stopped",
            "a new or empty folder",
            f"choose another output, or go on with {argument('space', 'pixels')}",
        )


def write_note(target: Path, made_of: Mapping[str, Any]) -> None:
    """Note what a detector is made of.

    Raises:
      CheckpointError: the folder cannot be written.
    """
    try:
        with replacing(target / TRAINING / "config.json") as file:
            file.write_text(json.dumps(made_of, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(target, error) from error


def clean_up(target: Path) -> None:
    """Remove the files that only an unfinished training needs."""
    shutil.rmtree(target / TRAINING / "checkpoints", ignore_errors=True)


def check_same(target: Path, record: Mapping[str, Any], made_of: Mapping[str, Any]) -> None:
    """Refuse a finished detector that was made of other images, with another config or another key.

    Args:
      target: its folder.
      record: its record.
      made_of: what the wanted detector is made of.

    Raises:
      CheckpointError: they differ. The error lists all differences.
    """
    missing = sorted(made_of.keys() - record.keys() - {"masks"})
    if missing:
        raise CheckpointError(
            f"{target}, which holds a detector without a note of its {', '.join(missing)}",
            "one that `fit_detector` of this version made",
            "choose another output, or load it by `AnomalyDetector.load`",
        )
    before, now = _flat(record["config"]), _flat(made_of["config"])
    differing = [
        f"{argument(name)} was {before.get(name)}, is now {value}"
        for name, value in now.items()
        if before.get(name) != value and name not in FREE_TO_CHANGE
    ]
    if before["seed"] == now["seed"] and record["key"] != made_of["key"]:
        differing.append(f"key was {record['key']}, is now {made_of['key']}")
    if record.get("masks") != made_of.get("masks"):
        differing.append("it has other masks or regions")
    if record["fingerprint"] != made_of["fingerprint"]:
        differing.append(f"it was made of other images ({record['images']}, now {made_of['images']})")
    if differing:
        raise CheckpointError(
            f"{target}, which holds another detector: {'; '.join(differing)}",
            "one of the same images, settings and key",
            "choose another output, or the old settings",
        )


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in config.items() if name != "train"}, **config["train"]}
