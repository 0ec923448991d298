"""A sweep from beginning to end: its table, its ranking, its page, and how it goes on."""

import csv
import dataclasses
import html.parser
import json
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

import jaxunreg as ju
from experiments import runs
from experiments.sweep import executors, study
from experiments.sweep.config import PRESETS
from experiments.sweep.results import summarise
from experiments.sweep.space import Space
from experiments.sweep.trials import TrialTable, trial_id
from experiments.toy_data import load_toy_data
from experiments.toy_scores import score
from tests.experiments.sweep_stand_ins import SMALL, Recorder


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of 12 trials. 6 cannot be built and 2 diverge."""
    folder = tmp_path_factory.mktemp("runs")
    page = study.main([*SMALL, "--runs-dir", str(folder)])
    assert page == folder / "sweep" / "small" / "index.html"
    return page.parent


def results(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


def test_a_trial_has_the_auc_of_the_small_model_trained_alone(finished):
    config = study.parse(SMALL)
    data = load_toy_data(config)
    state = ju.fit(
        model := ju.VAE(dataclasses.replace(config.vae, latent_dim=2)),
        data.train,
        dataclasses.replace(config.train, learning_rate=1e-3),
        key=jax.random.key(1),
        progress=False,
    )
    scorer = ju.make_scorer(model, state.variables)
    (setting,) = (one for one in results(finished)["settings"] if one["setting"]["learning_rate"] == 1e-3)
    place = setting["seeds"].index(1)
    for split, normal, anomalous in (
        ("validation", data.validation, data.validation_erased),
        ("test", data.normal, data.anomalous.images),
    ):
        for name, pair in score(scorer, normal, anomalous).items():
            truth = np.repeat([0, 1], len(normal))
            wanted = sklearn.metrics.roc_auc_score(truth, np.concatenate(pair))
            # Rounding may turn a pair of images or two around.
            assert setting[split][name]["values"][place] == pytest.approx(wanted, abs=3 / len(normal) ** 2)


def test_failing_trials_are_recorded_with_their_errors_and_stop_nothing(finished):
    trials = TrialTable(finished / "trials.sqlite").trials()
    assert len(trials) == len({trial.id for trial in trials}) == 12
    for trial in trials:
        assert trial.id == trial_id(trial.config)
        if trial.config["network"]["latent_dim"] == 0:
            assert trial.state == "failed"
            assert trial.error.endswith("Error: got latent_dim=0; expected at least 1")
        elif trial.config["train"]["learning_rate"] == 1e10:
            assert trial.state == "failed"
            assert trial.error.startswith("NonFiniteLossError: got a loss of")
        else:
            assert trial.state == "done"
            assert set(trial.result["auc"]["test"]) == {"nelbo", "d", "a", "m"}
    assert results(finished)["trials"] == {"done": 4, "failed": 8}


def test_settings_are_ranked_on_the_validation_digits(finished):
    found = results(finished)
    ranked = [one["validation"]["m"]["mean"] for one in found["settings"]]
    assert len(ranked) == 2
    assert ranked == sorted(ranked, reverse=True)
    # Of each latent size the best is shown.
    assert found["by_latent_dim"] == {"2": found["settings"][0]}
    for one in found["settings"]:
        assert one["seeds"] == [0, 1]
        for spread in one["test"].values():
            assert spread["mean"] == pytest.approx(np.mean(spread["values"]))
            assert (spread["low"], spread["high"]) == (min(spread["values"]), max(spread["values"]))


def test_a_setting_that_failed_under_a_seed_does_not_lead(finished):
    config = json.loads((finished / "config.json").read_text())
    trials = TrialTable(finished / "trials.sqlite").trials()
    best = results(finished)["settings"][0]["setting"]["learning_rate"]
    space = Space({"latent_dim": (0, 2), "learning_rate": (1e-3, 3e-3, 1e10)}, seeds=(0, 1))
    [victim] = [
        k
        for k, trial in enumerate(trials)
        if trial.state == "done" and trial.config["seed"] == 0 and trial.config["train"]["learning_rate"] == best
    ]
    trials[victim] = trials[victim]._replace(state="failed", result=None, error="NaN")
    ranked = summarise(config, space, trials)
    assert ranked["settings"][-1]["setting"]["learning_rate"] == best
    assert [one["failed_seeds"] for one in ranked["settings"]] == [0, 1]
    assert ranked["by_latent_dim"]["2"] == ranked["settings"][0]


def test_the_page_has_the_figures_and_the_errors(finished):
    tags: list[str] = []

    class Images(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag == "img":
                tags.append(dict(attributes)["src"])

    text = (finished / "index.html").read_text()
    Images().feed(text)
    assert len(tags) == 2
    assert {path.name for path in (finished / "figures").iterdir()} == {
        "parallel_coordinates.png",
        "auc_by_latent_dim.png",
    }
    for path in (finished / "figures").iterdir():
        with Image.open(path) as image:
            assert min(image.size) > 200
    assert text.count("got latent_dim=0; expected at least 1") == 6
    assert "python -m experiments.sweep --dataset synth_digits" in text


def test_csv_has_a_row_for_each_trial(finished):
    with (finished / "trials.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    trials = TrialTable(finished / "trials.sqlite").trials()
    assert set(rows) == {trial.id for trial in trials}
    for trial in trials:
        row = rows[trial.id]
        assert row["error"] == (trial.error or "")
        assert json.loads(row["config.network.image_shape"]) == [32, 32, 3]
        if trial.result:
            assert float(row["result.auc.test.m"]) == trial.result["auc"]["test"]["m"]


def test_no_checkpoint_is_left_of_what_is_done(finished):
    assert list(finished.rglob("metrics.jsonl"))
    assert not list(finished.rglob("checkpoints"))


def test_starting_again_trains_nothing_and_more_seeds_train_only_theirs(finished, monkeypatch):
    recorder = Recorder(monkeypatch)
    before = TrialTable(finished / "trials.sqlite").trials()
    settings = results(finished)["settings"]
    again = [*SMALL, "--runs-dir", str(finished.parents[1])]
    study.main(again)
    assert recorder.keys == []
    assert TrialTable(finished / "trials.sqlite").trials() == before
    assert results(finished)["settings"] == settings

    study.main([*again, "--seeds", "1", "2"])
    assert len(recorder.keys) == len(set(recorder.keys)) == 3
    assert all(config["seed"] == 2 for group in recorder.groups for config in group.configs)
    study.main([*again, "--retry-failed"])
    # The two that diverged; those that cannot be built fail again without being trained.
    assert len(recorder.keys) == 5


def test_another_base_setting_in_the_same_folder_is_refused(finished):
    with pytest.raises(runs.RunError, match=r"other settings \(vae\).*choose another --name"):
        study.main([*SMALL, "--runs-dir", str(finished.parents[1]), "--vae.depth", "3"])


def test_an_interrupt_gives_trials_back_at_once(tmp_path, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executors, "train_group", interrupt)
    args = [*SMALL, "--latent-dim", "2", "3", "--learning-rate", "1e-3", "--runs-dir", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        study.main(args)
    recorder = Recorder(monkeypatch)
    began = time.monotonic()
    study.main(args)
    assert time.monotonic() - began < 20
    trials = TrialTable(tmp_path / "sweep" / "small" / "trials.sqlite").trials()
    assert [trial.state for trial in trials] == ["done"] * 4
    assert len(recorder.keys) == 4
    by_size = json.loads((tmp_path / "sweep" / "small" / "results.json").read_text())["by_latent_dim"]
    assert {size: one["test"]["m"]["values"] for size, one in by_size.items()} == {
        "2": [0.502, 0.5021],
        "3": [0.503, 0.5031],
    }


def test_a_search_trains_whole_generations_and_replays_from_the_table(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    recorder = Recorder(monkeypatch)
    space = tmp_path / "space.toml"
    space.write_text("seeds = [0, 1]\nlatent_dim = {low = 2, high = 64}\nkl_weight = {low = 0.5, high = 2}\n")
    args = [*SMALL, "--runs-dir", str(tmp_path), "--space", str(space), "--search", "tpe"]
    args += ["--trials", "10", "--generation", "4"]
    study.main(args)
    assert [len(group.members) for group in recorder.groups][:2] == [8, 8]
    first = list(recorder.keys)
    found = json.loads((tmp_path / "sweep" / "small" / "results.json").read_text())
    assert found["trials"]["done"] == len(set(first)) == len(first)
    assert {tuple(one["seeds"]) for one in found["settings"]} == {(0, 1)}
    assert found["axes"]["kl_weight"] == {"low": 0.5, "high": 2, "log": False}
    recorder.groups.clear()
    study.main(args)
    assert recorder.keys == []
    # More trials go on from there.
    study.main([*args, "--trials", "14"])
    assert 0 < len(recorder.keys) <= 8
    assert not set(recorder.keys) & set(first)


def test_a_grid_of_a_range_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "space.toml").write_text("kl_weight = {low = 0.5, high = 2.0}")
    with pytest.raises(ValueError, match="got a range for kl_weight in a grid.*--search random"):
        study.main([*SMALL, "--space", str(tmp_path / "space.toml"), "--runs-dir", str(tmp_path / "runs")])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("package", "options", "command"),
    [
        ("optuna", ["--search", "tpe"], r"pip install 'jaxunreg\[sweep\]'"),
        ("ray", ["--cluster", "ray"], r"pip install 'jaxunreg\[cluster\]'"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path, monkeypatch, package, options, command
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(runs.RunError, match=command):
        study.main([*SMALL, *options, "--runs-dir", str(tmp_path)])


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_presets_are_options_and_every_field_can_be_overridden(preset):
    config = study.parse(["--preset", preset, "--latent-dim", "7", "9", "--vae.base-channels", "4", "--cluster", "ray"])
    assert config.preset == preset
    assert (config.latent_dim, config.vae.base_channels, config.cluster) == ((7, 9), 4, "ray")
    assert study.parse([f"--preset={preset}"]) == PRESETS[preset]
