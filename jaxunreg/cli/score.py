"""`jaxunreg score`: a score, a p-value and a verdict for each image."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxunreg.cli.console import say
from jaxunreg.cli.detectors import load_detector
from jaxunreg.cli.drift_file import read_drift, write_drift
from jaxunreg.cli.exit_codes import ANOMALIES, EXIT_CODES, SUCCESS
from jaxunreg.cli.lot import LotRate
from jaxunreg.cli.options import CommandError, Directory
from jaxunreg.cli.outputs import MapFormat, Outputs
from jaxunreg.cli.places import check_file
from jaxunreg.cli.rows import Format, verdict_cells, verdict_columns, writing_rows
from jaxunreg.cli.sources import source_of
from jaxunreg.datasets.folders.image_files import OnError
from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.inspection.drift import DriftTest
from jaxunreg.progress import with_bar
from jaxunreg.serving.pace import Pace

HELP = (
    """\
Score images: a row for each as soon as it is scored.

  jaxunreg score part.png --model model
  jaxunreg score new_parts --model model --output scores.csv --heat-maps heat_maps
  jaxunreg score new_parts --model model --format jsonl | jq 'select(.verdict == "anomalous").path'
  jaxunreg score new_parts --model model --reject 0.01 --review 0.1 --format jsonl --regions --masks masks
  jaxunreg score shift_2 --model model --drift drift.json
  jaxunreg score pallet_17 --model model --lot 0.1
  jaxunreg score --camera rtsp://10.0.0.7/line --every 25 --model model --format jsonl

Columns: path, score (nats, higher is more anomalous), p_value (the share of normal images that score as high),
threshold, verdict (normal, anomalous or skipped), top, left, height and width of the most anomalous place in pixels,
heat_map (its file), reason (why a file was skipped). Skipped files come first, except files that vanish before they
are scored. They do not change the exit code. In CSV a path that begins like a formula has ./ in front, and control
characters are escapes. In JSON lines names are exact.

With a review band (--review, or a model with one) the verdict is pass, review or reject, and there is a column
review_threshold. A model with named regions has a column named_regions. --regions lists the connected regions
of the heat map (top, left, height, width, area, peak and mean in nats) above a level that at most --pixel-rate of the
normal images exceed anywhere; CSV counts them. --masks and --maps add the columns mask and map.

With --drift, FILE continues a test over all runs: whether normal parts still look like the held-out ones, and whether
more parts are anomalous than the rate explains. The probability of a false alarm is at most 0.01 over any number of
parts. Without --drift the test covers only this run. Give each part once, in the order of production.

With --lot the images are one lot, and there is a column lot. On average, at most this share of the rejected parts is
good (Benjamini-Hochberg on the p-values). The rows come when all images are scored.

--camera (needs `pip install 'jaxunreg[camera]'`) scores the frames of a video file, of a camera of this machine (0) or
of a stream, a row for each with the columns frame and seconds. From a camera or a stream it takes the newest frame each
time, until Ctrl-C. Frames of one part are alike, so the drift test holds only if each frame shows another part.

In a folder, all images below it are scored, except hidden files and masks. Masks are files called NAME_mask, NAME-mask
or NAME_gt, or in a folder called ground_truth, gt, masks, labels, annotations or NAME_masks. They are skipped, but a
file that is given by its own name is scored.
"""
    + "\n"
    + EXIT_CODES.format(
        success="all images are normal, or pass",
        anomalies="  3    at least one image is anomalous, or does not pass; with --lot: the lot has rejected parts\n",
        interrupted="",
    )
)


def score(
    targets: tyro.conf.Positional[tuple[Annotated[Path, tyro.conf.arg(metavar="PATH")], ...]] = (),
    *,
    model: Directory,
    camera: Annotated[str | None, tyro.conf.arg(metavar="NUMBER-ADDRESS-OR-FILE")] = None,
    every: int = 1,
    format: Format = "csv",
    output: Annotated[str, tyro.conf.arg(metavar="FILE")] = "-",
    heat_maps: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    heat_map_stride: int | None = None,
    false_positive_rate: float | None = None,
    reject: float | None = None,
    review: float | None = None,
    top_k: int | None = None,
    regions: bool = False,
    pixel_rate: float | None = None,
    masks: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    maps: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    map_format: MapFormat = "tiff",
    drift: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    lot: float | None = None,
    on_error: OnError = "raise",
) -> int:
    """Score images by a model that `fit` made.

    Args:
      targets: images, and folders with images in them.
      model: folder that `jaxunreg fit` wrote.
      camera: score frames: the number of a camera, the address of a stream (rtsp://...), or a video file.
      every: score only each frame whose number this divides.
      format: a header and rows, or a JSON object a line.
      output: file for the rows; - prints them. They are in FILE.part until all are written. A file that holds something
        other than rows is not replaced.
      heat_maps: folder for a PNG of each image, beside its heat map over it.
      heat_map_stride: pixels from one patch to the next in heat maps; default: as in scoring. Half the stride is finer
        and takes four times as long. For models of pixels.
      false_positive_rate: share of normal images that may be called anomalous; default: as fitted.
      reject: another name for --false-positive-rate.
      review: share of normal images that may be reviewed or rejected. Verdicts are then pass, review and reject.
      top_k: the score is the mean of this many most anomalous places or patches; default: as fitted.
      regions: list the regions of each heat map.
      pixel_rate: share of normal images that have any region; default: the false-positive rate.
      masks: folder for a mask of the regions of each image, as PNG.
      maps: folder for the heat map of each image in nats a pixel, float32, with NaN for ignored pixels.
      map_format: format of these maps.
      drift: file that continues the test of drift from run to run.
      lot: share of good parts among the rejected ones of the lot, e.g. 0.1.
      on_error: what to do with an unusable file: stop, or list and skip it.
    """
    if not targets and camera is None:
        raise CommandError("nothing to score", "images or folders, or --camera", field="targets")
    detector = load_detector(model, false_positive_rate, top_k, reject=reject, review=review)
    outputs = Outputs(heat_maps, heat_map_stride, masks, maps, map_format, regions, pixel_rate)
    outputs.check(detector, targets)
    check_file(output, targets)
    lot_rate = None if lot is None else LotRate(lot)
    test = DriftTest(detector.calibration, detector.false_positive_rate)
    state = read_drift(drift, test)
    source = source_of(detector, targets, camera, every, on_error)
    files = source.prepare(outputs)
    to_screen = output == "-"
    began, counts = time.monotonic(), dict.fromkeys(detector.outcomes, 0)
    pace, skipped = Pace(), len(source.skipped)
    columns = [*source.columns, *verdict_columns(detector), *outputs.columns, *([] if lot_rate is None else ["lot"])]
    with writing_rows(output, format, columns) as write_now:
        write = write_now if lot_rate is None else lot_rate.keep
        for entry in source.skipped:
            write(_skipped(entry))
        found = source.scored(outputs, pace)
        # Rows on a terminal already show the progress.
        quiet = to_screen and sys.stdout.isatty()
        for result in with_bar(found, source.total, "scoring", visible=not quiet):
            if isinstance(result, Skipped):
                say(f"skipped: {result.path}: {result.reason}")
                skipped += 1
                write(_skipped(result))
                continue
            path, one, named = result
            counts[one.verdict.outcome] += 1
            state = test.step(state, one.verdict.score)
            cells = outputs.write(detector, one, path, files, format)
            write({**named, **verdict_cells(one.verdict, format), **cells})
        if lot_rate is not None:
            lot_rate.write_all(write_now)
    if drift is not None:
        write_drift(drift, test, state)
    many = "images are anomalous" if detector.review_rate is None else "images are rejected"
    besides = f", {counts['review']} are to be reviewed" if "review" in counts else ""
    odd = counts[detector.outcomes[-1]]
    say(
        f"{odd} of {sum(counts.values())} {many}{besides}, {skipped} files were skipped, in "
        f"{time.monotonic() - began:.0f} s{_pace_in_words(pace)}"
    )
    if lot_rate is not None:
        say(lot_rate.summary(detector.calibration.count))
    what = test.reading(state)
    say(f"{'warning: ' if what.alarm else ''}{what.sentence}")
    say(detector.summary())
    failed = odd + counts.get("review", 0) if lot_rate is None else lot_rate.rejected
    return ANOMALIES if failed else SUCCESS


def _pace_in_words(pace: Pace) -> str:
    """Return how long a part takes without the start-up, as the end of a sentence."""
    if pace.start_up is None or not pace.timings.count:
        return ""
    return f"; after {pace.start_up:.1f} s of start-up a part took {pace.timings.summary()}"


def _skipped(entry: Skipped) -> dict[str, Any]:
    return {"path": str(entry.path), "verdict": "skipped", "reason": entry.reason}
