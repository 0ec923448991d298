"""The manufacturing study on features: what a data set's rows rest on, and one table over several data sets."""

import csv
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from PIL import Image

from experiments import runs
from experiments.manufacturing import feature_scores, stored_features, study
from experiments.manufacturing.across import mean_over_sets
from experiments.manufacturing.config import ManufacturingConfig
from experiments.manufacturing.measuring import alone
from experiments.manufacturing.models import MODELS
from experiments.manufacturing.splits import split_data
from jaxunreg.baselines import PaDiM, PaDiMConfig
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.features import wrap
from jaxunreg.metrics.ranking import roc_auc

pytestmark = pytest.mark.slow

FEATURES = ("features", "gaussian", "padim", "patchcore_1", "patchcore_10")

OPTIONS = ["--models", *FEATURES, "forest", "--trials", "2", "--patch", "32", "--stride", "32"]
OPTIONS += ["--heat-map-stride", "32", "--figure-stride", "32", "--forest.n-trees", "5"]
OPTIONS += ["--forest.samples-per-tree", "20", "--bootstrap", "5", "--no-memory", "--no-progress"]


def blocks_of_eight(weights: tuple, images: jnp.ndarray) -> jnp.ndarray:
    """Mean, darkest and brightest pixel of each block of 8x8."""
    height, width = (-(-length // 8) * 8 for length in images.shape[1:3])
    edges = ((0, 0), (0, height - images.shape[1]), (0, width - images.shape[2]), (0, 0))
    blocks = jnp.pad(images, edges, mode="edge")[..., 0].reshape(len(images), height // 8, 8, width // 8, 8)
    return jnp.stack([reduce(blocks, axis=(2, 4)) for reduce in (jnp.mean, jnp.min, jnp.max)], axis=-1)


@pytest.fixture(scope="module")
def network():
    with pytest.MonkeyPatch.context() as patch:
        wrapped = wrap(blocks_of_eight, (), name="blocks", image_channels=1)
        patch.setattr(stored_features, "feature_network", lambda: wrapped)
        yield wrapped


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """A tree with a split on disk and masks, and a normal and an abnormal folder without."""
    root = tmp_path_factory.mktemp("data")
    tree = write_parts(root / "tree", train=12, test=4, image_size=(64, 96))
    parts = write_parts(root / "from", train=104, test=3, seed=1, image_size=(64, 64))
    plain = root / "plain"
    plain.mkdir()
    (parts / "train" / "good").rename(plain / "good")
    (parts / "test" / "crack").rename(plain / "bad")
    return [tree, plain]


@pytest.fixture(scope="module")
def folder(network, folders, tmp_path_factory) -> Path:
    """A run over both data sets from beginning to end."""
    return study.main(arguments(folders, tmp_path_factory.mktemp("runs"))).parent


def arguments(folders: list[Path], runs_dir: Path) -> list[str]:
    return [*OPTIONS, "--data", *map(str, folders), "--runs-dir", str(runs_dir), "--name", "both"]


def content(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def row(results: dict, model: str, score: str) -> dict:
    [found] = [row for row in results["rows"] if (row["model"], row["score"]) == (model, score)]
    return found


def test_one_table_holds_all_models_data_sets_and_figures(folder):
    rows = list(csv.reader((folder / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["figure", "model", "tree", "plain", "mean"]
    of_auc = {row[1]: row[2:] for row in rows if row[0] == "Image ROC AUC"}
    assert list(of_auc)[:5] == [*(f"VAE on features, {term}" for term in "LDAM"), "Gaussian on features"]
    assert {"PaDiM", "PatchCore, 1 %", "PatchCore, 10 %", "Isolation Forest"} <= set(of_auc)
    for name, column in (("tree", 0), ("plain", 1)):
        of_set = content(folder / name / "results.json")
        aucs = [trial["auc"]["value"] for trial in row(of_set, "features", "m")["trials"]]
        assert len(aucs) == 2
        assert of_auc["VAE on features, M"][column] == f"{np.mean(aucs):.3f}"
    # The second data set has no masks.
    of_aupro = [row[1:] for row in rows if row[0] == "AUPRO"]
    assert all(row[1] and not row[2] for row in of_aupro)
    # Both rules of a model have one map.
    assert {row[0] for row in of_aupro} == {label for label in of_auc if "mean of the highest" not in label}
    assert (folder / "table.md").exists()
    assert "\\toprule" in (folder / "table.tex").read_text(encoding="utf-8")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "In the mean over 2 data sets VAE on features, M has an image ROC AUC of" in page
    assert "Heat maps on tree" in page
    assert "Heat maps on plain" not in page
    with Image.open(folder / "figures" / "auc.png") as image:
        assert min(image.size) > 300


def test_the_rate_is_the_lowest_that_few_parts_support_and_the_page_says_so(folder):
    results = content(folder / "tree" / "results.json")
    assert {trial["false_positive_rate_calibrated"] for trial in row(results, "padim", "score")["trials"]} == {1 / 4}
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "The 3 held-out parts of tree cannot support a false-positive rate of 5 %" in page
    assert "thresholds are set for 25 %" in page
    assert "held-out parts of plain cannot" not in page


def test_padim_is_that_of_the_images_that_are_not_held_out(folder, folders, network):
    data = load_folder(folders[0], color="auto", progress=False)
    split = split_data(ManufacturingConfig(models=FEATURES), data, 1)

    def features(images):
        return np.asarray(network(jnp.asarray(np.stack(list(images)), jnp.float32) / 255), np.float16)

    padim = PaDiM(PaDiMConfig(smoothing=4.0, stride=8)).fit(features(split.train))
    found = padim.localize(features(split.test))
    anomalous = split.test.is_anomalous
    [_, trial] = row(content(folder / "tree" / "results.json"), "padim", "score")["trials"]
    expected = roc_auc(found.score[~anomalous], found.score[anomalous], bootstrap=1).value
    assert trial["auc"]["value"] == pytest.approx(expected)
    threshold = padim.scores(features(split.calibration))["score"].max()
    assert trial["missed"] == pytest.approx(float((found.score[anomalous] <= threshold).mean()))
    assert trial["false_positive_rate"] == pytest.approx(float((found.score[~anomalous] > threshold).mean()))


def test_pixels_and_costs_are_measured(folder):
    results = content(folder / "tree" / "results.json")
    for model, name in (("features", "m"), ("padim", "score"), ("patchcore_10", "score")):
        trial = row(results, model, name)["trials"][0]
        assert 0.5 < trial["pixel_auc"] <= 1.0
        assert 0.15 < trial["aupro"] <= 1.0
        assert trial["fit_seconds"] > 0
        assert trial["milliseconds"] > 0
        assert "peak_mb" not in trial


def test_held_out_nats_are_those_of_a_density(folder):
    results = content(folder / "tree" / "results.json")
    trials = {model: row(results, model, MODELS[model].headline)["trials"][0] for model in FEATURES}
    # The few random images of this test have nothing in common that a VAE could learn: both are the Gaussian.
    assert trials["features"]["held_out_nats"] == pytest.approx(trials["gaussian"]["held_out_nats"], rel=0.1)
    assert trials["padim"]["held_out_nats"] > trials["gaussian"]["held_out_nats"]
    assert "held_out_nats" not in trials["patchcore_1"]


def test_what_is_done_is_read_back_for_other_data_sets_too(folder, folders, network, monkeypatch):
    before = content(folder / "results.json")

    def again(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(feature_scores, "fit_to_stored", again)
    monkeypatch.setattr(stored_features, "feature_maps", again)
    study.main(arguments(folders[::-1], folder.parents[1]))
    after = content(folder / "results.json")
    assert (before["data"], after["data"]) == (["tree", "plain"], ["plain", "tree"])
    assert after["merits"] == before["merits"]
    # What was kept of features while they were needed is gone.
    assert not list(folder.rglob("*.npy"))


def test_a_trial_has_the_split_that_the_loader_draws_with_its_seed(folders):
    config = ManufacturingConfig(seed=3, models=FEATURES)
    data = load_folder(folders[1], seed=3, progress=False)
    for trial in range(3):
        split = split_data(config, data, trial)
        alone = load_folder(folders[1], seed=3 + trial, progress=False)
        assert {file.path for file in split.others.files} == {file.path for file in alone.test.files}
        learned = {file.path for file in (*split.train.files, *split.calibration.files)}
        assert learned == {file.path for file in alone.train.files}


def test_the_held_out_parts_follow_the_trial_where_the_split_is_on_disk(folders):
    data = load_folder(folders[0], progress=False)
    splits = [split_data(ManufacturingConfig(models=FEATURES), data, trial) for trial in range(3)]
    assert len({tuple(file.path for file in split.calibration.files) for split in splits}) == 3
    # Nothing is chosen, so all test images are measured on.
    assert all(len(split.test) == len(data.test) for split in splits)


def test_folders_are_refused_before_the_first_is_studied(folders, tmp_path):
    (tmp_path / "plain").mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "plain" / "a.png")
    for bad, message in (
        (tmp_path / "missing", "missing, which is not a folder; expected a folder of images"),
        (tmp_path / "plain", "plain with 1 normal images to train on and 0 to test on"),
    ):
        with pytest.raises(runs.RunError, match=message):
            study.main(["--data", str(folders[0]), str(bad), "--runs-dir", str(tmp_path / "runs")])
    assert not (tmp_path / "runs").exists()


def test_a_mean_over_data_sets_is_given_where_no_data_set_is_missing():
    values = {"M": {"a": [0.8, 1.0], "b": [0.5]}, "forest": {"a": [0.7]}}
    assert mean_over_sets(values, "M") == pytest.approx(0.7)
    assert mean_over_sets(values, "forest") is None


def test_memory_is_that_of_a_process_of_its_own():
    here = np.ones(800_000_000, np.uint8)
    cost = alone(np.ones, 300_000_000, np.uint8)
    assert cost.seconds > 0
    # An array beside Python and JAX, and nothing of the process that waits.
    assert 300 < cost.peak_mb < 800 < psutil.Process().memory_info().rss / 1e6
    assert here.nbytes == 800_000_000
