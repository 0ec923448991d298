"""`jaxunreg recalibrate`: a new threshold from more good parts, without training."""

from pathlib import Path
from typing import Annotated

import tyro

from jaxunreg.cli.console import say
from jaxunreg.cli.detectors import color_of, fitting_images
from jaxunreg.cli.exit_codes import EXIT_CODES, SUCCESS
from jaxunreg.cli.options import CommandError, Directory
from jaxunreg.cli.shown_images import show_images
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.folders.image_files import OnError
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.detector_folder import cannot_write
from jaxunreg.inspection.promised_rates import promises
from jaxunreg.inspection.recalibrating import recalibrate_detector
from jaxunreg.text import rounded

HELP = (
    """\
Set a new threshold from more good parts, without training.

  jaxunreg recalibrate model --normal more_good_parts
  jaxunreg recalibrate model --normal more_good_parts --rate 0.01 --output model2
  jaxunreg recalibrate model --normal parts_under_the_new_lamp --only-new

The scores of these parts join those of the parts behind the threshold. Give good parts as they come from the line:
those that passed and those that were false alarms. With false alarms only, the threshold rises, and its rate is no
longer the stated one. With passed parts only, it falls, and false alarms increase. The command warns of both, but it
cannot detect every selection.

With --only-new the threshold rests only on the new parts, e.g. after a change of light or camera. Images that the model
was made of are left out. DIRECTORY is laid out as for `jaxunreg fit`; only its good parts are used. The path of the
model is printed on stdout. A drift test begins again with the new threshold.
"""
    + "\n"
    + EXIT_CODES.format(success="the threshold is set", anomalies="", interrupted="; the model is unchanged")
)


def recalibrate(
    model: tyro.conf.Positional[Directory],
    *,
    normal: Directory,
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    rate: float | None = None,
    review_rate: float | None = None,
    only_new: bool = False,
    on_error: OnError = "raise",
) -> int:
    """Set a new threshold from more good parts, without training.

    Args:
      model: folder that `jaxunreg fit` wrote.
      normal: folder of more good parts.
      output: new or empty folder for the model with the new threshold; default: the model is changed.
      rate: share of normal images that may be called anomalous; default: unchanged.
      review_rate: share of normal images that may be reviewed or rejected; default: unchanged.
      only_new: drop the parts behind the present threshold.
      on_error: what to do with an unusable image: stop, or list and skip it.
    """
    detector = AnomalyDetector.load(model)
    if rate is not None and not 0.0 < rate < 1.0:
        raise CommandError(f"--rate {rate:g}", "a number between 0 and 1, e.g. 0.05", "change --rate", "rate")
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise CommandError(
            f"--output {output}, which is already used", "a new or empty folder", "choose another", "output"
        )
    data = load_folder(
        normal,
        color=color_of(detector),
        on_error=on_error,
        min_size=detector.smallest_image,
        fallback_fraction=0.0,
    )
    seen = detector.has_seen(data.train)
    if seen.all():
        raise CommandError(
            f"--normal {normal}, and the model was made of all its {len(seen)} images",
            "good parts that it was not made of",
            "give others",
            "normal",
        )
    if seen.any():
        say(f"left out: {int(seen.sum())} images that the model was made of")
    images = fitting_images(detector, data.train.select(~seen), on_error)
    show_images("calibrating on", data, images)
    found = recalibrate_detector(detector, images, rate=rate, review_rate=review_rate, only_new=only_new)
    target = model if output is None else output
    try:
        if output is None:
            found.detector.write_calibration_into(model)
        else:
            found.detector.save(output)
    except OSError as error:
        raise cannot_write(target, error) from error
    told = found.comparison
    say(
        f"the threshold was {rounded(told.threshold_before)} and is {rounded(told.threshold)}; {told.above} of the "
        f"{told.added} parts were above it, where about {told.expected_above:.2g} were expected"
    )
    for sentence in promises(found.detector):
        say(sentence)
    for warning in told.warnings:
        say(f"warning: {warning}")
    print(target, flush=True)
    return SUCCESS
