"""The command line: `jaxunreg fit`, `score` and `evaluate` on folders of images."""

import contextlib
import csv
import dataclasses
import hashlib
import json
import logging
import os
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from PIL import Image
from rich.console import Console
from rich.markup import escape

import jaxunreg as ju
from jaxunreg.compilation import keep_compiled
from jaxunreg.datasets.folders.files import load_files
from jaxunreg.datasets.folders.image_files import Color, ImageFiles, OnError
from jaxunreg.datasets.folders.layouts import FolderDataset, load_folder
from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.files import replacing
from jaxunreg.inspection.checks import check_stride
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.detector import FILE, TRAINING, AnomalyDetector, cannot_write
from jaxunreg.inspection.fitting import fit_detector
from jaxunreg.inspection.verdict import ImageVerdict
from jaxunreg.progress import with_bar
from jaxunreg.text import printable

SUCCESS, ERROR, USAGE, ANOMALIES, INTERRUPTED = 0, 1, 2, 3, 130

_EXIT_CODES = """\
Exit codes:
  0    {success}
  1    an error, told in one line on stderr
  2    a wrong command line
{anomalies}  130  interrupted{interrupted}
"""

_DESCRIPTION = """\
Find what is odd in images, with nothing but normal images to learn from.

  jaxunreg fit good_parts --output model              learn from a folder of normal images (minutes to hours)
  jaxunreg score new_parts --model model              a score, a p-value and a verdict for each image
  jaxunreg evaluate labelled_parts --model model      how well it does where the defects are known

Results go to stdout, everything else to stderr. Each command has a --help.
"""

_HELP = {
    "fit": """\
Learn from normal images, and set a threshold from some that are held out.

  jaxunreg fit good_parts --output model
  jaxunreg fit good_parts --output model --steps 20000 --false-positive-rate 0.01

DIRECTORY may be a folder of images, an MVTec-style tree (train/good, test/DEFECT, ground_truth/DEFECT), or a folder
with `good` beside one folder for each kind of defect; only normal images are learned from. PNG, JPEG, BMP and TIFF of 8
or 16 bits, gray or RGB, of any sizes from a patch on.

Started again with the same output after Ctrl-C, or after it was killed, it goes on where it stopped. A model that is
finished is not trained again. The path of the model is printed on stdout.
"""
    + "\n"
    + _EXIT_CODES.format(success="the model is ready", anomalies="", interrupted="; start it again to go on"),
    "score": """\
Score images: a row for each as soon as it is scored.

  jaxunreg score part.png --model model
  jaxunreg score new_parts --model model --output scores.csv --heat-maps heat_maps
  jaxunreg score new_parts --model model --format jsonl | jq 'select(.verdict == "anomalous").path'

Columns: path, score (nats, higher is more anomalous), p_value (the share of normal images that score as high),
threshold, verdict (normal, anomalous or skipped), top, left, height and width of the most anomalous patch in pixels,
heat_map (its file), reason (why a file was skipped). Skipped files come first, and do not change the exit code.

Of a folder all images below it are scored, without hidden files and without what is a mask by its name: NAME_mask,
NAME-mask, NAME_gt, and what lies in `ground_truth`. These are skipped; given by its own name a file is scored.
"""
    + "\n"
    + _EXIT_CODES.format(
        success="all images are normal", anomalies="  3    at least one image is anomalous\n", interrupted=""
    ),
    "evaluate": """\
See how well a model does on a folder where the defects are known.

  jaxunreg evaluate labelled_parts --model model --output report

DIRECTORY is laid out as for `jaxunreg fit`, with defects. Its test split is used, without any image that the model was
trained or calibrated on. Printed are ROC AUC and average precision of L, D, A and M, how well the heat maps find the
masks if there are any, and the rates at which normal and defective images are called anomalous. With --output also
evaluation.json, scores.csv and a page to look at, index.html.
"""
    + "\n"
    + _EXIT_CODES.format(success="evaluated", anomalies="", interrupted=""),
}

_DEFAULT = DetectorConfig()

Directory = Annotated[Path, tyro.conf.arg(metavar="DIR")]


class CommandError(Exception):
    """What a user should read in place of a traceback."""


def fit(
    directory: tyro.conf.Positional[Directory],
    *,
    output: Directory,
    color: Color = "auto",
    on_error: OnError = "raise",
    test_fraction: float | None = None,
    detector: DetectorConfig = _DEFAULT,
) -> int:
    """Learn from a folder of normal images.

    Args:
      directory: folder of images.
      output: where the model goes; a new or empty folder, or one in which this was stopped before.
      color: one choice for all images; auto is gray if all are.
      on_error: what to do with an image that cannot be used: stop, or list and skip it.
      test_fraction: share of the normal images that is left for `evaluate`; default: 0.25 if there are defects.
      detector: what is learned and how.
    """
    data = load_folder(
        directory,
        color=color,
        on_error=on_error,
        min_size=detector.patch,
        test_fraction=test_fraction,
        seed=detector.seed,
    )
    _show_images("learning from", data, data.train)
    if (output / FILE).exists():
        _say(f"{output} is finished already")
    elif (output / TRAINING / "checkpoints").is_dir():
        _say(f"going on with the training in {output}")
    description = {k: v for k, v in data.describe().items() if k != "test"}
    found = fit_detector(
        data.train,
        detector,
        key=jax.random.key(detector.seed),
        directory=output,
        record={"data": {**description, "test_fraction": test_fraction}},
    )
    _say(found.summary())
    parts, files, copies = (found.record[name] for name in ("parts", "images", "copies"))
    if parts != files:
        besides = f" ({copies} are copies of others, byte by byte)" if copies else ""
        _say(f"the {files} images show {parts} parts{besides}; the threshold rests on one image of each held-out part")
    print(output, flush=True)
    return SUCCESS


def score(
    targets: tyro.conf.Positional[tuple[Annotated[Path, tyro.conf.arg(metavar="PATH")], ...]],
    *,
    model: Directory,
    format: Literal["csv", "jsonl"] = "csv",
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
        takes four times as long.
      false_positive_rate: share of normal images that may be called anomalous; default: as fitted.
      top_k: the score is the mean of so many most anomalous patches; default: as fitted.
      on_error: what to do with a file that cannot be used: stop, or list and skip it.
    """
    if not targets:
        raise CommandError("got nothing to score; expected images or folders")
    detector = _load(model, false_positive_rate, top_k)
    if heat_map_stride is not None:
        check_stride("heat_map_stride", heat_map_stride, detector.patch)
    _check_file(output)
    if heat_maps is not None:
        _check_outside("--heat-maps", heat_maps, targets)
    images = load_files(targets, color=_color(detector), on_error=on_error, min_size=detector.patch)
    if heat_maps is not None:
        _check_apart(heat_maps, [file.path for file in images.files])
        _make_folder("--heat-maps", heat_maps)
    if images.bits != detector.bits:
        _say(f"the model was made of {detector.bits}-bit images, these have {images.bits} bits; both mean [0, 1]")
    to_screen = output == "-"
    began, counts = time.monotonic(), {"normal": 0, "anomalous": 0}
    with _rows(output, format) as write:
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
    _say(
        f"{counts['anomalous']} of {len(images)} images are anomalous, {len(images.skipped)} files were skipped, in "
        f"{time.monotonic() - began:.0f} s"
    )
    _say(detector.summary())
    return ANOMALIES if counts["anomalous"] else SUCCESS


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
      heat_map_stride: pixels from one patch to the next in heat maps; default: as in scoring.
      false_positive_rate: share of normal images that may be called anomalous; default: as fitted.
      top_k: the score is the mean of so many most anomalous patches; default: as fitted.
      on_error: what to do with an image that cannot be used: stop, or list and skip it.
      bootstrap: resamples of the intervals.
    """
    # Slow to import, for scikit-learn and matplotlib behind them.
    from jaxunreg.inspection.evaluation import evaluate_detector
    from jaxunreg.reports.console_table import print_table
    from jaxunreg.reports.evaluation import write_evaluation
    from jaxunreg.reports.evaluation_tables import evaluation_tables

    if output is not None:
        _check_outside("--output", output, [directory])
        _check_output(output)
    detector = _load(model, false_positive_rate, top_k)
    made_of = detector.record.get("data", {})
    data = load_folder(
        directory,
        color=_color(detector),
        on_error=on_error,
        min_size=detector.patch,
        fallback_fraction=made_of.get("test_fraction"),
        seed=detector.record.get("config", {}).get("seed", 0),
    )
    images, skipped, which = _unseen(detector, data)
    if output is not None:
        _make_folder("--output", output)
    _say(which)
    _show_images("evaluating on", data, images)
    found = evaluate_detector(detector, images, heat_map_stride=heat_map_stride, bootstrap=bootstrap)
    # The names of defects are printed as they are.
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False)
    for table in evaluation_tables(found):
        print_table(console, table)
    if output is not None:
        command = shlex.join(["jaxunreg", *sys.argv[1:]])
        skipped = [*data.skipped, *skipped]
        print(write_evaluation(output, found, data.describe(), skipped=skipped, images_used=which, command=command))
    return SUCCESS


COMMANDS: Mapping[str, Callable[..., int]] = {"fit": fit, "score": score, "evaluate": evaluate}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      args: without the program's name; default: those of the process.

    Returns:
      The exit code: 0 all normal or done, 1 error, 3 anomalies found, 130 interrupted. A wrong command line leaves with
      2 by `SystemExit`, as `--help` does with 0.
    """
    args = list(sys.argv[1:] if args is None else args)
    how: dict[str, Any] = {"config": (tyro.conf.OmitArgPrefixes,)}
    keep_compiled()
    with _logged(), _large_images():
        try:
            if args and args[0] in COMMANDS:
                name = args[0]
                return tyro.cli(COMMANDS[name], prog=f"jaxunreg {name}", description=_HELP[name], args=args[1:], **how)
            return tyro.extras.subcommand_cli_from_dict(
                dict(COMMANDS), prog="jaxunreg", description=_DESCRIPTION, args=args, **how
            )
        except (CommandError, ju.CheckpointError, ju.NonFiniteLossError, ValueError, OSError, MemoryError) as error:
            if isinstance(error, BrokenPipeError):
                # The reader of the rows has had enough; Python would complain of it once more when it ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return ERROR
            _say_error(str(error) or type(error).__name__)
            return ERROR
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            _say_error(
                f"the device has too little memory: {str(error).splitlines()[0]}; free some, or fit with a smaller "
                "batch_size, base_channels or patch"
            )
            return ERROR
        except KeyboardInterrupt:
            resume = "; start the same command again to go on from the last checkpoint" if args[:1] == ["fit"] else ""
            _say(f"stopped{resume}")
            return INTERRUPTED


def _say(text: str, *, markup: bool = False) -> None:
    """One line on stderr."""
    Console(stderr=True, emoji=False).print(printable(text), soft_wrap=True, highlight=False, markup=markup)


def _say_error(message: str) -> None:
    _say(f"[bold red]error:[/] {escape(_as_options(message))}", markup=True)


_MOST_PIXELS = 2**29


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _say(("skipped: " if record.levelno >= logging.WARNING else "") + record.getMessage())


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """What the data sets log goes to stderr: gray or RGB, and every file that is skipped; and so do warnings."""
    logger, handler = logging.getLogger("jaxunreg.datasets"), _ToStderr()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
            yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


@contextlib.contextmanager
def _large_images() -> Iterator[None]:
    """Pillow's limit is for what strangers upload; a line scan may have more pixels."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


# The names of Python's arguments in an error, in which a command line has options.
_NAMES = sorted(
    {
        *(field.name for config in (DetectorConfig, ju.TrainConfig) for field in dataclasses.fields(config)),
        *("on_error", "color", "test_fraction", "heat_map_stride", "bootstrap"),
    },
    key=len,
    reverse=True,
)

_ASSIGNED = re.compile(rf"\b({'|'.join(_NAMES)})(?:=| is )(['\"]?)([\w.+-]+)\2")

_NAMED = re.compile(rf"(?<![\w-])({'|'.join(name for name in _NAMES if '_' in name)})\b")

_PREFIXED = re.compile(rf"\b(?:model\.config|train)\.({'|'.join(_NAMES)})\b")


def _as_options(message: str) -> str:
    """An error in one line, and in terms of the command line.

    >>> _as_options("got stride=0; expected 1 to 96; or raise the false_positive_rate")
    'got --stride 0; expected 1 to 96; or raise the --false-positive-rate'
    >>> _as_options("train.learning_rate was 3e-05, is now 0.001; model.config.depth was 5, is now 4")
    '--learning-rate was 3e-05, is now 0.001; --depth was 5, is now 4'
    """

    def option(name: str) -> str:
        return "--" + name.replace("_", "-")

    message = " ".join(message.split())
    message = _PREFIXED.sub(lambda match: option(match[1]), message)
    message = _ASSIGNED.sub(lambda match: f"{option(match[1])} {match[3]}", message)
    return _NAMED.sub(lambda match: option(match[1]), message)


def _show_images(what: str, data: FolderDataset, images: ImageFiles) -> None:
    kinds = ", ".join(f"{images.labels.count(label)} {label}" for label in sorted(set(images.labels)))
    low, high = images.sizes.min(axis=0), images.sizes.max(axis=0)
    _say(f"{what} {len(images)} images ({kinds}) of {low[0]}x{low[1]} to {high[0]}x{high[1]} pixels")
    if data.skipped:
        _say(f"{len(data.skipped)} files or folders were skipped, see above")


def _load(model: Path, false_positive_rate: float | None, top_k: int | None) -> AnomalyDetector:
    changes = {"false_positive_rate": false_positive_rate, "top_k": top_k}
    detector = AnomalyDetector.load(model)
    return dataclasses.replace(detector, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]


def _color(detector: AnomalyDetector) -> Color:
    return "gray" if detector.channels == 1 else "rgb"


_MOST_SHOWN = 10


def _unseen(detector: AnomalyDetector, data: FolderDataset) -> tuple[ImageFiles, list[Skipped], str]:
    """The images to evaluate on, those that are left out, and how they were chosen, in a sentence."""
    which = f"the test split of {data.name} is used: {data.split}"
    images = data.test if data.layout == "mvtec" else data.train.joined(data.test)
    seen = detector.has_seen(images)
    if data.layout != "mvtec":
        # A folder that the model was made of has this split; another may have some of its images.
        if seen[: len(data.train)].all():
            images, seen = data.test, seen[len(data.train) :]
        elif seen.any():
            which = f"all images of {data.name} are used, but for {seen.sum()} that the model was made of"
        else:
            which = f"all images of {data.name} are used, since the model was made of none of them"
    if not len(images):
        raise CommandError(
            f"got {data.directory}, layout {data.layout}, which has no test images; expected normal images and "
            "defects, in `test/good` and `test/DEFECT`, or in `good` and a folder for each kind of defect"
        )
    if seen.all():
        raise CommandError(
            f"got {data.directory}, whose {len(images)} images the model was all made of; expected others; fit without "
            "them, or evaluate on another folder"
        )
    skipped = [
        Skipped(file.path, "is an image that the model was trained or calibrated on")
        for file, is_seen in zip(images.files, seen, strict=True)
        if is_seen
    ]
    for entry in skipped[:_MOST_SHOWN]:
        _say(f"skipped: {entry.path}: {entry.reason}")
    if len(skipped) > _MOST_SHOWN:
        _say(f"skipped: {len(skipped) - _MOST_SHOWN} more images that the model was trained or calibrated on")
    return images.select(~seen), skipped, which


def _check_outside(option: str, folder: Path, targets: Sequence[Path]) -> None:
    for target in targets:
        if target.is_dir() and folder.resolve().is_relative_to(target.resolve()):
            raise CommandError(
                f"got {option} {folder}, which lies in {target}, whose images are scored; expected a folder outside "
                "of it, or its pictures would be scored as images the next time"
            )


def _check_apart(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse heat maps that would lie beside an image, as those of single files may."""
    beside = {path.parent.resolve() for path in paths}
    for target in _heat_map_files(paths, folder):
        if target.parent.resolve() in beside:
            raise CommandError(
                f"got --heat-maps {folder}, where {target} would lie among the images that are scored; expected "
                "another folder, or it would be scored as an image the next time"
            )


# Bytes, of most file systems.
_LONGEST_NAME = 255

_COLUMNS = ("path", "score", "p_value", "threshold", "verdict", "top", "left", "height", "width", "heat_map", "reason")


@contextlib.contextmanager
def _rows(output: str, format: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that writes a row at once to stdout, or to a file that appears when all rows are in it.

    The rows before a stop or an error are kept beside it, under a name that says that they are not all.
    """
    written = 0

    def writer(file: Any) -> Callable[[Mapping[str, Any]], None]:
        table = csv.DictWriter(file, _COLUMNS, restval="", lineterminator="\n")
        if format == "csv":
            table.writeheader()

        def write(row: Mapping[str, Any]) -> None:
            nonlocal written
            row = {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}
            if format == "csv":
                table.writerow(row)
            else:
                file.write(json.dumps({name: row.get(name) for name in _COLUMNS}, ensure_ascii=False) + "\n")
            file.flush()
            written += 1

        return write

    if output == "-":
        yield writer(sys.stdout)
        return
    path = Path(output)
    if _is_special(path):
        with path.open("w", encoding="utf-8", newline="") as file:
            yield writer(file)
        return
    # A link stays one.
    with replacing(path.resolve()) as temporary:
        try:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                yield writer(file)
        except BaseException as error:
            if written:
                part = path.resolve().with_name(f"{path.name}.part")
                os.replace(temporary, part)
                _say(f"rows that were there before: {written}, in {part}")
            if isinstance(error, OSError) and error.filename is None:
                raise cannot_write(f"--output {output}", error) from error
            raise


def _is_special(path: Path) -> bool:
    """Whether a path is a pipe, a device or the like, which is written into and not replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _check_file(output: str) -> None:
    """Refuse a place where no file can be written, before anything is scored."""
    path = Path(output)
    if output == "-" or _is_special(path):
        return
    if not output or path.is_dir():
        raise CommandError(f"got --output {output!r}, which is no name of a file; expected one, e.g. scores.csv, or -")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise CommandError(f"got --output {output}, but there is no folder {folder}; make it, or choose another file")
    if not os.access(folder, os.W_OK):
        raise CommandError(
            f"got --output {output}, but the folder {folder} cannot be written; expected one that can; choose another"
        )


def _verdicts(
    detector: AnomalyDetector, images: ImageFiles, heat_maps: Path | None, stride: int | None
) -> Iterator[tuple[Path, ImageVerdict, Path | None]]:
    paths = [file.path for file in images.files]
    verdicts = detector.scores(images)
    if heat_maps is None:
        yield from ((path, verdict, None) for path, verdict in zip(paths, verdicts, strict=True))
        return
    targets = _heat_map_files(paths, heat_maps)
    from jaxunreg.plots.style import save_figure  # matplotlib is slow to import
    from jaxunreg.plots.verdicts import verdict_overlay

    heats = detector.heat_maps(images, stride=stride, smooth=True)
    for k, (path, verdict, heat, target) in enumerate(zip(paths, verdicts, heats, targets, strict=True)):
        target.parent.mkdir(parents=True, exist_ok=True)
        title = target.relative_to(heat_maps).with_suffix("").as_posix()
        figure = verdict_overlay(detector, images[k], heat, verdict, title=title)
        try:
            save_figure(figure, target)
        except OSError as error:
            raise cannot_write(f"--heat-maps {target}", error) from error
        yield path, verdict, target


def _heat_map_files(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Where the heat map of each image goes: all in one tree, so that images of one name in two folders do not meet."""
    resolved = [path.parent.resolve() / path.name for path in paths]
    root = Path(os.path.commonpath([path.parent for path in resolved]))
    return [folder / path.relative_to(root).with_name(_heat_map_name(path.name)) for path in resolved]


def _heat_map_name(name: str) -> str:
    """Of an image's heat map: with the image's own suffix, since a.png and a.jpg may lie side by side.

    >>> _heat_map_name("a.jpg"), len(_heat_map_name(251 * "a" + ".jpg"))
    ('a.jpg.png', 213)
    """
    if len(f"{name}.png".encode()) <= _LONGEST_NAME:
        return f"{name}.png"
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[:200].decode(errors='ignore')}-{digest}.png"


def _make_folder(option: str, folder: Path) -> None:
    """Make a folder for results, or see that it can be written, before the work that they take."""
    reason: object = "permission denied"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise cannot_write(f"{option} {folder}", reason)


def _check_output(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())) and not (output / "evaluation.json").exists():
        raise CommandError(
            f"got --output {output}, which is already used for something else; expected a new or empty folder, or one "
            "with an earlier evaluation"
        )
