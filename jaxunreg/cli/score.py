"""`jaxunreg score`: a score, a p-value and a verdict for each image."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro

from jaxunreg.cli.console import say
from jaxunreg.cli.detectors import color_of, load_detector
from jaxunreg.cli.exit_codes import ANOMALIES, EXIT_CODES, SUCCESS
from jaxunreg.cli.heat_maps import check_apart, verdicts_with_heat_maps
from jaxunreg.cli.options import CommandError
from jaxunreg.cli.places import check_file, check_outside, make_folder
from jaxunreg.cli.rows import Format, writing_rows
from jaxunreg.datasets.folders.files import load_files
from jaxunreg.datasets.folders.image_files import ImageFiles, OnError
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
heat_map (its file), reason (why a file was skipped). Skipped files come first, and do not change the exit code.

Of a folder all images below it are scored, without hidden files and without what is a mask by its name: NAME_mask,
NAME-mask, NAME_gt, and what lies in `ground_truth`. These are skipped; given by its own name a file is scored.
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
      output: file for the rows, written once all are there; - prints them one by one. After a stop or an error those
        that were there are in FILE.part.
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
    check_file(output)
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
    with writing_rows(output, format) as write:
        for entry in images.skipped:
            write({"path": str(entry.path), "verdict": "skipped", "reason": entry.reason})
        found = _verdicts(detector, images, heat_maps, heat_map_stride)
        # Rows on a terminal show for themselves how far it is.
        quiet = to_screen and sys.stdout.isatty()
        for path, verdict, heat_map in with_bar(found, len(images), "scoring", visible=not quiet):
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
        f"{counts['anomalous']} of {len(images)} images are anomalous, {len(images.skipped)} files were skipped, in "
        f"{time.monotonic() - began:.0f} s"
    )
    say(detector.summary())
    return ANOMALIES if counts["anomalous"] else SUCCESS


def _verdicts(
    detector: AnomalyDetector, images: ImageFiles, heat_maps: Path | None, stride: int | None
) -> Iterator[tuple[Path, ImageVerdict, Path | None]]:
    """Each image's path, its verdict, and the file of its heat map if there is one."""
    paths = [file.path for file in images.files]
    if heat_maps is None:
        found: Iterator[tuple[ImageVerdict, Path | None]] = ((verdict, None) for verdict in detector.scores(images))
    else:
        found = iter(verdicts_with_heat_maps(detector, images, heat_maps, stride))
    yield from ((path, *both) for path, both in zip(paths, found, strict=True))
