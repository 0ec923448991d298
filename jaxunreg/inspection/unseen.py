"""The images for evaluating a detector: none that it was trained or calibrated on."""

from typing import NamedTuple

import numpy as np

from jaxunreg.datasets.folders.dataset import FolderDataset
from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.errors import ArgumentError
from jaxunreg.inspection.detector import AnomalyDetector


class UnseenImages(NamedTuple):
    """The images of a data set for evaluating a detector.

    Attributes:
      images: the images that the detector has not seen.
      left_out: the images that it has seen, each with the reason.
      explanation: a sentence on how the images were chosen.
    """

    images: ImageFiles
    left_out: tuple[Skipped, ...]
    explanation: str


def unseen_images(detector: AnomalyDetector, data: FolderDataset) -> UnseenImages:
    """Choose the images of a data set for evaluating a detector.

    If the folder has a test split on disk, that split is used. Otherwise, if the detector has seen all training images
    of the drawn split, it was made of that split, and its test images are used. If not, all images are used. Images
    that the detector has seen, by their bytes, are always left out.

    Args:
      detector: see `fit_detector`. A detector that was made of arrays stores no files, and has seen none.
      data: from `load_folder`.

    Returns:
      The images, the images that are left out, and the reasons.

    Raises:
      ArgumentError: there is no image to evaluate on, or the detector has seen them all.
    """
    explanation = f"the test split of {data.name} is used: {data.split}"
    images = data.test if data.has_split else data.train.joined(data.test)
    seen = detector.has_seen(images)
    if not data.has_split:
        # The folder behind the model has this split. Another folder may have some of its images.
        if seen[: len(data.train)].all():
            images, seen = data.test, seen[len(data.train) :]
        elif seen.any():
            explanation = f"all images of {data.name} are used, except {seen.sum()} that the model was made of"
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
            f"{data.directory}, and the model was made of all its {len(images)} images",
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
