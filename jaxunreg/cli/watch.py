"""`jaxunreg watch`: each image that arrives in a folder is scored once."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro

from jaxunreg.cli.console import say
from jaxunreg.cli.detectors import load_detector
from jaxunreg.cli.exit_codes import ANOMALIES, EXIT_CODES, SUCCESS
from jaxunreg.cli.options import CommandError, Directory
from jaxunreg.cli.places import check_outside, make_folder
from jaxunreg.cli.stopping import stopping
from jaxunreg.datasets.file_errors import NotAFolderError
from jaxunreg.errors import argument
from jaxunreg.files import held
from jaxunreg.serving.calling import Caller
from jaxunreg.serving.journal import CSV, JSON_LINES, STATE, Journal
from jaxunreg.serving.sorting import Sorting
from jaxunreg.serving.watching import FolderWatch

HELP = (
    f"""\
Score each image that arrives in a folder, once, and go on after a stop.

  jaxunreg watch incoming --model model --output log
  jaxunreg watch incoming --model model --output log --move sorted --on-anomaly ./stop-the-line
  jaxunreg watch incoming --model model --output log --on-anomaly http://127.0.0.1:9000/anomaly --once

The folder of --output gets {JSON_LINES}, {CSV} and {STATE}. Each row is on the disk as soon as it is known. The state
identifies each image by its path and its bytes. It is scored once, even over restarts and crashes, and again if its
bytes change.

An image is read when neither its size nor its time has changed for --settle seconds. If it cannot be decoded, it may be
incomplete, and is tried again until it has not changed for --patience seconds. Then it is skipped, and its row has the
reason.

--move puts each image into a folder of DIR with the name of its verdict (normal, anomalous or skipped; pass, review or
reject with a review band), and --link puts a symbolic link there. Nothing there is replaced. --on-anomaly runs a
command, without a shell, with the path of the image as its last word and its row as JSON on its standard input, or
sends the row to a URL by POST. It is also called once when the line has drifted, with the event "drift" instead of the
event "anomaly". After a crash a call may come twice. The number of the row identifies it.

Ctrl-C and SIGTERM stop it when the current images are scored.
"""
    + "\n"
    + EXIT_CODES.format(
        success="stopped, or with --once: all images of this run are normal",
        anomalies="  3    with --once: at least one image is anomalous\n",
        interrupted=" before it watched",
    )
)


def watch(
    folder: tyro.conf.Positional[Directory],
    *,
    model: Directory,
    output: Directory,
    move: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    link: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    on_anomaly: Annotated[str | None, tyro.conf.arg(metavar="COMMAND-OR-URL")] = None,
    regions: bool = False,
    once: bool = False,
    interval: float = 0.5,
    settle: float = 1.0,
    patience: float = 30.0,
    false_positive_rate: float | None = None,
    reject: float | None = None,
    review: float | None = None,
    top_k: int | None = None,
) -> int:
    """Score each image that arrives in a folder, once.

    Args:
      folder: folder where images arrive, also in folders below it.
      model: folder that `jaxunreg fit` wrote.
      output: folder for the rows and the state, only for this watch.
      move: folder to which images are moved, by verdict.
      link: folder that gets a symbolic link to each image, by verdict.
      on_anomaly: a command or a URL to call for each anomaly.
      regions: list in the JSON lines the regions of each heat map above the level of normal images.
      once: end when all present images are scored.
      interval: seconds from one look to the next.
      settle: seconds without a change before a file is read.
      patience: seconds in which an unusable file may still become whole.
      false_positive_rate: share of normal images that may be called anomalous; default: as fitted.
      reject: another name for --false-positive-rate.
      review: share of normal images that may be reviewed or rejected. Verdicts are then pass, review and reject.
      top_k: the score is the mean of this many most anomalous places or patches; default: as fitted.
    """
    for name, seconds in (("interval", interval), ("settle", settle), ("patience", patience)):
        if not 0.0 <= seconds <= 86_400.0:
            raise CommandError(argument(name, seconds), "0 to 86400 seconds", "give a number of seconds", field=name)
    if move is not None and link is not None:
        raise CommandError("--move and --link", "one of them", "choose one", field="move")
    if not folder.is_dir():
        raise NotAFolderError(folder, "is not a folder", "one where images arrive", "make it, or check the path")
    caller = None if on_anomaly is None else Caller(on_anomaly)
    for option, place in (("--output", output), ("--move", move), ("--link", link)):
        if place is not None:
            check_outside(option, place, [folder])
            make_folder(option, place)
    detector = load_detector(model, false_positive_rate, top_k, reject=reject, review=review)
    # Absolute paths, so that rows can be read anywhere, and different spellings of a folder are the same folder.
    folder = folder.resolve()
    target = move or link
    sorting = None if target is None else Sorting(folder, target.resolve(), "link" if move is None else "move")
    with _holding(output), Journal(output) as journal, stopping() as stop:
        watching = FolderWatch(
            detector,
            folder,
            journal,
            settle=settle,
            patience=patience,
            sorting=sorting,
            caller=caller,
            regions=regions,
            say=say,
        )
        say(f"watching {folder}: {detector.summary()}")
        watching.run(stop, interval=interval, once=once)
    counts, pace = watching.counts, watching.pace.timings
    took = f"; a part took {pace.summary()}" if pace.count else ""
    say(f"{watching.anomalies} of {sum(counts.values())} images are anomalous, {counts['skipped']} skipped{took}")
    say(watching.drift().sentence)
    return ANOMALIES if once and watching.anomalies else SUCCESS


@contextlib.contextmanager
def _holding(output: Path) -> Iterator[None]:
    try:
        with held(output):
            yield
    except BlockingIOError as error:
        raise CommandError(
            f"--output {output}, which another watch uses right now",
            "a separate folder for each watch",
            "stop the other one, or choose another folder",
            field="output",
        ) from error
