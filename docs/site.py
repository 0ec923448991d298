"""Pages of the site from outside of `docs/`: the results with their figures, the changes, and the commands' help."""

import contextlib
import io
import os
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from jaxunreg.cli.main import main
from jaxunreg.cli.parsing import COMMANDS

ROOT = Path(__file__).parents[1]
_HOW_TO = "How-to"


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """List all how-to pages by their names; mkdocs calls this by its name."""
    pages = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / "how-to").glob("*.md"))
    for entry in config.nav or ():
        if _HOW_TO in entry:
            entry[_HOW_TO] = pages
    return config


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages from outside of `docs/`; mkdocs calls this by its name."""
    shown = [ROOT / "CHANGELOG.md", ROOT / "results" / "README.md", *sorted((ROOT / "results").glob("*.png"))]
    for path in shown:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    files.append(File.generated(config, "reference/command-line.md", content=_commands()))
    return files


def _commands() -> str:
    os.environ.update(COLUMNS="100", NO_COLOR="1")
    pages = ["# Command line\n"]
    for name in ("", *COMMANDS):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            main([*name.split(), "--help"])
        pages.append(f"## {f'jaxunreg {name}'.strip()}\n\n```text\n{shown.getvalue()}\n```\n")
    return "\n".join(pages)
