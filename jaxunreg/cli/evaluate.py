"""`jaxunreg evaluate`: measure how good a detector is on a folder with known defects."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from jaxunreg.cli.console import say
from jaxunreg.cli.detectors import color_of, fitting_images, load_detector
from jaxunreg.cli.exit_codes import EXIT_CODES, SUCCESS
from jaxunreg.cli.options import Directory
from jaxunreg.cli.places import check_outside, check_report, make_folder
from jaxunreg.cli.shown_images import show_images
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.folders.image_files import OnError
from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.inspection.detector_folder import cannot_write
from jaxunreg.inspection.unseen import unseen_images

HELP = (
    """\
See how well a model does on a folder where the defects are known.

  jaxunreg evaluate labelled_parts --model model --output report

DIRECTORY is laid out as for `jaxunreg fit`, with defects. Its test split is used, without any image that the model was
trained or calibrated on. The command prints ROC AUC and average precision of L, D, A and M, how well the heat maps find
the masks if there are any, and the rates at which normal and defective images are called anomalous. --output also
writes evaluation.json, scores.csv and a page, index.html.
"""
    + "\n"
    + EXIT_CODES.format(success="evaluated", anomalies="", interrupted="")
)


def evaluate(
    directory: tyro.conf.Positional[Directory],
    *,
    model: Directory,
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    heat_map_stride: int | None = None,
    false_positive_rate: float | None = None,
    top_k: int | None = None,
    on_error: OnError = "raise",
    bootstrap: int = 1000,
) -> int:
    """See how well a model does on a labelled folder.

    Args:
      directory: folder of images with defects.
      model: folder that `jaxunreg fit` wrote.
      output: folder for the page, the figures and the numbers.
      heat_map_stride: pixels from one patch to the next in heat maps; default: as in scoring. For models of pixels.
      false_positive_rate: share of normal images that may be called anomalous; default: as fitted.
      top_k: the score is the mean of this many most anomalous places or patches; default: as fitted.
      on_error: what to do with an unusable image: stop, or list and skip it.
      bootstrap: number of resamples for the intervals.
    """
    # Slow to import, because they import scikit-learn and matplotlib.
    from jaxunreg.inspection.evaluating import evaluate_detector
    from jaxunreg.reports.console_table import print_table
    from jaxunreg.reports.evaluation import write_evaluation
    from jaxunreg.reports.evaluation_tables import tabulate_evaluation

    if output is not None:
        check_outside("--output", output, [directory])
        check_report(output)
    detector = load_detector(model, false_positive_rate, top_k)
    made_of = detector.record.get("data", {})
    data = load_folder(
        directory,
        color=color_of(detector),
        on_error=on_error,
        min_size=detector.smallest_image,
        fallback_fraction=made_of.get("test_fraction"),
        seed=detector.record.get("config", {}).get("seed", 0),
    )
    images, left_out, which = unseen_images(detector, data)
    _show_left_out(left_out)
    known = len(images.skipped)
    images = fitting_images(detector, images, on_error)
    left_out = (*left_out, *images.skipped[known:])
    if output is not None:
        make_folder("--output", output)
    say(which)
    show_images("evaluating on", data, images)
    found = evaluate_detector(detector, images, heat_map_stride=heat_map_stride, bootstrap=bootstrap)
    # The names of defects are printed unchanged.
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False)
    for table in tabulate_evaluation(found):
        print_table(console, table)
    if output is not None:
        command = shlex.join(["jaxunreg", *sys.argv[1:]])
        skipped = [*data.skipped, *left_out]
        try:
            page = write_evaluation(output, found, data.describe(), skipped=skipped, images_used=which, command=command)
        except OSError as error:
            raise cannot_write(f"--output {output}", error) from error
        print(page)
    return SUCCESS


_MOST_SHOWN = 10


def _show_left_out(left_out: Sequence[Skipped]) -> None:
    for entry in left_out[:_MOST_SHOWN]:
        say(f"skipped: {entry.path}: {entry.reason}")
    if len(left_out) > _MOST_SHOWN:
        say(f"skipped: {len(left_out) - _MOST_SHOWN} more images that the model was trained or calibrated on")
