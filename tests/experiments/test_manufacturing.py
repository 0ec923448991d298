"""The manufacturing study on generated parts: its files, its resuming after a stop, its splits."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxunreg as ju
from experiments import commands, runs
from experiments.manufacturing import page, scores, study
from experiments.manufacturing.choosing import choose
from experiments.manufacturing.config import KEPT, ManufacturingConfig
from experiments.manufacturing.fitted import FittedNetwork
from experiments.manufacturing.models import MODELS, Candidate
from experiments.manufacturing.scores import CandidateScores
from experiments.manufacturing.splits import split_data
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.metrics.ranking import roc_auc

pytestmark = pytest.mark.slow

PIXELS = ("vae", "ae", "gmm", "pca", "forest", "svm")

OPTIONS = [
    "--models",
    *PIXELS,
    "--parts",
    "15",
    "--patch",
    "48",
    "--depth",
    "2",
    "--base-channels",
    "4",
    "--latent-dims",
    "2",
    "--vae-train.steps",
    "3",
    "--vae-train.batch-size",
    "8",
    "--vae-train.warmup-steps",
    "1",
    "--ae-train.warmup-steps",
    "1",
    "--ae-train.steps",
    "3",
    "--ae-train.batch-size",
    "8",
    "--pca-components",
    "5",
    "--gmm-components",
    "1",
    "--residual-components",
    "5",
    "9",
    "--forest.n-trees",
    "5",
    "--forest.samples-per-tree",
    "50",
    "--svm-nu",
    "0.5",
    "--svm.n-landmarks",
    "20",
    "--bootstrap",
    "20",
    "--stride",
    "48",
    "--heat-map-stride",
    "48",
    "--figure-stride",
    "48",
    "--trials",
    "1",
    "--no-memory",
    "--no-progress",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run from beginning to end."""
    runs_dir = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxunreg.training.state.PIXELS", 2**18)  # fewer crops than are drawn in earnest
        page = study.main([*OPTIONS, "--runs-dir", str(runs_dir), "--name", "whole"])
    return page.parent


def test_a_run_writes_the_table_the_figures_and_the_page(folder):
    results = json.loads((folder / "results.json").read_text())
    models = {row["model"] for row in results["rows"]}
    assert models == {"vae", "ae", "gmm", "pca", "forest", "svm"}
    assert [row["score"] for row in results["rows"] if row["model"] == "gmm"] == ["nelbo", "d", "a", "m"]
    rows = list(csv.reader((folder / "table1.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(results["rows"]) + 1
    assert (folder / "table1.md").read_text(encoding="utf-8").count("\n") == len(rows) + 1
    assert "\\toprule" in (folder / "table1.tex").read_text(encoding="utf-8")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "Table I" in page
    assert "Settings are chosen on 3 validation images and measured on 6 others" in page
    assert "best on the validation images" in page
    assert "No images were set apart" not in page
    for figure in ("fig10_roc", "fig11_heat_maps", "training_vae", "training_ae"):
        with Image.open(folder / "figures" / f"{figure}.png") as image:
            assert min(image.size) > 300


def test_the_numbers_are_those_of_the_stored_scores(folder):
    results = json.loads((folder / "results.json").read_text())
    data = load_folder(folder / "parts", min_size=48, progress=False)
    config = ManufacturingConfig(trials=1)
    split = split_data(config, data, 0)
    [row] = [row for row in results["rows"] if (row["model"], row["score"]) == ("vae", "m")]
    with np.load(folder / "scores" / "vae-N_c_4-N_z_2-trial_0.npz") as file:
        top = file["m"][len(split.calibration) :][~split.is_validation]
    anomalous = split.test.is_anomalous
    expected = roc_auc(top[~anomalous, 0], top[anomalous, 0], bootstrap=1).value
    assert row["trials"][0]["auc"]["value"] == expected
    assert np.all(np.diff(top[:, :2], axis=1) <= 0)


def test_a_run_that_is_done_is_read_back(folder, monkeypatch):
    before = json.loads((folder / "results.json").read_text())

    def again(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(scores, "fit", again)
    study.main([*OPTIONS, "--runs-dir", str(folder.parent.parent), "--name", "whole"])
    after = json.loads((folder / "results.json").read_text())
    assert after["rows"] == before["rows"]


def test_validation_and_test_share_no_group_and_both_have_both_kinds(tmp_path):
    data = load_folder(write_parts(tmp_path / "parts", train=4, test=6, image_size=(64, 64)), progress=False)
    split = split_data(ManufacturingConfig(), data, 0)
    groups = [
        {file.group for file in part.files} for part in (split.train, split.calibration, split.validation, split.test)
    ]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert len(split.train) + len(split.calibration) == len(data.train)
    assert len(split.validation) + len(split.test) == len(data.test)
    for part in (split.validation, split.test):
        assert 0 < part.is_anomalous.sum() < len(part)


def test_folds_test_every_normal_image_once(tmp_path):
    data = load_folder(write_parts(tmp_path / "parts", train=7, test=3, image_size=(64, 64)), progress=False)
    config = ManufacturingConfig(protocol="folds", trials=5, validation_fraction=0.0)
    splits = [split_data(config, data, fold) for fold in range(5)]
    tested = [file.path for split in splits for file in split.test.files if file.label == "good"]
    assert len(tested) == len(set(tested)) == 10
    for split in splits:
        assert not split.train.is_anomalous.any()
        assert split.test.is_anomalous.sum() == 6
        assert not {file.path for file in split.train.files} & {file.path for file in split.test.files}
    with pytest.raises(runs.RunError, match="10 groups without a defect for 6 folds; expected at least 2 a fold"):
        split_data(ManufacturingConfig(protocol="folds", trials=6), data, 0)
    text = page.how_chosen(
        {"chosen_on": "validation", "images_by_trial": [{"validation": 4, "test": 9}, {"validation": 4, "test": 8}]}
    )
    assert "chosen on 4 validation images and measured on 8 to 9 others" in text


def test_one_part_cannot_be_chosen_on_and_measured_on(tmp_path):
    args = [*OPTIONS, "--parts", "5", "--models", "pca", "--runs-dir", str(tmp_path)]
    with pytest.raises(runs.RunError, match="got 1 part among the test images without a defect; expected at least 2"):
        study.main(args)


def test_too_few_crops_are_refused_before_a_model_is_trained_and_the_model_can_be_left_out(tmp_path, monkeypatch):
    few = [*OPTIONS, "--parts", "10", "--patches-per-image", "4", "--runs-dir", str(tmp_path), "--name", "few"]

    def fit(*_: object) -> None:
        raise AssertionError("trained")

    with monkeypatch.context() as patch:
        patch.setattr(scores, "fit", fit)
        message = "got 32 crops to fit the Isolation Forest to; expected at least 50; raise --patches-per-image from 4"
        with pytest.raises(runs.RunError, match=message):
            study.main([*few, "--models", "pca", "forest"])
    assert study.main([*few, "--models", "pca"]).exists()


def test_scores_are_not_taken_for_those_of_images_that_are_split_in_another_way(tmp_path):
    folder = write_parts(tmp_path / "parts", train=6, test=6, image_size=(64, 64))
    args = [*OPTIONS, "--models", "pca", "--data", str(folder), "--runs-dir", str(tmp_path / "runs"), "--name", "one"]
    study.main(args)
    # The label stays "good", and so does what the images are; their groups, by which they are split, do not.
    (folder / "test" / "good").rename(folder / "test" / "normal")
    with pytest.raises(runs.RunError, match="began on other data"):
        study.main(args)


def test_a_kind_of_defect_that_nothing_is_measured_of_is_named(tmp_path):
    folder = write_parts(tmp_path / "parts", train=6, test=6, image_size=(64, 64))
    for image in sorted((folder / "test" / "crack").iterdir())[1:]:
        image.unlink()
        (folder / "ground_truth" / "crack" / f"{image.stem}_mask.png").unlink()
    data = load_folder(folder, progress=False)
    config = ManufacturingConfig()
    alone = [
        s for s in range(20) if "crack" not in split_data(dataclasses.replace(config, seed=s), data, 0).test.labels
    ]
    options = ["--models", "pca", "--data", str(folder), "--runs-dir", str(tmp_path / "runs"), "--seed", str(alone[0])]
    page = study.main([*OPTIONS, *options]).read_text(encoding="utf-8")
    assert "Settings are chosen on all images of crack" in page


def test_a_run_says_with_what_it_was_begun_and_gone_on_with(tmp_path, monkeypatch):
    config = ManufacturingConfig(runs_dir=tmp_path)

    def opened(version: str) -> dict:
        monkeypatch.setattr(runs, "versions", lambda _: {"jax": version})
        return runs.open_run(config.directory, config, [], experiment="manufacturing").record

    assert "continued" not in opened("1")
    assert "continued" not in opened("1")
    for _ in range(2):
        record = opened("2")
        assert record["versions"] == {"jax": "1"}
        assert [later["versions"] for later in record["continued"]] == [{"jax": "2"}]


def test_settings_are_chosen_on_the_validation_images_alone(tmp_path):
    data = load_folder(write_parts(tmp_path / "parts", train=4, test=6, image_size=(64, 64)), progress=False)
    config = ManufacturingConfig(trials=1)
    split = split_data(config, data, 0)

    def top(right: bool, part: object) -> dict[str, np.ndarray]:
        scores = np.where(part.is_anomalous == right, 1.0, 0.0)
        return {"score": np.repeat(scores[:, None], KEPT, axis=1)}

    good, bad = (Candidate("pca", (("N_h", n),), 0) for n in (5.0, 9.0))
    scores = {
        good: CandidateScores({}, top(True, split.validation), top(False, split.test)),
        bad: CandidateScores({}, top(False, split.validation), top(True, split.test)),
    }
    assert choose(config, [split], scores) == {("pca", "score"): good.setting}
    assert choose(config, [split], scores, on="test") == {("pca", "score"): bad.setting}


def test_without_validation_images_the_page_says_that_settings_are_chosen_on_the_test_images(tmp_path):
    args = [*OPTIONS, "--parts", "7", "--validation-fraction", "0", "--runs-dir", str(tmp_path)]
    page = study.main([*args, "--models", "pca", "forest"]).read_text(encoding="utf-8")
    assert "No images were set apart to choose settings on" in page
    assert "settings are chosen on the 3 test images that they are measured on" in page
    assert "best on these same test images" in page
    assert "validation images and measured" not in page


def test_a_folder_without_labels_is_refused(tmp_path):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "a.png")
    args = ["--data", str(tmp_path), "--patch", "48", "--runs-dir", str(tmp_path / "runs"), "--no-progress"]
    with pytest.raises(runs.RunError, match="expected normal and anomalous ones"):
        study.main(args)


def test_nothing_is_left_of_a_run_whose_images_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    folder = tmp_path / "runs" / "manufacturing" / "mine"
    args = ["--runs-dir", str(tmp_path / "runs"), "--name", "mine", "--no-progress"]
    for data in ("nowhere", "empty"):
        with pytest.raises((OSError, ValueError)):
            study.main(["--data", str(tmp_path / data), *args])
        assert folder.parent.exists()
        assert not folder.exists()


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("48", "a.png.*; or skip such files with --on-error skip$"),
        ("288", "got --patch 288 without --data; expected at most 256"),
    ],
)
def test_images_that_are_too_small_are_refused_in_terms_of_the_command_line(tmp_path, capsys, patch, message):
    args = ["--patch", patch, "--runs-dir", str(tmp_path / "runs"), "--name", "mine", "--no-progress"]
    if patch == "48":
        (tmp_path / "good").mkdir()
        Image.fromarray(np.zeros((32, 64), np.uint8)).save(tmp_path / "good" / "a.png")
        args += ["--data", str(tmp_path / "good")]
    with pytest.raises(SystemExit, match="1"):
        commands.run_command(lambda: study.main(args), ManufacturingConfig)
    assert re.search(message, capsys.readouterr().err.strip())
    assert not (tmp_path / "runs" / "manufacturing" / "mine").exists()


def test_a_run_that_began_on_other_images_is_left_as_it_is(tmp_path):
    config = ManufacturingConfig(runs_dir=tmp_path)
    run = runs.open_run(config.directory, config, [], experiment="manufacturing")
    run.record_data({"name": "these", "fingerprint": "1"})
    with pytest.raises(runs.RunError, match="began on other data"), run.removed_if_refused():
        run.record_data({"name": "those", "fingerprint": "2"})
    assert run.record["data"]["name"] == "these"
    assert (run.directory / "figures").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials=0"),
        ({"trials": 2, "pixel_trials": 3}, "pixel_trials=3; expected 1 to 2"),
        ({"calibration_fraction": 1.0}, "calibration_fraction=1.0"),
        ({"false_positive_rate": 0.0}, "false_positive_rate=0.0"),
        ({"data": (Path("a/parts"), Path("b/parts"))}, "folders of the names parts, parts; expected another name"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0"),
        ({"top_k": KEPT + 1}, "top_k=21"),
        ({"models": ()}, "no models"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ManufacturingConfig(**options)


@pytest.mark.parametrize("name", ["vae", "ae"])
def test_an_autoencoder_has_its_mean_squared_error_and_a_vae_four_scores(name, key):
    sizes = {"image_shape": (8, 8, 1), "depth": 2, "base_channels": 4, "latent_dim": 3}
    model = {"vae": ju.VAE(ju.VAEConfig(**sizes)), "ae": ju.Autoencoder(ju.AutoencoderConfig(**sizes))}[name]
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    scorer = ju.make_scorer(model, model.init(key, jnp.zeros((1, 8, 8, 1), jnp.float32)))
    fitted = FittedNetwork(scorer, MODELS[name].scores)
    maps = list(fitted.score_maps(images, stride=8))
    assert [scores["nelbo"].shape for scores in maps] == [(1, 1)] * 3
    if name == "vae":
        assert list(maps[0]) == ["nelbo", "d", "a", "m"]
        for scores in maps:
            np.testing.assert_allclose(scores["nelbo"], scores["d"] + scores["a"] + scores["m"], rtol=1e-5)
    else:
        assert list(maps[0]) == ["nelbo"]
        error = (images / 255 - ju.reconstruct_images(scorer, images)) ** 2
        np.testing.assert_allclose([scores["nelbo"].item() for scores in maps], error.mean((1, 2, 3)), rtol=1e-5)
