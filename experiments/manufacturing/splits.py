"""Which images a trial trains on, chooses settings on, and measures on."""

import hashlib
from typing import NamedTuple

import numpy as np

from experiments.manufacturing.config import ManufacturingConfig
from experiments.runs import RunError
from jaxunreg.datasets.folders import ImageFiles
from jaxunreg.datasets.folders.dataset import FolderDataset
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.folders.splitting import held_out


class Split(NamedTuple):
    """The images of one trial; the labels of validation and test images are known."""

    train: ImageFiles
    validation: ImageFiles
    test: ImageFiles


def split_data(config: ManufacturingConfig, data: FolderDataset, trial: int) -> Split:
    """Training, validation and test images of one trial; a group is never in two of them.

    Raises:
      RunError: there are too few groups.
    """
    train, rest = (data.train, data.test) if config.protocol == "trials" else _fold(config, data, trial)
    # Groups with and without a defect are split separately, so that either share has both.
    owners = np.array([file.group for file in rest.files])
    with_defect = np.isin(owners, owners[rest.is_anomalous])
    validation = np.zeros(len(rest), bool)
    if config.validation_fraction > 0:
        for kind, what in ((with_defect, "with a defect"), (~with_defect, "without a defect")):
            if len(set(owners[kind])) < 2:
                raise RunError(
                    f"{len(set(owners[kind]))} part among the test images {what}",
                    "at least 2, one to choose settings on and one to measure on",
                    "give more, or do both on the same by --validation-fraction 0",
                )
            validation[kind] = held_out(owners[kind].tolist(), config.validation_fraction, seed=config.seed)
    return Split(train, rest.select(validation), rest.select(~validation))


def _fold(config: ManufacturingConfig, data: FolderDataset, trial: int) -> tuple[ImageFiles, ImageFiles]:
    """The images to train on, and the rest: one fold of the normal groups and all groups with a defect."""
    everything = data.train.joined(data.test)
    groups = [file.group for file in everything.files]
    anomalous = {group for group, label in zip(groups, everything.labels, strict=True) if label != GOOD}
    clean = sorted({*groups} - anomalous, key=lambda group: hashlib.sha256(f"{config.seed}/{group}".encode()).digest())
    least = 2 if config.validation_fraction > 0 else 1
    if len(clean) < least * config.trials:
        raise RunError(
            f"{len(clean)} groups without a defect for {config.trials} folds",
            f"at least {least} a fold with --validation-fraction {config.validation_fraction:g}",
            "lower --trials",
        )
    tested = anomalous | {*clean[trial :: config.trials]}
    is_tested = np.array([group in tested for group in groups])
    return everything.select(~is_tested), everything.select(is_tested)
