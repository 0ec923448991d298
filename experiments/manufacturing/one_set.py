"""The study of one data set, from its images to its page."""

import functools
import time
from pathlib import Path
from typing import Any

from jaxunreg.reports.text_tables import write_table

from .. import runs
from ..commands import command_line
from . import figures, page
from .choosing import choose, headline_candidate
from .config import EXPERIMENT, ManufacturingConfig
from .data import load_data
from .feature_scores import score_with_features
from .models import candidates, check_crops, of_features, of_pixels, pixel_trials
from .pixels import pixel_figures
from .results import summarise
from .scores import score_candidate
from .splits import split_data
from .stored_features import forget_features, size_of, stored_features
from .tables import table_one


def study_one_set(directory: Path, config: ManufacturingConfig, args: list[str]) -> tuple[Path, dict[str, Any]]:
    """Run the study of one data set, or go on with it.

    Args:
      directory: folder for its files.
      config: a config with at most one folder of images.
      args: the command line.

    Returns:
      The page, and the content of `results.json`.
    """
    began = time.perf_counter()
    # Stages are named by their model, so models may be added or left out when the run is started again.
    run = runs.open_run(directory, config, args, experiment=EXPERIMENT, free=("models",))
    with run.removed_if_refused():
        data = load_data(run)
    splits = [split_data(config, data, trial) for trial in range(config.trials)]
    check_crops(config, min(len(split.train) for split in splits) * config.patches_per_image)

    by_features = {
        (model, trial): score_with_features(
            run, split, model, trial, functools.partial(stored_features, run, data, size_of(config, split))
        )
        for trial, split in enumerate(splits)
        for model in of_features(config)
    }
    forget_features(run)
    scores = {candidate: score_candidate(run, splits[candidate.trial], candidate) for candidate in candidates(config)}
    chosen = choose(config, splits, scores)
    best = [
        headline_candidate(chosen, model, trial) for model in of_pixels(config) for trial in range(pixel_trials(config))
    ]
    pixels = {candidate: pixel_figures(run, splits[candidate.trial], candidate) for candidate in best}

    results = summarise(run, splits, by_features, scores, chosen, pixels)
    results["timings"]["this_invocation"] = time.perf_counter() - began
    run.write_json("results.json", results)
    write_table(run.directory, "table1", table_one(results))
    path = run.directory / "index.html"
    sections = figures.draw(run, data.name, splits, figures.Found(by_features, scores, chosen))
    page.write(path, data, results, sections, command_line(EXPERIMENT, args), record=run.record)
    return path, results
