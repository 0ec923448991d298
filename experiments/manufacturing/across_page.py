"""The page over several data sets, from its `results.json` and the figures of each data set."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from jaxunreg import plots
from jaxunreg.reports.figures import Figures, Section
from jaxunreg.reports.page import write_page

from .across import MERITS, Values, mean_over_sets
from .across_tables import blocks, calibrated_rate
from .config import FeatureModel
from .figures import FIG_11
from .models import HIGHEST, MODELS, letter, named
from .tables import HOW_COSTS_ARE_MEASURED, RULES

_OURS = named("features", "m")

# The others in the table are so far away that a figure with them would not separate these.
_COMPARED = (
    named("features", "nelbo"),
    _OURS,
    *(named(model, MODELS[model].headline) for model in get_args(FeatureModel) if model != "features"),
)

_DRAWN = {
    "auc": "How well the scores of images rank defects above normal parts; right is better.",
    "missed": "The share of the defects at or below the threshold. It was set on normal parts that no model learned "
    "from; left is better.",
    "aupro": "How well the heat maps overlap with the masks, each defect with the same weight; right is better.",
}


def write(path: Path, results: Mapping[str, Any], command: str, *, record: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
      path: the file, beside the folders of the data sets.
      results: the content of `results.json`.
      command: the command that made the run.
      record: the content of `config.json`.
    """
    splits = results["splits"]
    first = next(iter(splits.values()))
    tables = blocks(results)
    by_two = any(label.endswith(letter(HIGHEST)) for label in results["merits"]["auc"])
    turns = first["protocol"] if first["trials"] > 1 else first["protocol"].removesuffix("s")
    note = f"Mean over {first['trials']} {turns}" + (
        f", of the models of pixels over {first['pixel_trials']}. " if first["pixel_trials"] < first["trials"] else ". "
    )
    tables[0] = dataclasses.replace(tables[0], note=f"{note}{RULES}" if by_two else note)
    tables[-1] = dataclasses.replace(tables[-1], note=HOW_COSTS_ARE_MEASURED)
    write_page(
        path,
        title="Manufacturing study: parts of several kinds",
        subtitle=f"{', '.join(results['data'])}; preset {results['preset']}, seed {results['seed']}",
        command=command,
        warning=_lowered(results) or None,
        summary=_summary(results),
        tables=tables,
        sections=[*_drawn(path.parent, results), *_heat_maps(path.parent, results)],
        details={
            **{
                name: f"{split['train']} normal images to learn from, {split['calibration']} to calibrate with, "
                f"{split['test']} to test on, {split['test_anomalous']} of them anomalous; its own page is "
                f"{name}/index.html"
                for name, split in splits.items()
            },
            "device": results["device"],
            "versions": ", ".join(f"{package} {number}" for package, number in results["versions"].items()),
        },
        config=record["config"],
    )


def _lowered(results: Mapping[str, Any]) -> str:
    """Say for which data sets too few images are held out for the requested rate."""
    texts = []
    for name, split in results["splits"].items():
        wanted, rate = split["false_positive_rate_wanted"], calibrated_rate(split)
        if rate > wanted:
            texts.append(
                f"The {split['calibration']} held-out parts of {name} cannot support a false-positive rate of "
                f"{100 * wanted:g} %, so its thresholds are set for {100 * rate:.3g} %, the lowest that they support."
            )
    return " ".join(texts)


def _summary(results: Mapping[str, Any]) -> str:
    """Return the result in words."""
    auc: Values = results["merits"]["auc"]
    means = {label: mean for label in auc if (mean := mean_over_sets(auc, label)) is not None}
    text = []
    if _OURS in means:
        text.append(
            f"In the mean over {len(results['data'])} data sets {_OURS} has an image ROC AUC of {means[_OURS]:.3f}."
        )
        missed, reached = (
            mean_over_sets(results["merits"][key], _OURS) or 0.0 for key in ("missed", "false_positive_rate")
        )
        text.append(
            f"Its threshold misses {100 * missed:.1f} % of the defects, and rejects {100 * reached:.1f} % of the "
            "normal images."
        )
    peers = {label: mean for label, mean in means.items() if label.startswith(_peers())}
    if peers:
        best = max(peers, key=lambda label: peers[label])
        text.append(f"The best of PaDiM and PatchCore on the same features is {best}, with {peers[best]:.3f}.")
    others = {label: mean for label, mean in means.items() if not label.startswith((*_peers(), *_ours()))}
    if others:
        best = max(others, key=lambda label: others[label])
        text.append(f"The best model of pixels is {best}, with {others[best]:.3f}.")
    return " ".join(text)


def _peers() -> tuple[str, ...]:
    return (MODELS["padim"].label, MODELS["patchcore_1"].label, MODELS["patchcore_10"].label)


def _ours() -> tuple[str, ...]:
    return (MODELS["features"].label, MODELS["gaussian"].label)


def _drawn(folder: Path, results: Mapping[str, Any]) -> list[Section]:
    figures = Figures(folder / "figures")
    for merit in MERITS:
        values: Values = results["merits"][merit.key]
        shown = [label for label in _COMPARED if label in values] or list(values)
        if merit.key not in _DRAWN or not shown:
            continue
        by_set = {
            name: {label: trials for label in shown if (trials := values[label].get(name))} for name in results["data"]
        }
        title = f"{merit.label}{', models of features' if shown[0] in _COMPARED else ''}"
        figures.add(
            merit.key,
            title,
            plots.dots_by_data_set(
                {name: of_set for name, of_set in by_set.items() if of_set},
                title=title,
                label=merit.label,
                highlighted=(_OURS,),
            ),
            f"A dot for each trial and a line at their mean. {_DRAWN[merit.key]} Each data set has its own range. "
            "Other models are in the table.",
        )
    return figures.sections


def _heat_maps(folder: Path, results: Mapping[str, Any]) -> list[Section]:
    """Return Fig. 11 of each data set that has one."""
    found = [(name, folder / name / "figures" / f"{FIG_11}.png") for name in results["data"]]
    return [
        Section(
            f"Heat maps on {name}",
            path,
            "The image with the median score of those with a mask, and the heat map of each model, on its own "
            "scale: brighter is more anomalous.",
        )
        for name, path in found
        if path.exists()
    ]
