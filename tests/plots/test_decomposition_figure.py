"""The decomposition as a figure, read back from its artists and compared with NumPy and scikit-learn."""

import re

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from jaxunreg import plots
from jaxunreg.plots import style

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
    """One class: its normal box is centred at zero for any offset of the score."""
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
