"""The manufacturing study of section V: Table I, Fig. 10 and Fig. 11 on any folder of images.

    python -m experiments.manufacturing --preset quick                 # generated parts, minutes on two cores
    python -m experiments.manufacturing --preset quick --data DIR      # your images
    python -m experiments.manufacturing --preset paper --data DIR      # the full grids

DIR is an MVTec-style tree, a folder of normal and one of abnormal images, or the magnetic tiles; without it, parts with
cracks and blowholes are generated. Models are trained on random crops of the normal training images; a test image has
the score of its most anomalous patch. Every field of `ManufacturingConfig` is an option (`--help`). A run writes
`runs/manufacturing/<name>/` (configuration, scores, results, Table I as CSV, Markdown and LaTeX, figures, `index.html`)
and goes on where it stopped when it is started again under the same name.
"""

import sys
import time
from pathlib import Path

from experiments import runs
from experiments.commands import command_line, console, parse
from experiments.manufacturing import figures, page
from experiments.manufacturing.choosing import choose, headline_candidate
from experiments.manufacturing.config import EXPERIMENT, PRESETS
from experiments.manufacturing.data import load_data
from experiments.manufacturing.models import candidates, check_crops
from experiments.manufacturing.pixels import pixel_figures
from experiments.manufacturing.results import summarise
from experiments.manufacturing.scores import score_candidate
from experiments.manufacturing.splits import split_data
from experiments.manufacturing.tables import table_one
from jaxunreg.reports.text_tables import write_table


def main(args: list[str] | None = None) -> Path:
    """Run the study; returns the path of the page."""
    args = sys.argv[1:] if args is None else args
    config = parse(PRESETS, args, experiment=EXPERIMENT, description=__doc__)
    began = time.perf_counter()
    # Stages are named by their model, so models may be added and left out when the run is started again.
    run = runs.open_run(config.directory, config, args, experiment=EXPERIMENT, free=("models",))
    with run.removed_if_refused():
        data = load_data(run)
    splits = [split_data(config, data, trial) for trial in range(config.trials)]
    check_crops(config, min(len(split.train) for split in splits) * config.patches_per_image)

    scores = {candidate: score_candidate(run, splits[candidate.trial], candidate) for candidate in candidates(config)}
    chosen = choose(config, splits, scores)
    best = [headline_candidate(chosen, model, trial) for model in config.models for trial in range(config.trials)]
    pixels = {candidate: pixel_figures(run, splits[candidate.trial], candidate) for candidate in best}

    results = summarise(run, splits, scores, chosen, pixels)
    results["timings"]["this_invocation"] = time.perf_counter() - began
    run.write_json("results.json", results)
    write_table(run.directory, "table1", table_one(results))
    path = run.directory / "index.html"
    sections = figures.draw(run, data.name, splits, scores, chosen)
    page.write(path, data, results, sections, command_line(EXPERIMENT, args), record=run.record)
    console.print(f"results: {run.directory / 'results.json'}", markup=False)
    print(path)
    return path
