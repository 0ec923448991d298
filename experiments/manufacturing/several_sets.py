"""The study of several data sets: each has a separate folder, and one table and one page cover all."""

import dataclasses
import gc
from pathlib import Path
from typing import Any

import jax

from jaxunreg.reports.text_tables import write_table

from .. import runs
from ..commands import command_line, console
from . import across_page
from .across import across
from .across_tables import whole
from .config import EXPERIMENT, ManufacturingConfig
from .one_set import study_one_set


def study_several_sets(config: ManufacturingConfig, args: list[str]) -> Path:
    """Run the study of one data set after another, or go on with it.

    Args:
      config: a config with two folders of images or more.
      args: the command line.

    Returns:
      The page over all data sets.
    """
    run = runs.open_run(config.directory, config, args, experiment=EXPERIMENT, free=("models", "data"))
    found: dict[str, dict[str, Any]] = {}
    for name, folder in zip(config.data_names, config.data, strict=True):
        alone = dataclasses.replace(config, data=(folder,), name=name)
        _, found[name] = study_one_set(run.directory / name, alone, args)
        console.print(f"{name}: {run.directory / name / 'index.html'}", markup=False)
        # The next data set cannot use images, features and programs of this one.
        jax.clear_caches()
        gc.collect()
    content = {
        "experiment": EXPERIMENT,
        "preset": config.preset,
        "seed": config.seed,
        "command": run.record["command"],
        **across(found),
        "timings": {name: results["timings"] for name, results in found.items()},
        "versions": run.record["versions"],
        "device": run.record["device"],
    }
    run.write_json("results.json", content)
    write_table(run.directory, "table", whole(content))
    path = run.directory / "index.html"
    across_page.write(path, content, command_line(EXPERIMENT, args), record=run.record)
    return path
