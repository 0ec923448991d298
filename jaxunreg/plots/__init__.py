"""The figures of a study, as `matplotlib.figure.Figure`s; no global state is changed and no window opened."""

from jaxunreg.plots.classes import explained_by_class_bars
from jaxunreg.plots.comparison import heat_map_comparison
from jaxunreg.plots.curves import SweepPanel, auc_sweep, roc_comparison, training_curves
from jaxunreg.plots.decomposition import decomposition_figure
from jaxunreg.plots.heat_maps import heat_map_examples, heat_map_overlay
from jaxunreg.plots.samples import error_maps, sample_grid
from jaxunreg.plots.style import save_figure
from jaxunreg.plots.sweeps import auc_spread, parallel_coordinates
from jaxunreg.plots.verdicts import score_strips, verdict_overlay

__all__ = [
    "SweepPanel",
    "auc_spread",
    "auc_sweep",
    "decomposition_figure",
    "error_maps",
    "explained_by_class_bars",
    "heat_map_comparison",
    "heat_map_examples",
    "heat_map_overlay",
    "parallel_coordinates",
    "roc_comparison",
    "sample_grid",
    "save_figure",
    "score_strips",
    "training_curves",
    "verdict_overlay",
]
