"""The images from which a trial learns, and on which it calibrates, chooses settings and measures."""

import hashlib
from typing import NamedTuple

import numpy as np

from jaxunreg.datasets.folders import ImageFiles
from jaxunreg.datasets.folders.dataset import HELD_OUT, FolderDataset
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.folders.splitting import held_out
from jaxunreg.inspection.remembered_files import remembered_hashes
from jaxunreg.inspection.selection import joined, one_of_each

from ..runs import RunError
from .config import ManufacturingConfig
from .models import chooses


class Split(NamedTuple):
    """The images of one trial.

    Attributes:
      train: normal images to learn from.
      groups: the part that each of them shows. Parts that share an image count as one.
      calibration: normal images of other parts, one a part, which set the threshold.
      others: the images that the trial does not learn from, normal and anomalous; their labels are known.
      is_validation: whether each of the others is for choosing settings. The rest is for measuring.
    """

    train: ImageFiles
    groups: list[str]
    calibration: ImageFiles
    others: ImageFiles
    is_validation: np.ndarray

    @property
    def validation(self) -> ImageFiles:
        """The images on which settings are chosen."""
        return self.others.select(self.is_validation)

    @property
    def test(self) -> ImageFiles:
        """The images on which figures are measured."""
        return self.others.select(~self.is_validation)

    def rate(self, wanted: float) -> float:
        """Return the false-positive rate, or the lowest that the calibration images support if that is higher."""
        return max(wanted, 1 / (len(self.calibration) + 1))


def split_data(config: ManufacturingConfig, data: FolderDataset, trial: int) -> Split:
    """Split the images for one trial. A group is never in two shares.

    Raises:
      RunError: there are too few groups.
      ArgumentError: there is only one normal part.
    """
    train, others = _fold(config, data, trial) if config.protocol == "folds" else _drawn(config, data, trial)
    seed = config.seed + trial
    groups = joined([file.group for file in train.files], remembered_hashes(train))
    out = held_out(groups, config.calibration_fraction, seed=seed)
    chosen = one_of_each(groups, [file.path.name for file in train.files], out, seed)
    is_validation = np.zeros(len(others), bool)
    if config.validation_fraction > 0 and chooses(config):
        # Groups with and without a defect are split separately, so that each share has both.
        owners = np.array([file.group for file in others.files])
        with_defect = np.isin(owners, owners[others.is_anomalous])
        for kind, what in ((with_defect, "with a defect"), (~with_defect, "without a defect")):
            if len(set(owners[kind])) < 2:
                raise RunError(
                    f"{len(set(owners[kind]))} part among the test images {what}",
                    "at least 2, one to choose settings on and one to measure on",
                    "give more, or use the same images for both by --validation-fraction 0",
                )
            is_validation[kind] = held_out(owners[kind].tolist(), config.validation_fraction, seed=seed)
    kept = np.flatnonzero(~out).tolist()
    return Split(train.select(kept), [groups[k] for k in kept], train.select(chosen), others, is_validation)


def _drawn(config: ManufacturingConfig, data: FolderDataset, trial: int) -> tuple[ImageFiles, ImageFiles]:
    """Return training and test images as on disk, or as `load_folder` draws them with the seed of the trial."""
    if trial == 0 or data.has_split:
        return data.train, data.test
    everything, groups, clean = _clean_groups(data)
    owners = [group for group in groups if group in clean]
    out = held_out(owners, HELD_OUT, seed=config.seed + trial)
    learned = {group for group, is_out in zip(owners, out, strict=True) if not is_out}
    is_train = np.array([group in learned for group in groups])
    return everything.select(is_train), everything.select(~is_train)


def _fold(config: ManufacturingConfig, data: FolderDataset, trial: int) -> tuple[ImageFiles, ImageFiles]:
    """Return the images to train on, and the rest: one fold of the normal groups and all groups with a defect."""
    everything, groups, found = _clean_groups(data)
    clean = sorted(found, key=lambda group: hashlib.sha256(f"{config.seed}/{group}".encode()).digest())
    least = 2 if config.validation_fraction > 0 and chooses(config) else 1
    if len(clean) < least * config.trials:
        raise RunError(
            f"{len(clean)} groups without a defect for {config.trials} folds",
            f"at least {least} a fold with --validation-fraction {config.validation_fraction:g}",
            "lower --trials",
        )
    tested = {*groups} - {*clean} | {*clean[trial :: config.trials]}
    is_tested = np.array([group in tested for group in groups])
    return everything.select(~is_tested), everything.select(is_tested)


def _clean_groups(data: FolderDataset) -> tuple[ImageFiles, list[str], set[str]]:
    """Return all images, the group of each, and the groups without a defect."""
    everything = data.train.joined(data.test)
    groups = [file.group for file in everything.files]
    anomalous = {group for group, label in zip(groups, everything.labels, strict=True) if label != GOOD}
    return everything, groups, {*groups} - anomalous
