"""Checks that results can be written to the places of the command line, before the work begins."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxunreg.cli.options import CommandError
from jaxunreg.cli.streams import Closed
from jaxunreg.datasets.folders.pixels import SUFFIXES
from jaxunreg.files import remove_leftovers
from jaxunreg.inspection.detector_folder import cannot_write

# The beginnings of a table of rows, as CSV and as JSON lines.
_BEGINNINGS = (b'{"path"', b"path,")


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a device or the like, which is written to instead of replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def check_file(output: str, targets: Sequence[Path] = ()) -> None:
    """Check that a file of rows can be written, and that only earlier rows would be lost.

    Args:
      output: its name, or `-` for stdout.
      targets: the images and folders to score.

    Raises:
      CommandError: it cannot be written there, or the existing file holds something else.
    """
    if output == "-" and isinstance(sys.stdout, Closed):
        raise CommandError("a closed stdout", "one for the rows", "open it, or give --output FILE", field="output")
    path = Path(output)
    if output == "-" or (is_special(path) and not path.is_block_device()):
        return
    if not output or path.is_dir():
        raise CommandError(
            f"--output {output!r}, which is not a file name", "one, e.g. scores.csv, or -", field="output"
        )
    what = _what_would_be_lost(path, targets)
    if what:
        raise CommandError(
            f"--output {output}, {what}",
            "a new file, or one with rows of an earlier run",
            "choose another name; where a shell turned *.png into several names, put it before the options",
            field="output",
        )
    folder = path.resolve().parent
    if not folder.is_dir():
        raise CommandError(
            f"--output {output}, but there is no folder {folder}",
            "an existing folder",
            "make it, or choose another file",
            field="output",
        )
    if not os.access(folder, os.W_OK):
        raise CommandError(
            f"--output {output}, but the folder {folder} cannot be written",
            "one that can",
            "choose another",
            field="output",
        )


def _what_would_be_lost(path: Path, targets: Sequence[Path]) -> str:
    """Return why rows must not replace a file, as the end of a sentence, or nothing."""
    if path.suffix.lower() in SUFFIXES:
        return "which is the name of an image"
    if any(target.exists() and path.exists() and target.samefile(path) for target in targets):
        return "which is among the files to score"
    if path.is_block_device():
        return "which is a disk"
    for there in (path, path.with_name(f"{path.name}.part")):
        if there.is_file():
            with there.open("rb") as file:
                beginning = file.read(len(_BEGINNINGS[0]))
            if beginning and not beginning.startswith(_BEGINNINGS):
                return f"where {there} holds something other than rows"
    return ""


def check_outside(option: str, folder: Path, targets: Sequence[Path]) -> None:
    """Check that a folder of results does not lie in a folder of images.

    Args:
      option: the option that names the folder of results.
      folder: the folder of results.
      targets: images, and folders of images.

    Raises:
      CommandError: the folder lies in one of them.
    """
    for target in targets:
        if target.is_dir() and folder.resolve().is_relative_to(target.resolve()):
            raise CommandError(
                f"{option} {folder}, which lies in {target}, whose images are scored",
                "a folder outside of it, or its pictures would be scored as images the next time",
                field=option,
            )


def check_report(output: Path) -> None:
    """Check that a folder is new or empty, or holds an earlier evaluation.

    Raises:
      CommandError: it holds something else.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())) and not (output / "evaluation.json").exists():
        raise CommandError(
            f"--output {output}, which is already used for something else",
            "a new or empty folder, or one with an earlier evaluation",
            field="output",
        )


def make_folder(option: str, folder: Path) -> None:
    """Make a folder for results, and check that files can be written into it.

    Raises:
      CheckpointError: they cannot be written.
    """
    reason: object = "permission denied"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise cannot_write(f"{option} {folder}", reason)
    remove_leftovers(folder)
