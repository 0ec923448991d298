"""`jaxunreg export`: a whole detector as a folder for programs without this package."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import tyro

from jaxunreg.cli.console import say
from jaxunreg.cli.detectors import color_of, load_detector
from jaxunreg.cli.exit_codes import EXIT_CODES, SUCCESS
from jaxunreg.cli.options import CommandError, Directory
from jaxunreg.datasets.folders.files import load_files
from jaxunreg.datasets.folders.image_files import OnError
from jaxunreg.errors import argument
from jaxunreg.export.detector_export import ExportFormat, export_detector
from jaxunreg.export.export_check import TOLERANCE, ExportCheck, check_export, settings_of
from jaxunreg.inspection.detector import AnomalyDetector

HELP = (
    """\
Write a whole detector as a folder that needs neither this package nor JAX: image in; score, p-value, verdict, box and
heat map out.

  jaxunreg export model --output exported
  jaxunreg export model --verify exported --data test_parts
  python exported/jaxunreg_runner.py part.png

With --format onnx the folder is for ONNX Runtime (pip install 'jaxunreg[export]' here, and onnxruntime where it runs).
With --format stablehlo it is for JAX, in versions up to six months newer than the one that wrote it. It holds the
feature network and all learned arrays, exported.json with threshold, held-out scores and checksums, and
jaxunreg_runner.py, a single file that needs only NumPy and the runtime.

--verify scores images by the model and by the exported folder, and ends with an error if a score differs by more than
1e-4 of it or a verdict differs. A JSON object with the result is printed on stdout, or the folder after an export.
"""
    + "\n"
    + EXIT_CODES.format(success="exported, or verified", anomalies="", interrupted="")
)


def export(
    model: tyro.conf.Positional[Directory],
    *,
    output: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    format: ExportFormat = "onnx",
    verify: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    data: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH")] = (),
    false_positive_rate: float | None = None,
    top_k: int | None = None,
    on_error: OnError = "raise",
) -> int:
    """Write a whole detector for programs without this package.

    Args:
      model: folder that `jaxunreg fit` wrote.
      output: new folder to export to.
      format: format of the programs in it: onnx for ONNX Runtime, stablehlo for JAX.
      verify: exported folder to compare with the model.
      data: images and folders to score for the comparison.
      false_positive_rate: share of normal images that may be called anomalous; default: as fitted.
      top_k: the score is the mean of this many most anomalous places or patches; default: as fitted.
      on_error: what to do with an unusable image: stop, or list and skip it.
    """
    if (output is None) == (verify is None):
        raise CommandError(
            "both --output and --verify" if output else "neither --output nor --verify",
            "one of them: a folder to export to, or an exported one",
            field="output",
        )
    if bool(data) != (verify is not None):
        raise CommandError(
            "--data without --verify" if data else "--verify without --data",
            "an exported folder and images to verify it by",
            field="data",
        )
    if output is not None:
        detector = load_detector(model, false_positive_rate, top_k)
        print(export_detector(detector, output, format=format))
        say(detector.summary())
        return SUCCESS
    assert verify is not None  # for mypy: one of them is given
    detector = AnomalyDetector.load(model)
    if (false_positive_rate, top_k) != (None, None):
        raise CommandError(
            argument("false_positive_rate", false_positive_rate) if top_k is None else argument("top_k", top_k),
            "no such setting with --verify, which takes those of the exported folder",
            "leave it out",
        )
    found = _verified(verify, dataclasses.replace(detector, **settings_of(verify)), data, on_error)
    print(json.dumps(found._asdict()))
    say(
        f"{found.images} images, {found.anomalous} of them anomalous: all verdicts are the same, scores within "
        f"{found.score_difference:.1e} of each other where {TOLERANCE:g} is allowed"
    )
    return SUCCESS


def _verified(folder: Path, detector: AnomalyDetector, data: tuple[Path, ...], on_error: OnError) -> ExportCheck:
    images = load_files(data, color=color_of(detector), on_error=on_error, min_size=detector.smallest_image)
    return check_export(folder, detector, images, progress=True)
