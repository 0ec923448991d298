"""The figures of the paper's toy study, and those that show the training."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxunreg import plots
from jaxunreg.decomposition import TERMS
from jaxunreg.metrics.interval import Interval
from jaxunreg.reports.figures import Figures, Section

from ..toy_data import Data
from ..toy_scores import Scores
from .config import LABELS, SHOWN, ToyRun


def draw(
    run: ToyRun,
    data: Data,
    models: Mapping[str, Scores],
    vae: Mapping[str, np.ndarray],
    gmm: Mapping[str, np.ndarray] | None,
    results: Mapping[str, Any],
) -> list[Section]:
    """Draw all figures of the page.

    Args:
      run: the run's folder.
      data: the digits.
      models: the scores of each model of the table.
      vae: the VAE's results for the first test digits; see `train_vae`.
      gmm: the mixture's results for them; see `fit_mixture`. None leaves out its figures.
      results: the content of `results.json`.
    """
    config, name = run.config, data.dataset.name
    boxes = data.anomalous.boxes[:SHOWN]
    grid: dict[str, Any] = {"rows": 4, "columns": 8, "boxes": boxes, "box_size": config.erase.size}
    figures = Figures(run.directory / "figures")

    curves = {
        "VAE, M": ("vae", "m"),
        "VAE, L": ("vae", "nelbo"),
        "GMM, M": ("gmm", "m"),
        "AE": ("ae", "nelbo"),
        LABELS["pca"]: ("pca", "score"),
        "Isolation Forest": ("isolation_forest", "score"),
    }
    models_shown = {label: models[model][key] for label, (model, key) in curves.items() if model in models}
    figures.add(
        "roc_all_models",
        "ROC curves of all models",
        plots.roc_comparison(models_shown, title=f"All models on {name}"),
        "The higher a curve, the more anomalies are found (true positive rate) for the same share of good digits "
        "rejected (false positive rate). The dashed diagonal is guessing.",
    )
    figures.add(
        "fig3_samples",
        "Samples (Fig. 3)",
        plots.sample_grid(data.normal[:SHOWN], data.anomalous.images[:SHOWN], title=f"Test samples of {name}", **grid),
        "The same test digits, unchanged on the left and with an erased gray square on the right, outlined here.",
    )
    for file, model, title in (("fig5_vae", "vae", "VAE (Fig. 5)"), ("fig6_gmm", "gmm", "GMM (Fig. 6)")):
        if model not in models:
            continue
        figures.add(
            file,
            f"Scores of the {title}",
            plots.decomposition_figure(models[model], data.labels, title=f"{title.split()[0]} on {name}"),
            "ROC curves, and each score by digit, minus its median over the normal samples. A good score lifts the red "
            "boxes (anomalous) over the blue ones (normal) and gives all digits the same blue box: where the blue "
            "boxes go up and down with the digit, the score measures complexity. "
            "The paper finds that A does and M does not.",
        )
    figures.add(
        "fig7_vae_reconstructions",
        "Reconstructions by the VAE (Fig. 7)",
        plots.sample_grid(
            vae["mean_normal"],
            vae["mean_anomalous"],
            title=f"Reconstructions (mean) by the VAE, {name}",
            **grid,
        ),
        "The mean of the likelihood for the samples of Fig. 3. The more of a digit comes back and the less of its "
        "square, the better.",
    )
    if gmm is not None:
        figures.add(
            "fig8_gmm_reconstructions",
            "Reconstructions by the GMM (Fig. 8)",
            plots.sample_grid(
                gmm["mean_normal"],
                gmm["mean_anomalous"],
                title=f"Reconstructions (mean) by the GMM, {name}",
                **grid,
            ),
            "The mean of the most likely component of each sample of Fig. 3. There are only as many different "
            "images as components.",
        )
    figures.add(
        "error_maps",
        "Where the VAE's terms come from",
        plots.error_maps(
            data.anomalous.images[:6],
            vae["mean_anomalous"][:6],
            vae["log_var_anomalous"][:6],
            title=f"Error, sigma, A and M by pixel, {name}",
            boxes=data.anomalous.boxes[:6],
            box_size=config.erase.size,
        ),
        "The error is large at every edge, and so is the sigma that the model expects there. M divides the error by "
        "the sigma, so the edges fade and the square (outlined) stands out.",
    )
    panels = []
    for key, title, label in (
        (
            "auc_by_latent_dim",
            f"VAE, {config.latent_dims_steps:,} steps each",
            "dimension number $N_z$ of the latent space",
        ),
        ("auc_by_components", "GMM", "number $N_z$ of hidden classes"),
    ):
        sizes = sorted(results[key], key=int)
        if sizes:
            auc: dict[str, list[Interval]] = {s: [Interval(**results[key][size][s]) for size in sizes] for s in TERMS}
            panels.append(plots.SweepPanel(title, label, [int(size) for size in sizes], auc))
    if panels:
        figures.add(
            "fig9_auc_by_size",
            "AUC against the size of the model (Fig. 9)",
            plots.auc_sweep(panels, title=f"ROC AUC against model size, {name}"),
            "Above, VAEs over the latent size; below, mixtures over the number of components. Bars are 95 % bootstrap "
            f"intervals. The VAEs here are trained for {config.latent_dims_steps:,} steps each, the one in the table "
            f"for {config.vae_train.steps:,}.",
        )
    figures.add(
        "l_beside_m",
        "L beside M",
        l_beside_m(results, title=f"L and M of the VAE, {name}"),
        "The ROC AUC of L and M against the updates, on held-out training digits, and against the latent size, on test "
        "digits.",
    )
    figures.add(
        "explained_by_class",
        "What the digit explains",
        plots.explained_by_class_bars(
            {LABELS[model]: values for model, values in results["explained_by_class"].items()},
            title=f"Normal test samples of {name}",
        ),
        "The share of the variance of the normal samples' score that lies between digits. A score that does not follow "
        "the complexity of a digit has a short bar.",
    )
    for model in [name for name in ("vae", "ae") if name in models]:
        figures.add(
            f"training_{model}",
            f"Training of the {LABELS[model]}",
            plots.training_curves(run.training_records(model), title=f"{LABELS[model]} on {name}"),
            "The objective and its terms, as means per image, on training batches (with a sampled latent) and on "
            f"{config.validation_size:,} held-out training digits (at the posterior mean), and the ROC AUC "
            "on these digits with and without a square.",
        )
    return figures.sections


def l_beside_m(results: Mapping[str, Any], *, title: str) -> Figure:
    """Draw the ROC AUC of L and of M against the updates and, if there is a sweep, against the latent size.

    Args:
      results: the content of `results.json`.
      title: title of the figure.
    """
    shown = ("nelbo", "m")
    by_step, by_size = results["auc_by_step"], results["auc_by_latent_dim"]
    # About twice as many updates from one point to the next, because the axis is logarithmic.
    steps = _doubled(map(int, by_step))
    points = {key: [Interval(*[by_step[str(step)][key]] * 3) for step in steps] for key in shown}
    panels = [plots.SweepPanel("Training, held-out digits", "updates", steps, points)]
    sizes = sorted(map(int, by_size))
    if sizes:
        auc = {key: [Interval(**by_size[str(size)][key]) for size in sizes] for key in shown}
        label = "dimension number $N_z$ of the latent space"
        panels.append(plots.SweepPanel("Latent size, test digits", label, sizes, auc))
    return plots.auc_sweep(panels, title=title)


def _doubled(steps: Iterable[int]) -> list[int]:
    """Return the first step, each that is at least twice the one before, and the last.

    >>> _doubled([80, 160, 240, 320, 400])
    [80, 160, 320, 400]
    """
    kept: list[int] = []
    ordered = sorted(steps)
    for step in ordered:
        if not kept or step >= 2 * kept[-1]:
            kept.append(step)
    return sorted({*kept, *ordered[-1:]})
