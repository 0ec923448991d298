"""ROC AUC against a size, read back from the artists and compared with the numbers behind it."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import same_color

from jaxunreg import plots
from jaxunreg.metrics.interval import Interval
from jaxunreg.plots import SweepPanel, auc_sweep


def sweep_panel(x: list[int]) -> SweepPanel:
    rng = np.random.default_rng(1)
    auc = {
        name: [
            Interval(v, v - down, v + up)
            for v, down, up in rng.uniform((0.6, 0.01, 0.01), (0.9, 0.1, 0.1), (len(x), 3))
        ]
        for name in ("nelbo", *"dam")
    }
    return SweepPanel("VAE", "latent size", x, auc)


def test_sweep_draws_values_and_intervals_at_their_places() -> None:
    panel = sweep_panel([2, 5, 10, 500])
    figure = auc_sweep([panel, sweep_panel([1])], title="AUC")
    assert len(figure.axes) == 2
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    FigureCanvasAgg(figure).draw()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2", "5", "10", "500"]
    lines, texts = axes.get_legend_handles_labels()
    bars = [collection.get_segments() for collection in axes.collections]
    assert len(texts) == len(bars) == 4
    for name, line, bar in zip(("nelbo", *"dam"), lines, bars, strict=True):
        points = panel.auc[name]
        np.testing.assert_allclose(line.get_ydata(), [point.value for point in points])
        np.testing.assert_allclose(line.get_xdata(), panel.x, rtol=0.05)
        np.testing.assert_allclose(np.array(bar)[:, :, 1], [(point.low, point.high) for point in points])
        np.testing.assert_allclose(np.array(bar)[:, :, 0].mean(1), line.get_xdata())
    # Side by side, in one order, at every value.
    places = np.array([line.get_xdata() for line in lines])
    assert (np.diff(places, axis=0) > 0).all()


def test_sweep_rejects_panels_that_do_not_fit() -> None:
    panel = sweep_panel([2, 5])
    with pytest.raises(ValueError, match="got no panels"):
        auc_sweep([], title="")
    with pytest.raises(ValueError, match=r"x = \[2, 5, 7\]"):
        auc_sweep([panel._replace(x=[2, 5, 7])], title="")
    with pytest.raises(ValueError, match="above zero"):
        auc_sweep([panel._replace(x=[0, 5])], title="")
    with pytest.raises(ValueError, match="at least one score"):
        auc_sweep([panel._replace(auc={})], title="")


AUC = {"nelbo": [[0.6, 0.7], [0.65, 0.75, 0.7]], "m": [[0.9, 0.8], [0.95, 0.9, 0.94]]}


def test_lines_go_through_means_bands_to_the_extremes_and_dots_are_seeds():
    figure = plots.auc_spread([5, 20], AUC, title="t", x_label="size")
    (axes,) = figure.axes
    _, *lines = axes.get_lines()
    bands = [found for found in axes.collections if not isinstance(found, PathCollection)]
    dots = [found for found in axes.collections if isinstance(found, PathCollection)]
    assert len(lines) == len(bands) == len(dots) == 2
    for line, band, dot, by_size in zip(lines, bands, dots, AUC.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), [np.mean(seeds) for seeds in by_size])
        assert same_color(line.get_color(), dot.get_facecolor()[0, :3])
        (outline,) = band.get_paths()
        for size, seeds in zip([5, 20], by_size, strict=True):
            edge = outline.vertices[outline.vertices[:, 0] == size, 1]
            assert (edge.min(), edge.max()) == (min(seeds), max(seeds))
        np.testing.assert_allclose(dot.get_offsets()[:, 1], [value for seeds in by_size for value in seeds])
    assert axes.get_xscale() == "log"
    assert axes.get_ylim()[0] < 0.5


@pytest.mark.parametrize(
    ("x", "auc"),
    [([], {"m": []}), ([5], {}), ([5], {"m": [[]]}), ([5, 20], {"m": [[0.5]]}), ([0], {"m": [[0.5]]})],
)
def test_sizes_without_seeds_are_refused(x, auc):
    with pytest.raises(ValueError, match="expected ascending sizes above zero"):
        plots.auc_spread(x, auc, title="t", x_label="x")
