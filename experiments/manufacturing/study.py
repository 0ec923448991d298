"""The manufacturing study of section V: Table I, Fig. 10 and Fig. 11 on any folder of images, or on several.

    python -m experiments.manufacturing --preset quick                     # generated parts, minutes on two cores
    python -m experiments.manufacturing --preset quick --data DIR          # your images
    python -m experiments.manufacturing --preset quick --data DIR1 DIR2    # several data sets, one table and one page
    python -m experiments.manufacturing --preset paper --data DIR          # the full grids

DIR is an MVTec-style tree, a folder of normal and one of abnormal images, or the magnetic tiles. Without it, parts with
cracks and blowholes are generated. Models of features learn from a pretrained network's features of the normal training
images. Models of pixels learn from random crops of these images, and a test image has the score of its most anomalous
patch. Some normal training images are held out to set the threshold. Every field of `ManufacturingConfig` is an option
(`--help`). A run writes `runs/manufacturing/<name>/` (configuration, scores, results, Table I as CSV, Markdown and
LaTeX, figures, `index.html`), with several data sets a folder for each in it, and goes on where it stopped when it is
started again under the same name.
"""

import sys
from pathlib import Path

from ..commands import console, parse
from .config import EXPERIMENT, PRESETS
from .data import check_folders
from .one_set import study_one_set
from .several_sets import study_several_sets


def main(args: list[str] | None = None) -> Path:
    """Run the study, and return the path of the page."""
    args = sys.argv[1:] if args is None else args
    config = parse(PRESETS, args, experiment=EXPERIMENT, description=__doc__)
    check_folders(config.data)
    if len(config.data) > 1:
        path = study_several_sets(config, args)
    else:
        path, _ = study_one_set(config.directory, config, args)
    console.print(f"results: {path.parent / 'results.json'}", markup=False)
    print(path)
    return path
