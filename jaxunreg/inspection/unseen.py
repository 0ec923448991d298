"""Which images a detector may be evaluated on: none that it was trained or calibrated on."""

from typing import NamedTuple

import numpy as np

from jaxunreg.datasets.folders.dataset import FolderDataset
from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.errors import ArgumentError
from jaxunreg.inspection.detector import AnomalyDetector


class UnseenImages(NamedTuple):
    """The images of a data set that a detector may be evaluated on.

    Attributes:
      images: those that the detector has not seen.
      left_out: those that it has seen, each with the reason.
      explanation: how the images were chosen, in a sentence.
    """

    images: ImageFiles
    left_out: tuple[Skipped, ...]
    explanation: str


def unseen_images(detector: AnomalyDetector, data: FolderDataset) -> UnseenImages:
    """Choose the images of a data set that a detector may be evaluated on.

    A folder with a test split on disk gives that split. Of another folder, the split that was drawn is used where the
    detector has seen all of its training images, for then the detector was made of it; otherwise all its images are
    used. Images that the detector has seen, by their bytes, are always left out.

    Args:
      detector: see `fit_detector`. A detector that was made of arrays remembers no files, and has seen none.
      data: from `load_folder`.

    Returns:
      The images, those that are left out, and why.

    Raises:
      ArgumentError: there is no image to evaluate on, or the detector has seen them all.
    """
    explanation = f"the test split of {data.name} is used: {data.split}"
    images = data.test if data.has_split else data.train.joined(data.test)
    seen = detector.has_seen(images)
    if not data.has_split:
        # The folder that the model was made of has this split; another may have some of its images.
        if seen[: len(data.train)].all():
            images, seen = data.test, seen[len(data.train) :]
        elif seen.any():
            explanation = f"all images of {data.name} are used, but for {seen.sum()} that the model was made of"
        else:
            explanation = f"all images of {data.name} are used, since the model was made of none of them"
    if not len(images):
        raise ArgumentError(
            f"{data.directory}, layout {data.layout}, which has no test images",
            "normal images and defects, in `test/good` and `test/DEFECT`, or in `good` and a folder for each kind of "
            "defect",
            "add them, or evaluate on another folder",
            field="data",
        )
    if seen.all():
        raise ArgumentError(
            f"{data.directory}, whose {len(images)} images the model was all made of",
            "others",
            "fit without them, or evaluate on another folder",
            field="data",
        )
    left_out = tuple(
        Skipped(images.files[k].path, "is an image that the model was trained or calibrated on")
        for k in np.flatnonzero(seen)
    )
    return UnseenImages(images.select(~seen), left_out, explanation)


def check_unseen(detector: AnomalyDetector, images: ImageFiles) -> None:
    """Refuse images that a detector was trained or calibrated on, by their bytes.

    Raises:
      ArgumentError: there are such images.
    """
    seen = np.flatnonzero(detector.has_seen(images))
    if seen.size:
        more = f" and {seen.size - 1} more" if seen.size > 1 else ""
        raise ArgumentError(
            f"{seen.size} of {len(images)} images that the detector was trained or calibrated on: "
            f"{images.files[seen[0]].path}{more}",
            "images that it has not seen",
            "leave them out, by `unseen_images` or by `images.select(~detector.has_seen(images))`",
            field="images",
        )
