"""Figures: what was drawn is read back, from artists or pixels, and compared with NumPy, SciPy, sklearn."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import scipy.stats
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from sklearn.metrics import roc_auc_score

from jaxunreg import plots
from jaxunreg.files import replacing
from jaxunreg.metrics.interval import Interval
from jaxunreg.plots import SweepPanel, auc_sweep, roc_comparison, style, training_curves

N = 300
CLASSES = 5


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(7).permutation(np.arange(N) % CLASSES)


@pytest.fixture
def scores(labels: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A varies with the class and is skewed, M sees the anomaly, D is small; L is their sum."""
    rng = np.random.default_rng(3)
    a = 200.0 * labels + rng.gamma(2.0, 60.0, N)
    terms = {
        "d": (rng.normal(30, 2, N), rng.normal(30, 2, N)),
        "a": (a, a + rng.normal(10, 20, N)),
        "m": (rng.normal(500, 30, N), rng.normal(560, 40, N)),
    }
    total = tuple(sum(pair[side] for pair in terms.values()) for side in (0, 1))
    return {"nelbo": (total[0], total[1]), **terms}


def by_score(figure: Figure) -> dict[str, Axes]:
    """The box plots of a decomposition figure, by the letter in their title."""
    letters = {"mathcal{L}": "nelbo", "$D": "d", "$A": "a", "$M": "m"}
    return {letter: axes for axes in figure.axes for mark, letter in letters.items() if mark in axes.get_title()}


def box_statistics(axes: Axes, color: str) -> list[tuple[float, ...]]:
    """5th, 25th, 50th, 75th and 95th percentile of every box of one colour, from left to right."""
    boxes = []
    for patch in axes.patches:
        if not same_color(patch.get_edgecolor(), color):
            continue
        outline = patch.get_path().vertices
        left, right = outline[:, 0].min(), outline[:, 0].max()
        level = [
            float(line.get_ydata()[0])
            for line in axes.lines
            if same_color(line.get_color(), color)
            and len(set(line.get_ydata())) == 1
            and left <= np.mean(line.get_xdata()) <= right
        ]
        low, median, high = sorted(level)
        boxes.append((left, low, outline[:, 1].min(), median, outline[:, 1].max(), high))
    return [tuple(box[1:]) for box in sorted(boxes)]


def png(figure: Figure, path: Path, dpi: int = 150) -> np.ndarray:
    style.save_figure(figure, path, dpi=dpi)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def pixels_of(axes: Axes, picture: np.ndarray, dpi: int) -> np.ndarray:
    """The part of a decoded PNG that an axes covers."""
    width, height = axes.figure.get_size_inches() * dpi
    box = axes.get_position()
    top, bottom = (round(height * (1 - end)) for end in (box.y1, box.y0))
    left, right = (round(width * end) for end in (box.x0, box.x1))
    return picture[top:bottom, left:right]


# --- Fig. 3, 7, 8 ---


@pytest.mark.parametrize("dpi", [150, 300])
@pytest.mark.parametrize("channels", [1, 3])
def test_sample_grid_shows_every_pixel_as_a_square_of_its_own_colour(tmp_path: Path, channels: int, dpi: int) -> None:
    rng = np.random.default_rng(0)
    normal, anomalous = (rng.integers(0, 256, (7, 16, 16, channels), np.uint8) for _ in range(2))
    figure = plots.sample_grid(normal, anomalous, title="Samples", rows=2, columns=3)
    assert len(figure.axes) == 2
    picture = png(figure, tmp_path / "grid.png", dpi)
    for axes, images in zip(figure.axes, (normal, anomalous), strict=True):
        panel = pixels_of(axes, picture, dpi)
        # Two rows of 16 pixels and a gap of one; three columns of 16 and two gaps.
        zoom = panel.shape[0] // 33
        assert panel.shape == (33 * zoom, 50 * zoom, 3)
        assert zoom > 2
        # Without the rim of each square: matplotlib 3.9 is off by one pixel of the figure there.
        blocks = panel.reshape(33, zoom, 50, zoom, 3)[:, 1:-1, :, 1:-1]
        for index in range(6):
            row, column = divmod(index, 3)
            shown = blocks[17 * row : 17 * row + 16, :, 17 * column : 17 * column + 16]
            expected = np.broadcast_to(images[index], (16, 16, 3))
            np.testing.assert_array_equal(shown, np.broadcast_to(expected[:, None, :, None], shown.shape))


def test_sample_grid_clips_a_reconstruction_that_leaves_the_range(tmp_path: Path) -> None:
    images = np.full((1, 8, 8, 3), 0.5, np.float32)
    images[0, 0, 0], images[0, 0, 1] = -0.2, 1.3
    figure = plots.sample_grid(images, images, title="Means", rows=1, columns=1)
    panel = pixels_of(figure.axes[0], png(figure, tmp_path / "a.png"), 150)
    zoom = panel.shape[0] // 8
    assert (panel[:zoom, :zoom] == 0).all()
    assert (panel[:zoom, zoom : 2 * zoom] == 255).all()
    assert (abs(panel[zoom:].astype(int) - 127.5) <= 0.5).all()


def test_sample_grid_outlines_the_squares_without_covering_them() -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    boxes = np.array([[0, 0], [3, 28], [28, 5], [10, 11]])
    figure = plots.sample_grid(images, images, title="Boxes", rows=2, columns=2, boxes=boxes, box_size=4)
    assert not figure.axes[0].patches
    step = 32 + 2  # an image and the gap beside it
    drawn = [patch for patch in figure.axes[1].patches if isinstance(patch, Rectangle)]
    assert len(drawn) == 4
    for index, patch in enumerate(drawn):
        row, column = divmod(index, 2)
        top, left = boxes[index] + (row * step, column * step)
        # Pixel k covers k - 1/2 to k + 1/2 of the axes.
        x, y = patch.get_xy()
        assert left - 1.5 < x < left - 0.5
        assert left + 3.5 < x + patch.get_width() < left + 4.5
        assert top - 1.5 < y < top - 0.5
        assert top + 3.5 < y + patch.get_height() < top + 4.5


def test_sample_grid_rejects_what_it_cannot_show() -> None:
    images = np.zeros((4, 8, 8, 3), np.uint8)

    def grid(normal: np.ndarray, anomalous: np.ndarray, rows: int = 2, **more: np.ndarray) -> Figure:
        return plots.sample_grid(normal, anomalous, title="", rows=rows, columns=2, **more)

    with pytest.raises(ValueError, match="got 4 normal images for 3 rows of 2"):
        grid(images, images, rows=3)
    with pytest.raises(ValueError, match="got 3 anomalous images"):
        grid(images, images[:3])
    with pytest.raises(ValueError, match="0 rows"):
        grid(images, images, rows=0)
    with pytest.raises(ValueError, match=r"\[4, 8, 8, 2\]; expected .* 1 or 3 channels"):
        grid(images[..., :2], images)
    with pytest.raises(ValueError, match="normal images of 8x8 and anomalous ones of 8x7"):
        grid(images, images[:, :, :7])
    with pytest.raises(ValueError, match="NaN"):
        grid(np.full((4, 8, 8, 1), np.nan), images)
    with pytest.raises(ValueError, match=r"boxes of shape \[3, 2\]; expected \[4, 2\]"):
        grid(images, images, boxes=np.zeros((3, 2), int))


# --- Fig. 5, 6 ---


def test_boxes_are_the_percentiles_of_each_class(
    scores: dict[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray
) -> None:
    figure = plots.decomposition_figure(scores, labels, title="VAE")
    panels = by_score(figure)
    assert sorted(panels) == ["a", "d", "m", "nelbo"]
    for name, axes in panels.items():
        centre = np.median(scores[name][0])
        for values, color in zip(scores[name], (style.NORMAL, style.ANOMALOUS), strict=True):
            expected = [np.percentile(values[labels == one] - centre, [5, 25, 50, 75, 95]) for one in range(CLASSES)]
            np.testing.assert_allclose(box_statistics(axes, color), expected, rtol=1e-12, atol=1e-9)


def test_the_median_of_all_normal_samples_is_zero(
    scores: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    """One class: its normal box is centred at zero, whatever the offset of the score."""
    shifted = {name: (normal + 1e4, anomalous + 1e4) for name, (normal, anomalous) in scores.items()}
    figure = plots.decomposition_figure(shifted, np.zeros(N, int), title="VAE")
    for axes in by_score(figure).values():
        ((_, _, median, _, _),) = box_statistics(axes, style.NORMAL)
        assert median == pytest.approx(0.0, abs=1e-9)


def test_roc_curves_have_the_area_that_the_legend_says(
    scores: dict[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray
) -> None:
    figure = plots.decomposition_figure(scores, labels, title="VAE")
    roc = next(axes for axes in figure.axes if axes.get_xlabel() == "false positive rate")
    lines, texts = roc.get_legend_handles_labels()
    assert len(lines) == 4
    truth = np.repeat([0, 1], N)
    for line, text, name in zip(lines, texts, ("nelbo", *"dam"), strict=True):
        expected = roc_auc_score(truth, np.concatenate(scores[name]))
        assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(expected, abs=1e-12)
        assert re.search(r"\(([\d.]+)\)$", text)[1] == f"{expected:.3f}"
        assert {"nelbo": "L", "d": "D", "a": "A", "m": "M"}[name] in text


def test_one_range_shows_which_term_dominates_and_none_cuts_a_whisker(
    scores: dict[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray
) -> None:
    shared = by_score(plots.decomposition_figure(scores, labels, title="", share_y=True))
    own = by_score(plots.decomposition_figure(scores, labels, title="", share_y=False))
    assert len({axes.get_ylim() for axes in shared.values()}) == 1
    for panels in (shared, own):
        for axes in panels.values():
            stats = np.array(box_statistics(axes, style.NORMAL) + box_statistics(axes, style.ANOMALOUS))
            low, high = axes.get_ylim()
            assert low < stats.min()
            assert stats.max() < high

    def filled(axes: Axes) -> float:
        stats = np.array(box_statistics(axes, style.NORMAL))
        return float(np.ptp(stats) / np.ptp(axes.get_ylim()))

    assert filled(shared["d"]) < 0.02
    assert filled(own["d"]) > 0.5


def test_one_outlier_does_not_change_the_range(
    scores: dict[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray
) -> None:
    before = by_score(plots.decomposition_figure(scores, labels, title=""))["m"].get_ylim()
    scores["m"][1][0] = 1e9
    after = by_score(plots.decomposition_figure(scores, labels, title=""))["m"].get_ylim()
    assert np.ptp(after) < 1.05 * np.ptp(before)


def test_the_share_of_the_class_stands_in_each_panel(
    scores: dict[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray
) -> None:
    figure = plots.decomposition_figure(scores, labels, title="", class_name="shape")
    for name, axes in by_score(figure).items():
        normal = scores[name][0]
        within = sum(((normal[labels == one] - normal[labels == one].mean()) ** 2).sum() for one in range(CLASSES))
        share = 1 - within / ((normal - normal.mean()) ** 2).sum()
        (text,) = (text.get_text() for text in axes.texts)
        written = re.fullmatch(r"shape: ([\d.]+) % of variance", text)
        assert float(written[1]) == pytest.approx(100 * share, abs=0.5)


def test_decomposition_figure_rejects_scores_that_do_not_fit(
    scores: dict[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"\['m'\] missing"):
        plots.decomposition_figure({name: scores[name] for name in ("nelbo", "d", "a")}, labels, title="")
    with pytest.raises(ValueError, match=r"labels of shape \[299\]"):
        plots.decomposition_figure(scores, labels[1:], title="")
    broken = scores["a"][1].copy()
    broken[3] = np.nan
    with pytest.raises(ValueError, match=r"anomalous scores 'a' .* with 1 not finite"):
        plots.decomposition_figure({**scores, "a": (scores["a"][0], broken)}, labels, title="")


def test_roc_comparison_orders_and_measures(scores: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    figure = roc_comparison({"VAE, M": scores["m"], "VAE, L": scores["nelbo"]}, title="All")
    lines, texts = figure.axes[0].get_legend_handles_labels()
    truth = np.repeat([0, 1], N)
    expected = [roc_auc_score(truth, np.concatenate(scores[name])) for name in ("m", "nelbo")]
    assert texts == [f"VAE, M ({expected[0]:.3f})", f"VAE, L ({expected[1]:.3f})"]
    assert lines[0].get_linewidth() > lines[1].get_linewidth()
    with pytest.raises(ValueError, match="got 0 curves"):
        roc_comparison({}, title="")
    with pytest.raises(ValueError, match=r"'VAE' of shape \[0\]"):
        roc_comparison({"VAE": (np.zeros(0), np.ones(2))}, title="")


# --- Fig. 9 ---


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


# --- training ---


def records(steps: int) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for step in range(1, steps + 1):
        loss = 1000.0 / step
        lines.append(
            {
                "step": step,
                "loss": loss,
                "d": 1.0 + step,
                "a": -2.0 - step,
                "m": 1.0 + loss,
                "images_per_second": 9.0,
            }
        )
    return lines


def curves(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    return {
        line.get_label(): (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }


def test_training_curves_overlay_held_out_and_auc() -> None:
    lines = records(40)
    means = {"loss": 3.0, "d": 4.0, "a": 5.0, "m": -6.0}
    lines += [
        {"step": 20, "held_out": means, "auc": {"nelbo": 0.6, "m": 0.7}},
        {
            "step": 40,
            "held_out": {name: value + 1 for name, value in means.items()},
            "auc": {"nelbo": 0.65, "m": 0.9},
        },
    ]
    figure = training_curves(lines, title="VAE")
    assert len(figure.axes) == 5
    drawn = {axes.get_title(): curves(axes) for axes in figure.axes}
    assert drawn["negative ELBO"]["training"] == (
        list(range(1, 41)),
        [1000.0 / step for step in range(1, 41)],
    )
    assert drawn["negative ELBO"]["held out"] == ([20, 40], [3.0, 4.0])
    assert drawn["$M(x)$"]["held out"] == ([20, 40], [-6.0, -5.0])
    assert drawn["$D(x)$"]["training"][1] == [1.0 + step for step in range(1, 41)]
    assert drawn["ROC AUC"] == {
        r"$\mathcal{L}(x)$": ([20, 40], [0.6, 0.65]),
        "$M(x)$": ([20, 40], [0.7, 0.9]),
    }


def test_training_curves_average_long_runs_without_losing_a_record() -> None:
    lines = records(1003)
    figure = training_curves(lines, title="VAE")
    assert len(figure.axes) == 4
    (label,) = curves(figure.axes[0])
    window = int(re.search(r"means of (\d+)", label)[1])
    steps, values = curves(figure.axes[0])[label]
    assert len(steps) <= 250
    assert steps[-1] == 1003
    counts = np.diff([0, *steps])
    assert (counts[:-1] == window).all()
    # The windows cover every record once: their weighted sum is the sum over all.
    assert np.dot(counts, values) == pytest.approx(sum(line["loss"] for line in lines), rel=1e-12)


def test_a_resumed_run_counts_each_step_once_with_its_last_value() -> None:
    lines = [*records(10), {"step": 9, "loss": -1.0}, {"step": 10, "loss": -2.0}, {"step": 11, "loss": -3.0}]
    figure = training_curves(lines, title="VAE")
    steps, values = curves(figure.axes[0])["training"]
    assert steps == list(range(1, 12))
    assert values[-3:] == [-1.0, -2.0, -3.0]


def test_a_model_without_terms_has_one_panel_and_no_nats() -> None:
    lines = [{"step": step, "loss": 0.5 / step, "d": 0.0, "a": 0.0, "m": 0.5 / step} for step in range(1, 6)]
    figure = training_curves(lines, title="AE")
    assert len(figure.axes) == 1
    assert "nats" not in figure.axes[0].get_ylabel()
    # D and A are constants, whose AUC is 0.5 and says nothing, and M is the loss.
    lines[-1] |= {"auc": {"nelbo": 0.7, "d": 0.5, "a": 0.5, "m": 0.7}}
    figure = training_curves(lines, title="AE")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "ROC AUC"]
    assert curves(figure.axes[1]) == {"loss": ([5], [0.7])}


def test_the_first_steps_do_not_set_the_range() -> None:
    lines = records(200)
    lines[0]["loss"] = 1e9
    low, high = training_curves(lines, title="").axes[0].get_ylim()
    assert high < 1000.0
    assert low < 5.0


def test_training_curves_need_a_loss() -> None:
    with pytest.raises(ValueError, match="got 1 records without a loss"):
        training_curves([{"step": 3, "auc": {"nelbo": 0.5}}], title="")


# --- the class's share ---


def test_bars_are_the_shares_in_percent() -> None:
    values = {"VAE": {"nelbo": 0.251, "d": 0.08, "a": 0.3, "m": 0.012}, "Isolation Forest": {"score": 0.5}}
    figure = plots.explained_by_class_bars(values, title="Share")
    axes = figure.axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, [25.1, 8.0, 30.0, 1.2, 50.0])
    assert [text.get_text() for text in axes.texts] == ["25", "8.0", "30", "1.2", "50"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["VAE", "Isolation Forest"]
    # A model's name stands in the middle below its own bars.
    middle = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    np.testing.assert_allclose(axes.get_xticks(), [np.mean(middle[:4]), middle[4]])
    for wrong in ({}, {"VAE": {}}, {"VAE": {"nelbo": 1.1}}, {"VAE": {"nelbo": float("nan")}}):
        with pytest.raises(ValueError, match="expected"):
            plots.explained_by_class_bars(wrong, title="")


# --- error maps ---


def test_error_maps_add_up_to_the_log_density_of_each_pixel() -> None:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    mean = rng.uniform(0, 1, images.shape).astype(np.float32)
    log_var = rng.uniform(-6, 0, images.shape).astype(np.float32)
    boxes = np.array([[0, 0], [4, 2]])
    figure = plots.error_maps(images, mean, log_var, title="VAE", boxes=boxes)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 12
    assert len(figure.axes) == 12 + 4
    sigma = np.exp(0.5 * log_var)
    surprise = -scipy.stats.norm.logpdf(images / 255.0, mean, sigma).sum(-1)
    for row in range(2):
        cells = [np.asarray(axes.images[0].get_array()) for axes in shown[6 * row : 6 * row + 6]]
        np.testing.assert_array_equal(cells[0], images[row])
        np.testing.assert_allclose(cells[1], mean[row])
        np.testing.assert_allclose(cells[2], abs(images[row] / 255.0 - mean[row]).mean(-1), atol=1e-6)
        np.testing.assert_allclose(cells[3], sigma[row].mean(-1), rtol=1e-5)
        np.testing.assert_allclose(cells[4] + cells[5], surprise[row], rtol=1e-4, atol=1e-4)
        assert [len(axes.patches) for axes in shown[6 * row : 6 * row + 6]] == [1, 0, 0, 0, 0, 0]
    # One colour scale a column.
    for column in range(2, 6):
        first, second = (shown[6 * row + column].images[0].norm for row in range(2))
        assert (first.vmin, first.vmax) == (second.vmin, second.vmax)


def test_error_maps_reject_shapes_that_differ() -> None:
    images = np.full((2, 8, 8, 1), 0.5, np.float32)
    with pytest.raises(ValueError, match="expected one shape"):
        plots.error_maps(images, images, images[:1], title="")
    with pytest.raises(ValueError, match=r"boxes of shape \[1, 2\]"):
        plots.error_maps(images, images, images, title="", boxes=np.zeros((1, 2), int))
    with pytest.raises(ValueError, match="log-variance images with NaN"):
        plots.error_maps(images, images, np.full_like(images, np.nan), title="")


# --- files and global state ---


def test_saved_figures_have_their_size_and_the_same_bytes(tmp_path: Path) -> None:
    def figure() -> Figure:
        return roc_comparison({"VAE": (np.arange(9.0), np.arange(9.0) + 2)}, title="Twice")

    style.save_figure(figure(), tmp_path / "one.png")
    # A user's settings do not reach the figures, and the figures leave none behind.
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.facecolor": "green"}):
        before = dict(matplotlib.rcParams)
        style.save_figure(figure(), tmp_path / "two.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.format == "PNG"
        assert image.size == tuple(round(150 * inches) for inches in figure().get_size_inches())
        assert set(image.info) <= {"dpi"}
    style.save_figure(figure(), str(tmp_path / "large.png"), dpi=300)
    with Image.open(tmp_path / "large.png") as large, Image.open(tmp_path / "one.png") as small:
        assert large.size == tuple(2 * side for side in small.size)


class Exploding(Artist):
    def draw(self, renderer: object) -> None:
        raise RuntimeError("no paint")


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    figure = Figure(figsize=(1, 1))
    figure.add_artist(Exploding())
    with pytest.raises(RuntimeError, match="no paint"):
        style.save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        style.save_figure(Figure(figsize=(1, 1)), tmp_path / "missing" / "a.png")
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with path.open() as reader:
        with replacing(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"
        # Moved over it, not written into it: who has begun to read the old file reads it to its end.
        assert reader.read() == "old"


def test_replacing_leaves_nothing_of_what_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("new")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_share_what_they_write(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as slow:
        slow.write_text("slow")
        with replacing(path) as fast:
            fast.write_text("fast")
        assert path.read_text() == "fast"
    assert path.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]
