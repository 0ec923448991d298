"""`jaxunreg score`: a score, a p-value and a verdict for each image."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxunreg.cli.console import say
from jaxunreg.cli.detectors import color_of, load_detector
from jaxunreg.cli.exit_codes import ANOMALIES, EXIT_CODES, SUCCESS
from jaxunreg.cli.heat_maps import check_apart, heat_map_files, write_heat_map
from jaxunreg.cli.options import CommandError
from jaxunreg.cli.places import check_file, check_outside, make_folder
from jaxunreg.cli.rows import Format, writing_rows
from jaxunreg.datasets.folders.files import load_files
from jaxunreg.datasets.folders.image_files import ImageFiles, OnError
from jaxunreg.datasets.folders.reading import Reading
from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.verdict import ImageVerdict
from jaxunreg.progress import with_bar

HELP = (
    """\
Score images: a row for each as soon as it is scored.

  jaxunreg score part.png --model model
  jaxunreg score new_parts --model model --output scores.csv --heat-maps heat_maps
  jaxunreg score new_parts --model model --format jsonl | jq 'select(.verdict == "anomalous").path'

Columns: path, score (nats, higher is more anomalous), p_value (the share of normal images that score as high),
threshold, verdict (normal, anomalous or skipped), top, left, height and width of the most anomalous place in pixels,
heat_map (its file), reason (why a file was skipped). Skipped files come first, but for those that are gone by the time
they are to be scored. They do not change the exit code. In CSV a path that begins like a formula has ./ in front,
and control characters are escapes; in JSON lines names are exact.

Of a folder all images below it are scored, without hidden files and without what is a mask by its name: NAME_mask,
NAME-mask, NAME_gt, and what lies in a folder called ground_truth, gt, masks, labels, annotations or NAME_masks. These
are skipped; given by its own name a file is scored.
"""
    + "\n"
    + EXIT_CODES.format(
        success="all images are normal", anomalies="  3    at least one image is anomalous\n", interrupted=""
    )
)

_Directory = Annotated[Path, tyro.conf.arg(metavar="DIR")]


def score(
    targets: tyro.conf.Positional[tuple[Annotated[Path, tyro.conf.arg(metavar="PATH")], ...]],
    *,
    model: _Directory,
    format: Format = "csv",
    output: Annotated[str, tyro.conf.arg(metavar="FILE")] = "-",
    heat_maps: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    heat_map_stride: int | None = None,
    false_positive_rate: float | None = None,
    top_k: int | None = None,
    on_error: OnError = "raise",
) -> int:
    """Score images by a model that `fit` made.

    Args:
      targets: images, and folders with images in them.
      model: folder that `jaxunreg fit` wrote.
      format: a header and rows, or a JSON object a line.
      output: file for the rows, which are in FILE.part until all are there; - prints them. A file that holds something
        else than rows is not replaced.
      heat_maps: folder for a PNG of each image, beside its heat map over it.
      heat_map_stride: pixels from one patch to the next in heat maps; default: as in scoring. Half of it is finer and
        takes four times as long. For models of pixels.
      false_positive_rate: share of normal images that may be called anomalous; default: as fitted.
      top_k: the score is the mean of so many most anomalous places or patches; default: as fitted.
      on_error: what to do with a file that cannot be used: stop, or list and skip it.
    """
    if not targets:
        raise CommandError("nothing to score", "images or folders", field="targets")
    detector = load_detector(model, false_positive_rate, top_k)
    if heat_map_stride is not None:
        detector.scorer.check_stride("heat_map_stride", heat_map_stride)
    check_file(output, targets)
    if heat_maps is not None:
        check_outside("--heat-maps", heat_maps, targets)
    images = load_files(targets, color=color_of(detector), on_error=on_error, min_size=detector.smallest_image)
    if heat_maps is not None:
        check_apart(heat_maps, [file.path for file in images.files])
        make_folder("--heat-maps", heat_maps)
    if images.bits != detector.bits:
        say(f"the model was made of {detector.bits}-bit images, these have {images.bits} bits; both mean [0, 1]")
    to_screen = output == "-"
    began, counts = time.monotonic(), {"normal": 0, "anomalous": 0}
    reading = Reading(images, on_error)
    skipped = len(images.skipped)
    with writing_rows(output, format) as write:
        for entry in images.skipped:
            write(_skipped(entry))
        found = _verdicts(detector, images, reading, heat_maps, heat_map_stride)
        # Rows on a terminal show for themselves how far it is.
        quiet = to_screen and sys.stdout.isatty()
        for result in with_bar(found, len(images), "scoring", visible=not quiet):
            if isinstance(result, Skipped):
                say(f"skipped: {result.path}: {result.reason}")
                skipped += 1
                write(_skipped(result))
                continue
            path, verdict, heat_map = result
            name = "anomalous" if verdict.is_anomalous else "normal"
            counts[name] += 1
            write(
                {
                    "path": str(path),
                    "score": verdict.score,
                    "p_value": verdict.p_value,
                    "threshold": verdict.threshold,
                    "verdict": name,
                    **verdict.worst._asdict(),
                    "heat_map": None if heat_map is None else str(heat_map),
                }
            )
    say(
        f"{counts['anomalous']} of {sum(counts.values())} images are anomalous, {skipped} files were skipped, in "
        f"{time.monotonic() - began:.0f} s"
    )
    say(detector.summary())
    return ANOMALIES if counts["anomalous"] else SUCCESS


def _verdicts(
    detector: AnomalyDetector, images: ImageFiles, reading: Reading, heat_maps: Path | None, stride: int | None
) -> Iterator[tuple[Path, ImageVerdict, Path | None] | Skipped]:
    """Each image's path, its verdict, and the file of its heat map if there is one; and what could not be read."""
    paths = [file.path for file in images.files]
    targets = {} if heat_maps is None else dict(zip(paths, heat_map_files(paths, heat_maps), strict=True))
    for found in detector.inspect(reading, pixels=heat_maps is not None, heat_map_stride=stride):
        yield from reading.take_skipped()
        path = reading.files.popleft().path
        if heat_maps is not None:
            title = targets[path].relative_to(heat_maps).with_suffix("").as_posix()
            write_heat_map(detector, found, targets[path], title)
        yield path, found.verdict, targets.get(path)
    yield from reading.take_skipped()


def _skipped(entry: Skipped) -> dict[str, Any]:
    return {"path": str(entry.path), "verdict": "skipped", "reason": entry.reason}
