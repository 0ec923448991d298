"""`jaxunreg demo`: the other commands, one after another, on generated parts."""

import shlex
from collections.abc import Callable
from pathlib import Path

from jaxunreg.cli.console import say
from jaxunreg.cli.evaluate import evaluate
from jaxunreg.cli.exit_codes import ANOMALIES, EXIT_CODES, SUCCESS
from jaxunreg.cli.fit import fit
from jaxunreg.cli.options import CommandError, Directory
from jaxunreg.cli.score import score
from jaxunreg.datasets.file_errors import OccupiedFolderError
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.inspection.config import DetectorConfig

HELP = (
    """\
See the other commands work, on generated parts with cracks and blowholes.

  jaxunreg demo
  jaxunreg demo --output elsewhere --parts 200

It generates parts with a thread, learns from good ones, scores new ones with heat maps, and evaluates the scores. Each
command is printed before it runs, so that you can run it on your own images. It takes about a minute on two cores and
needs no network. The path of the page is printed on stdout.

Start it again with the same output to go on after an interruption. Finished steps are not repeated.
"""
    + "\n"
    + EXIT_CODES.format(success="the page is ready", anomalies="", interrupted="; start it again to go on")
)

# A crack in a part of 256x256 pixels is a few pixels wide.
_RESOLUTION = 384


def demo(
    *,
    output: Directory = Path("jaxunreg-demo"),
    parts: int = 100,
    seed: int = 0,
) -> int:
    """See the other commands work, on generated parts.

    Args:
      output: folder for the parts, the model, the heat maps and the page.
      parts: number of good parts to learn from. A fifth as many of each kind are scored.
      seed: seed of the parts, and of the choice of those that are held out.
    """
    if parts < 1:
        raise CommandError(f"--parts {parts}", "at least 1", "a threshold needs about 80 of them", field="parts")
    images, model = output / "parts", output / "model"
    maps, rows, page = output / "heat_maps", output / "verdicts.csv", output / "report"
    if images.exists():
        there = len(list((images / "train" / "good").glob("*.png")))
        if there != parts:
            raise CommandError(
                f"--parts {parts} with {there} parts in {images}",
                "as many as before, or a new --output",
                field="parts",
            )
        say(f"the parts are in {images} already")
    else:
        say(f"generating {parts} good parts to learn from, and others to score")
        try:
            write_parts(images, train=parts, test=max(1, parts // 5), seed=seed)
        except OccupiedFolderError as error:
            raise CommandError(f"--output {output}, which is already used", "a new folder", field="output") from error
    config = DetectorConfig(resolution=_RESOLUTION, seed=seed)
    options = f"--resolution {_RESOLUTION}" + (f" --seed {seed}" if seed else "")
    _step(
        f"fit {_quoted(images)} --output {_quoted(model)} {options}", lambda: fit(images, output=model, detector=config)
    )
    new = images / "test"
    _step(
        f"score {_quoted(new)} --model {_quoted(model)} --output {_quoted(rows)} --heat-maps {_quoted(maps)}",
        lambda: score((new,), model=model, output=str(rows), heat_maps=maps),
    )
    _step(
        f"evaluate {_quoted(images)} --model {_quoted(model)} --output {_quoted(page)}",
        lambda: evaluate(images, model=model, output=page),
    )
    say(f"look at the heat maps in {maps}, and open {page / 'index.html'} in a browser")
    return SUCCESS


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _step(words: str, command: Callable[[], int]) -> None:
    say(f"$ jaxunreg {words}")
    code = command()
    assert code in (SUCCESS, ANOMALIES), code
