"""The detector of `--model`, with the settings that the command line changes."""

import dataclasses
from pathlib import Path

import numpy as np

from jaxunreg.cli.console import say
from jaxunreg.cli.options import CommandError
from jaxunreg.datasets.folders.image_files import Color, ImageFiles, OnError
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped
from jaxunreg.errors import argument
from jaxunreg.inspection.calibration import images_needed
from jaxunreg.inspection.detector import AnomalyDetector


def load_detector(
    model: Path,
    false_positive_rate: float | None,
    top_k: int | None,
    *,
    reject: float | None = None,
    review: float | None = None,
) -> AnomalyDetector:
    """Load a detector, and calibrate it for other rates or another `top_k` if they are given.

    Args:
      model: its folder.
      false_positive_rate: value of `--false-positive-rate`.
      top_k: value of `--top-k`.
      reject: value of `--reject`, another name for the former.
      review: value of `--review`, the rate of the review band.

    Raises:
      CommandError: the rates contradict each other, or are too low for the number of held-out images.
    """
    if reject is not None and false_positive_rate is not None:
        raise CommandError(
            f"{argument('reject', reject)} and {argument('false_positive_rate', false_positive_rate)}",
            "one of them, since they are the same rate",
            f"leave {argument('false_positive_rate')} out",
            "reject",
        )
    detector = AnomalyDetector.load(model)
    for name, rate in (("reject", reject), ("review", review)):
        if rate is not None:
            check_promise(name, rate, detector.calibration.count)
    rejected = detector.false_positive_rate if reject is None else reject
    if review is not None and review <= rejected:
        raise CommandError(
            argument("review", review),
            f"more than the {rejected:g} at which images are rejected",
            f"raise {argument('review')}, or give a lower {argument('reject')}",
            "review",
        )
    changes = {
        "false_positive_rate": false_positive_rate if reject is None else reject,
        "top_k": top_k,
        "review_rate": review,
    }
    return dataclasses.replace(detector, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]


def check_promise(name: str, rate: float, held_out_images: int) -> None:
    """Refuse a rate that is too low for the number of held-out images.

    Args:
      name: name of the option.
      rate: its value.
      held_out_images: number of held-out images.

    Raises:
      CommandError: it is not in (0, 1), or too low.

    >>> check_promise("reject", 0.001, 50)
    Traceback (most recent call last):
    jaxunreg.cli.options.CommandError: got reject=0.001; expected at least 1/(50 + 1) = 0.0196, the lowest rate that 50
    held-out good parts can promise; raise reject, or add 949 good parts by `jaxunreg recalibrate`
    """
    if not 0.0 < rate < 1.0:
        raise CommandError(
            argument(name, rate), "a number between 0 and 1, e.g. 0.05", f"change {argument(name)}", field=name
        )
    needed = images_needed(rate)
    if held_out_images < needed:
        raise CommandError(
            argument(name, rate),
            f"at least 1/({held_out_images} + 1) = {1 / (held_out_images + 1):.3g}, the lowest rate that "
            f"{held_out_images} held-out good parts can promise",
            f"raise {argument(name)}, or add {needed - held_out_images} good parts by `jaxunreg recalibrate`",
            field=name,
        )


def fitting_images(detector: AnomalyDetector, images: ImageFiles, on_error: OnError) -> ImageFiles:
    """Return the images over which the masks of a detector can be laid.

    Args:
      detector: the detector.
      images: images of any sizes.
      on_error: whether an image that does not fit raises, or is left out and listed in `skipped`.

    Raises:
      ImageFileError: an image does not fit, and `on_error` is `"raise"`.
      CommandError: no image fits.
    """
    fitting = detector.fits(images.sizes)
    if fitting.all():
        return images
    mask = "x".join(map(str, detector.mask_sizes[0]))
    skipped = [
        Skipped(
            images.files[k].path,
            f"has {images.sizes[k, 0]}x{images.sizes[k, 1]} pixels, and not the ratio of the model's masks of {mask}",
        )
        for k in np.flatnonzero(~fitting)
    ]
    if on_error == "raise":
        raise ImageFileError(*skipped[0], "images of the camera that the masks were drawn for", "leave it out")
    for entry in skipped:
        say(f"skipped: {entry.path}: {entry.reason}")
    if not fitting.any():
        raise CommandError(
            f"{len(images)} images, none of which has the ratio of the model's masks of {mask}",
            "images of the camera that the masks were drawn for",
            "score others, or fit without masks",
        )
    return dataclasses.replace(images.select(fitting), skipped=(*images.skipped, *skipped))


def color_of(detector: AnomalyDetector) -> Color:
    """Return the colour to which images are converted for a detector."""
    return "gray" if detector.channels == 1 else "rgb"
