"""The figures of a study, as `matplotlib.figure.Figure`s. They change no global state and open no window."""

from jaxunreg.plots.auc_by_size import SweepPanel, auc_spread, auc_sweep
from jaxunreg.plots.by_data_set import dots_by_data_set
from jaxunreg.plots.classes import explained_by_class_bars
from jaxunreg.plots.comparison import heat_map_comparison
from jaxunreg.plots.decomposition import decomposition_figure
from jaxunreg.plots.examples import heat_map_examples
from jaxunreg.plots.overlay import heat_map_overlay
from jaxunreg.plots.reconstructions import error_maps
from jaxunreg.plots.roc import NormalAndAnomalous, roc_comparison
from jaxunreg.plots.samples import sample_grid
from jaxunreg.plots.strips import score_strips
from jaxunreg.plots.style import save_figure
from jaxunreg.plots.training import training_curves
from jaxunreg.plots.trials import parallel_coordinates
from jaxunreg.plots.verdicts import scale_note, verdict_overlay

__all__ = [
    "NormalAndAnomalous",
    "SweepPanel",
    "auc_spread",
    "auc_sweep",
    "decomposition_figure",
    "dots_by_data_set",
    "error_maps",
    "explained_by_class_bars",
    "heat_map_comparison",
    "heat_map_examples",
    "heat_map_overlay",
    "parallel_coordinates",
    "roc_comparison",
    "sample_grid",
    "save_figure",
    "scale_note",
    "score_strips",
    "training_curves",
    "verdict_overlay",
]
