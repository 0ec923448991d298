"""The toy study end to end on a few digits: its files, its numbers, its resume, and its errors."""

import html.parser
import json
import subprocess
import sys
import types
from pathlib import Path

import chex
import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

from experiments.runs import RunError
from experiments.svhn_toy import stages, study
from experiments.svhn_toy.config import PRESETS
from jaxunreg.datasets.digits.svhn import URL_VARIABLE
from jaxunreg.decomposition import TERMS

pytestmark = pytest.mark.slow

SMALL = [
    *("--dataset", "synth_digits", "--train-size", "96", "--test-size", "40", "--validation-size", "16"),
    *("--vae.base-channels", "2", "--vae.latent-dim", "4", "--ae.base-channels", "2", "--ae.latent-dim", "4"),
    *("--vae.depth", "2", "--ae.depth", "2"),
    *("--vae-train.steps", "4", "--vae-train.batch-size", "16", "--vae-train.evaluate-every", "2"),
    *("--ae-train.steps", "2", "--ae-train.batch-size", "16"),
    *("--vae-train.warmup-steps", "1", "--ae-train.warmup-steps", "1", "--pca.n-components", "8"),
    *("--gmm.pca-components", "5", "--forest.n-trees", "5", "--forest.samples-per-tree", "32"),
    *("--latent-dims", "2", "4", "--latent-dims-steps", "2", "--gmm-components", "1", "2"),
    *("--bootstrap", "20", "--no-progress"),
]


@pytest.fixture(scope="module")
def drawn() -> list[tuple]:
    """What the figures of `finished` are drawn of, and their sections of the page."""
    return []


@pytest.fixture(scope="module")
def finished(tmp_path_factory, drawn) -> Path:
    runs, draw = tmp_path_factory.mktemp("runs"), study.figures.draw

    def keep(*arguments):
        sections = draw(*arguments)
        drawn.append((arguments, sections))
        return sections

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.figures, "draw", keep)
        page = study.main([*SMALL, "--runs-dir", str(runs), "--name", "small"])
    assert page == runs / "svhn_toy" / "small" / "index.html"
    return page.parent


def results(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


def test_the_results_have_an_interval_for_every_model_and_score(finished):
    auc = results(finished)["auc"]
    assert {model: set(scores) for model, scores in auc.items()} == {
        "vae": {"nelbo", "d", "a", "m"},
        "gmm": {"nelbo", "d", "a", "m"},
        "ae": {"nelbo"},
        "pca": {"score"},
        "isolation_forest": {"score"},
    }
    for scores in auc.values():
        for cell in scores.values():
            assert 0 <= cell["low"] <= cell["high"] <= 1
            assert 0 <= cell["value"] <= 1


def test_the_auc_is_scikit_learns_of_the_scores_on_disk_but_for_an_image_s_own_copy(finished):
    with np.load(finished / "scores" / "vae.npz", allow_pickle=False) as file:
        scores = {key: file[key] for key in file.files}
    np.testing.assert_allclose(scores["nelbo_normal"], sum(scores[f"{k}_normal"] for k in "dam"), rtol=1e-5)
    for key in TERMS:
        normal, anomalous = scores[f"{key}_normal"], scores[f"{key}_anomalous"]
        of_all_pairs = sklearn.metrics.roc_auc_score(np.repeat([0, 1], 40), np.r_[normal, anomalous])
        own = (anomalous > normal) + 0.5 * (anomalous == normal)  # an image beside its own copy, which does not count
        wanted = (40 * 40 * of_all_pairs - own.sum()) / (40 * 39)
        assert results(finished)["auc"]["vae"][key]["value"] == pytest.approx(wanted)


def test_the_end_of_training_is_what_was_logged(finished):
    lines = (finished / "models" / "vae" / "metrics.jsonl").read_text().splitlines()
    (last,) = [record for record in map(json.loads, lines) if record["step"] == 4 and "auc" in record]
    late = results(finished)["late_auc"]
    assert late.keys() == {"nelbo", "d", "a", "m"}
    for key, ends in late.items():
        assert ends == {"low": last["auc"][key], "high": last["auc"][key], "evaluations": 1}


def test_the_curve_over_the_steps_is_what_was_logged(finished):
    lines = map(json.loads, (finished / "models" / "vae" / "metrics.jsonl").read_text().splitlines())
    logged = {str(record["step"]): record for record in lines if "auc" in record}
    curve = results(finished)["auc_by_step"]
    assert list(curve) == ["2", "4"]
    for step, point in curve.items():
        assert point == {**logged[step]["auc"], "nats": logged[step]["held_out"]["loss"]}


def test_the_config_says_how_to_run_it_again(finished):
    record = json.loads((finished / "config.json").read_text())
    assert record["config"]["vae"]["latent_dim"] == 4
    assert record["command"].startswith("python -m experiments.svhn_toy --dataset synth_digits")
    assert record["data"]["name"] == "synth_digits"
    assert len(record["data"]["fingerprint"]) == 64
    assert {"python", "jax", "flax", "jaxunreg"} <= set(record["versions"])


def test_every_figure_of_the_paper_is_drawn_and_on_the_page(finished):
    names = {path.stem for path in (finished / "figures").glob("*.png")}
    assert {name.split("_")[0] for name in names if name.startswith("fig")} == {
        *("fig3", "fig5", "fig6", "fig7", "fig8", "fig9"),
    }
    for path in (finished / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 200

    sources: list[str] = []

    class Images(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag == "img":
                sources.append(dict(attributes)["src"])

    Images().feed((finished / "index.html").read_text())
    assert len(sources) == len(names)
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_starting_again_reads_everything_back(finished, drawn, monkeypatch):
    before = {path: path.read_bytes() for path in finished.rglob("*.npz")}
    page = (finished / "index.html").read_text()
    numbers, drawn_again = results(finished), []
    [(first, sections)] = drawn

    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(stages.ju, "fit", refuse)
    monkeypatch.setattr(stages, "GaussianMixture", refuse)
    monkeypatch.setattr(study.figures, "draw", lambda *arguments: drawn_again.append(arguments) or sections)
    study.main([*SMALL, "--runs-dir", str(finished.parents[1]), "--name", "small"])
    assert {path: path.read_bytes() for path in finished.rglob("*.npz")} == before
    again = results(finished)
    for key in ("auc", "explained_by_class", "mean_nats", "notes"):
        assert again[key] == numbers[key]
    # The figures would be drawn of the same scores and reconstructions.
    [second] = drawn_again
    chex.assert_trees_all_equal(second[2:-1], first[2:-1])
    assert (finished / "index.html").read_text().count("<img") == page.count("<img")


def test_another_setting_in_the_same_folder_is_refused(finished):
    with pytest.raises(RunError, match=r"other settings \(seed\).*choose another --name"):
        study.main([*SMALL, "--runs-dir", str(finished.parents[1]), "--name", "small", "--seed", "3"])


def test_a_folder_that_is_used_for_something_else_is_refused(tmp_path):
    folder = tmp_path / "svhn_toy" / "mine"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="already used for something else"):
        study.main([*SMALL, "--runs-dir", str(tmp_path), "--name", "mine"])
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be used"):
        study.main([*SMALL, "--runs-dir", str(tmp_path / "file")])


def test_more_validation_digits_than_there_are_is_refused(tmp_path):
    with pytest.raises(RunError, match="validation_size=96 with 96 training digits"):
        study.main([*SMALL, "--runs-dir", str(tmp_path), "--validation-size", "96"])


def test_fewer_test_digits_than_are_shown_are_refused(tmp_path):
    with pytest.raises(RunError, match="got 31 test digits; expected at least 32"):
        study.main([*SMALL, "--runs-dir", str(tmp_path), "--test-size", "31"])
    assert not list((tmp_path / "svhn_toy").iterdir())


def test_the_command_line_ends_with_one_line_of_error(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.svhn_toy", *SMALL, "--runs-dir", str(tmp_path), "--data-dir", "nowhere"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_svhn_the_embedded_digits_are_used_and_it_cannot_be_overlooked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:9/")  # Nothing listens on the discard port.
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    config = study.parse([*SMALL, "--dataset", "auto", "--runs-dir", str(tmp_path)])
    run = study.open_run(config, [])
    data = study.load_data(run)
    assert data.dataset.fell_back
    assert "WARNING" in capsys.readouterr().err
    record = json.loads((run.directory / "config.json").read_text())["data"]
    assert record["fell_back"]
    assert record["requested"] == "auto"
    assert "synth_digits" in data.dataset.name
    assert record["fallback_reason"]


def test_models_beside_the_vae_can_be_left_out(tmp_path, finished):
    page = study.main(
        [*SMALL, "--models", "pca", "--latent-dims", "--gmm-components", "--runs-dir", str(tmp_path), "--name", "few"]
    )
    few, all_ = results(page.parent), results(finished)
    assert list(few["auc"]) == ["vae", "pca"]
    assert few["auc"] == {model: all_["auc"][model] for model in few["auc"]}
    assert {path.stem for path in (page.parent / "scores").iterdir()} == {"vae", "pca"}


def test_only_a_hundredth_of_the_training_digits_and_every_anomalous_copy_are_erased(tmp_path):
    run = study.open_run(study.parse([*SMALL, "--runs-dir", str(tmp_path), "--train-size", "516"]), [])
    data = study.load_data(run)
    clean = data.dataset.train.images
    assert (data.train != clean[:500]).any((1, 2, 3)).sum() == 5
    np.testing.assert_array_equal(data.validation, clean[500:])
    np.testing.assert_array_equal(data.normal, data.dataset.test.images)
    for image, box in zip(data.anomalous.images, data.anomalous.boxes, strict=True):
        assert (image[box[0] : box[0] + 4, box[1] : box[1] + 4] == 128).all()


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_presets_are_options_and_every_field_can_be_overridden(preset):
    config = study.parse(["--preset", preset, "--vae.latent-dim", "7", "--gmm.pca-components", "None"])
    assert config.preset == preset
    assert config.vae.latent_dim == 7
    assert config.gmm.pca_components is None
    assert config.vae.base_channels == {"quick": 16, "paper": 32}[preset]
    assert study.parse([f"--preset={preset}"]) == PRESETS[preset]


def test_fig_9_shows_the_tables_models_and_trains_the_others_as_long_as_it_is_told(monkeypatch):
    config = study.parse(["--preset", "paper", "--latent-dims", "1000", "--gmm-components", "1", "2"])
    run, table = types.SimpleNamespace(config=config), {"m": (np.zeros(1), np.ones(1))}
    assert stages.sweep_latent_dims(run, None, table)[1000] is table

    fitted = []

    def fit_mixture(run, data, config):
        fitted.append(config)
        return {"m_normal": np.zeros(1), "m_anomalous": np.ones(1)}

    monkeypatch.setattr(stages, "fit_mixture", fit_mixture)
    assert list(stages.sweep_components(run, None)) == [1, 2]
    assert [(each.n_components, each.max_iter) for each in fitted] == [
        (1, config.gmm_components_max_iter),
        (2, config.gmm.max_iter),
    ]
