"""The sweep: what is tried, how it is shared out, what a failure costs, and what is found on disk in the end."""

import csv
import dataclasses
import html.parser
import json
import os
import secrets
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

import jaxunreg as ju
from experiments import commands, runs
from experiments.sweep import executors, study, training
from experiments.sweep.config import PRESETS, SweepConfig
from experiments.sweep.groups import Group, Images, Outcome, group_trials
from experiments.sweep.ray_executor import RayExecutor
from experiments.sweep.results import summarise
from experiments.sweep.scheduling import record, run_trials
from experiments.sweep.search import Grid, OptunaSearch
from experiments.sweep.space import Range, Space, read_space
from experiments.sweep.training import train_group
from experiments.sweep.trials import TrialTable, trial_id
from experiments.toy_data import load_toy_data
from experiments.toy_scores import score
from jaxunreg.decomposition import TERMS

SMALL = [
    *("--dataset", "synth_digits", "--train-size", "96", "--test-size", "40", "--validation-size", "32"),
    *("--vae.base-channels", "2", "--vae.depth", "1", "--train.steps", "12", "--train.batch-size", "16"),
    *("--latent-dim", "0", "2", "--learning-rate", "1e-3", "3e-3", "1e10", "--seeds", "0", "1"),
    *("--no-progress", "--csv", "--name", "small"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of 12 trials, of which 6 cannot be built and 2 diverge."""
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
            assert (trial.state, trial.error) == ("failed", "ValueError: got latent_dim=0; expected at least 1")
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


class Recorder:
    """In place of the training: notes what would be trained, and answers with an AUC made of the latent size."""

    def __init__(self, monkeypatch) -> None:
        self.groups: list[Group] = []
        monkeypatch.setattr(executors, "train_group", self)

    def __call__(self, group: Group, images: Images, **_: object) -> list[Outcome]:
        self.groups.append(group)
        return [Outcome(key, result_of(config), None) for key, config in zip(group.keys, group.configs, strict=True)]

    @property
    def keys(self) -> list[str]:
        return [key for group in self.groups for key in group.keys]


def result_of(config: dict) -> dict:
    auc = 0.5 + config["network"]["latent_dim"] / 1000 + config["seed"] / 10_000
    scores = dict.fromkeys(TERMS, auc)
    return {
        "auc": {"validation": scores, "test": scores},
        **{"seconds": 1.0, "members": 1, "worker": "here:1"},
    }


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


def trial(seed: int, **changes: object) -> dict:
    """The configuration of a tiny trial; `changes` go to the network or the training, whichever has the field."""
    network = dataclasses.asdict(ju.VAEConfig(image_shape=(4, 4, 1), depth=1, base_channels=2, latent_dim=2))
    train = dataclasses.asdict(ju.TrainConfig(steps=4, batch_size=8))
    for name, value in changes.items():
        (network if name in network else train)[name] = value
    return json.loads(json.dumps({"network": network, "train": train, "seed": seed}))


def test_groups_share_shape_and_training_and_give_every_worker_something():
    configs = [trial(seed, latent_dim=n, base_channels=c) for seed in range(3) for n in (9, 2) for c in (2, 4)]
    found, broken = group_trials(configs, group_size=16, workers=1)
    assert not broken
    assert [len(group.members) for group in found] == [6, 6]
    for group in found:
        assert len({config["network"]["base_channels"] for config in group.configs}) == 1
        assert group.model.config.latent_dim == 9
        assert [member.latent_dim for member in group.members] == [2, 2, 2, 9, 9, 9]
        for member, config in zip(group.members, group.configs, strict=True):
            assert (member.seed, member.latent_dim) == (config["seed"], config["network"]["latent_dim"])
    assert {key for group in found for key in group.keys} == set(map(trial_id, configs))

    assert [len(group.members) for group in group_trials(configs, group_size=4, workers=1)[0]] == [3, 3, 3, 3]
    assert len(group_trials(configs, group_size=16, workers=6)[0]) == 6
    longer = trial(0, steps=5)
    assert len(group_trials([*configs, longer], group_size=16, workers=1)[0]) == 3


def test_a_part_of_a_group_has_the_model_of_its_own_largest_latent_size():
    configs = [trial(0, latent_dim=n) for n in (9, 2, 5, 3)]
    parts, _ = group_trials(configs, group_size=2, workers=1)
    for group, sizes in zip(parts, [[2, 3], [5, 9]], strict=True):
        assert [member.latent_dim for member in group.members] == sizes
        assert group.model.config.latent_dim == sizes[-1]
    (whole,), _ = group_trials(configs, group_size=4, workers=1)
    assert whole.model.config.latent_dim == 9
    assert [half.model.config.latent_dim for half in whole.halves()] == [3, 9]


def test_an_error_of_a_group_costs_only_the_trial_that_it_comes_from(monkeypatch):
    def train(group: Group, *_: object) -> list[Outcome]:
        if any(member.latent_dim == 7 for member in group.members):
            raise MemoryError("no room")
        return [Outcome(key, {}, None) for key in group.keys]

    monkeypatch.setattr(training, "train_together", train)
    configs = [trial(seed, latent_dim=n) for seed in (0, 1) for n in (3, 7, 9)]
    (group,), _ = group_trials(configs, group_size=16, workers=1)
    images = Images(*[np.zeros((8, 8, 8, 1), np.uint8)] * 5)
    outcomes = {outcome.key: outcome for outcome in train_group(group, images, directory=None)}
    assert len(outcomes) == 6
    for config in configs:
        wanted = "MemoryError: no room" if config["network"]["latent_dim"] == 7 else None
        assert outcomes[trial_id(config)].error == wanted


BRACKETS = "got [/job:worker/task:0] of shape [4, 4]; expected [batch, height, width, channels]"
"""Would be taken for markup; the first is a closing tag of nothing."""


def on_stderr(capsys) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_square_brackets_in_an_error_are_printed_as_they_are(tmp_path, capsys):
    def fail() -> None:
        raise runs.RunError(BRACKETS)

    with pytest.raises(SystemExit, match="1"):
        commands.run_command(fail, SweepConfig)
    assert on_stderr(capsys) == f"error: {BRACKETS}"

    (key,) = TrialTable(tmp_path / "trials.sqlite").claim([trial(0)])
    record(TrialTable(tmp_path / "trials.sqlite"), [Outcome(key, None, BRACKETS)])
    assert f"trial {key[:8]} failed: {BRACKETS}" in on_stderr(capsys)


def test_square_brackets_in_what_a_dead_worker_left_are_printed_as_they_are(tmp_path, capsys):
    class Dying(Workers):
        def wait(self) -> tuple[Group, str]:
            return self.groups.pop(0), BRACKETS

    table = TrialTable(tmp_path / "trials.sqlite")
    run_trials(SweepConfig(attempts=1), table, Dying(1, {}), [trial(0)], None)
    assert f"the worker of 1 trials died: {BRACKETS}" in on_stderr(capsys)


class Workers:
    """An executor whose workers die as told, before any of them answers."""

    def __init__(self, workers: int, deaths: dict[str, int]) -> None:
        self.workers, self.deaths, self.most = workers, deaths, 0
        self.groups: list[Group] = []
        self.begun: list[str] = []

    def submit(self, group: Group) -> None:
        self.groups.append(group)
        self.begun += group.keys
        self.most = max(self.most, len(self.groups))

    def wait(self) -> tuple[Group, list[Outcome] | str]:
        group = self.groups.pop(0)
        for key in group.keys:
            if self.deaths.get(key, 0) > 0:
                self.deaths[key] -= 1
                return group, "killed"
        return group, [Outcome(key, result_of(c), None) for key, c in zip(group.keys, group.configs, strict=True)]


def test_a_worker_that_dies_is_replaced_and_a_trial_that_kills_its_workers_is_found(tmp_path):
    configs = [trial(seed) for seed in range(8)]
    keys = list(map(trial_id, configs))
    # One dies once, as machines do; the other kills whoever takes it up.
    workers = Workers(2, {keys[0]: 1, keys[6]: 10**6})
    table = TrialTable(tmp_path / "trials.sqlite")
    trials = run_trials(SweepConfig(attempts=2, group_size=4), table, workers, configs, None)
    states = {trial.id: trial.state for trial in trials}
    assert states == {**dict.fromkeys(keys, "done"), keys[6]: "failed"}
    by_key = {trial.id: trial for trial in trials}
    assert by_key[keys[6]].error == "the worker died 2 times: killed"
    assert [by_key[key].attempts for key in keys[:4]] == [2, 2, 2, 2]
    assert workers.most == 2


@pytest.mark.parametrize(("attempts", "size", "begun"), [(1, 4, 1), (2, 4, 2), (5, 3, 5)])
def test_no_trial_is_begun_more_often_than_allowed(tmp_path, attempts, size, begun):
    configs = [trial(seed) for seed in range(size)]
    keys = list(map(trial_id, configs))
    workers = Workers(1, dict.fromkeys(keys, 10**6))
    table = TrialTable(tmp_path / "trials.sqlite")
    trials = run_trials(SweepConfig(attempts=attempts), table, workers, configs, None)
    assert {key: workers.begun.count(key) for key in keys} == dict.fromkeys(keys, begun)
    assert {found.attempts for found in trials} == {begun}
    assert {found.error for found in trials} == {f"the worker died {begun} times: killed"}


def test_a_trial_that_another_process_took_up_is_not_begun_again(tmp_path):
    configs = [trial(0), trial(1)]
    path = tmp_path / "trials.sqlite"
    other = TrialTable(path)

    class Late(Workers):
        def wait(self) -> tuple[Group, list[Outcome] | str]:
            if len(self.begun) == 2:
                time.sleep(0.3)
                other.claim(configs[:1])
                other.finish(trial_id(configs[0]), result_of(configs[0]))
            return super().wait()

    workers = Late(1, dict.fromkeys(map(trial_id, configs), 1))
    trials = run_trials(SweepConfig(), TrialTable(path, lease_seconds=0.2), workers, configs, None)
    assert [found.state for found in trials] == ["done", "done"]
    assert [workers.begun.count(trial_id(config)) for config in configs] == [1, 3]


def test_trials_of_a_process_that_died_are_taken_up_and_those_of_a_living_one_are_waited_for(tmp_path):
    configs = [trial(seed) for seed in range(3)]
    path = tmp_path / "trials.sqlite"
    dead, living = TrialTable(path, lease_seconds=0.3), TrialTable(path)
    dead.claim(configs[:1])
    living.claim(configs[1:2])
    threading.Timer(0.8, lambda: living.finish(trial_id(configs[1]), result_of(configs[1]))).start()
    workers = Workers(1, {})
    trials = run_trials(SweepConfig(), table := TrialTable(path), workers, configs, None)
    assert [trial.state for trial in trials] == ["done"] * 3
    assert [trial.owner for trial in trials] == [table.owner, living.owner, table.owner]
    assert sorted(workers.begun) == sorted([trial_id(configs[0]), trial_id(configs[2])])


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


def test_a_grid_is_every_combination_in_one_generation():
    grid = Grid(Space({"latent_dim": (5, 20), "kl_weight": (1, 0.5)}, seeds=(0,)))
    settings = grid.ask()
    assert settings == [
        {"latent_dim": 5, "kl_weight": 1.0},
        {"latent_dim": 5, "kl_weight": 0.5},
        {"latent_dim": 20, "kl_weight": 1.0},
        {"latent_dim": 20, "kl_weight": 0.5},
    ]
    assert isinstance(settings[0]["kl_weight"], float)
    assert grid.ask() == []
    assert Grid(Space({}, seeds=(0,))).ask() == [{}]


RANGES = Space({"latent_dim": Range(2, 512, log=True), "learning_rate": Range(1e-5, 1e-1, log=True)}, seeds=(0,))


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_search_stays_in_its_ranges_and_asks_the_same_again(kind):
    def run() -> list[list[dict]]:
        search = OptunaSearch(RANGES, kind, trials=20, generation=8, seed=3)
        asked = []
        while settings := search.ask():
            asked.append(settings)
            search.tell([None if k == 1 else -abs(np.log10(s["learning_rate"]) + 3) for k, s in enumerate(settings)])
        return asked

    asked = run()
    assert [len(settings) for settings in asked] == [8, 8, 4]
    for setting in (one for settings in asked for one in settings):
        assert isinstance(setting["latent_dim"], int)
        assert 2 <= setting["latent_dim"] <= 512
        assert 1e-5 <= setting["learning_rate"] <= 1e-1
    assert run() == asked


def test_tpe_learns_from_what_it_is_told():
    def distances(kind: str) -> np.ndarray:
        search = OptunaSearch(RANGES, kind, trials=64, generation=8, seed=0)
        found = []
        while settings := search.ask():
            off = [abs(np.log10(setting["learning_rate"]) + 3) for setting in settings]
            search.tell([-value for value in off])
            found.append(off)
        return np.array(found)

    tpe, random = distances("tpe"), distances("random")
    # Uniform over four decades around the best, the mean distance is one decade.
    assert tpe[-3:].mean() < 0.5
    assert random[-3:].mean() > 0.7


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


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("width = [3]", ValueError, "got an axis 'width'; expected one of"),
        ("latent_dim = [3.5]", TypeError, "got 3.5 for latent_dim; expected an integer"),
        ("latent_dim = [true]", TypeError, "got True for latent_dim"),
        ("latent_dim = [3, 3]", ValueError, "none twice"),
        ("latent_dim = []", ValueError, "at least one value"),
        ("latent_dim = 3", ValueError, "expected a list of values, or low, high and log"),
        ("learning_rate = {low = 1, high = 0.1}", ValueError, "low < high"),
        ("learning_rate = {low = 0, high = 1, log = true}", ValueError, "begin above zero"),
        ("seeds = {low = 0, high = 3}", ValueError, "got a range of seeds"),
        ("latent_dim", ValueError, "expected TOML"),
    ],
)
def test_a_space_that_makes_no_sense_says_why(tmp_path, text, error, match):
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(error, match=match):
        read_space(tmp_path / "space.toml", seeds=(0,))


def test_json_and_toml_declare_the_same_space(tmp_path):
    (tmp_path / "space.toml").write_text("seeds = [4]\nlatent_dim = [5]\nkl_weight = {low = 0.5, high = 2.0}")
    (tmp_path / "space.json").write_text('{"seeds": [4], "latent_dim": [5], "kl_weight": {"low": 0.5, "high": 2.0}}')
    space = read_space(tmp_path / "space.toml", seeds=(0,))
    assert space == read_space(tmp_path / "space.json", seeds=(0,))
    assert space == Space({"latent_dim": (5,), "kl_weight": Range(0.5, 2.0)}, seeds=(4,))


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


@pytest.fixture
def local_cluster(monkeypatch, tmp_path):
    """A real Ray cluster of this machine, with two workers."""
    # It must not report home, and must not leave a token in the user's folder.
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # Workers compile in half the time, and one that takes the place of another reads what that one compiled.
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    ray = pytest.importorskip("ray", reason="there is no Ray for this version of Python")
    with warnings.catch_warnings():
        # Tests before this one have started JAX; the forked processes become Ray's at once.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80 * 2**20,
            log_to_driver=False,
            logging_level="error",
        )
    yield ray
    ray.shutdown()


def test_a_worker_of_a_ray_cluster_is_killed_and_every_result_is_there_once(local_cluster, tmp_path):
    rng = np.random.default_rng(0)
    images = Images(*(rng.integers(0, 256, (count, 4, 4, 1), np.uint8) for count in (64, 16, 16, 16, 16)))
    steps = {"steps": 4000, "steps_per_dispatch": 100, "checkpoint_every": 1000}
    configs = [trial(seed, **steps) for seed in range(8)]
    config = SweepConfig(group_size=2, cluster="ray")
    table = TrialTable(tmp_path / "trials.sqlite")
    directory = tmp_path / "groups"
    killed: list[tuple[str, int]] = []

    def kill() -> None:
        """Kill the first worker that is in the middle of its training."""
        while not killed:
            for log in directory.glob("*/part-000/metrics.jsonl"):
                folder = log.parents[1]
                if 1000 < log.read_text().count("\n") < 3000:
                    worker = json.loads((folder / "worker.json").read_text())
                    os.kill(worker["pid"], signal.SIGKILL)
                    killed.append((folder.name, worker["pid"]))
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill, daemon=True)
    with RayExecutor(progress=False, cpus_per_group=1) as executor, table.renewing():
        assert executor.workers == 2
        executor.prepare(images, directory)
        killer.start()
        trials = run_trials(config, table, executor, configs, directory)
        killer.join(timeout=10)
        # Nothing is left to do.
        assert run_trials(config, table, executor, configs, directory) == trials

    assert sorted(trial.id for trial in trials) == sorted(map(trial_id, configs))
    assert [trial.state for trial in trials] == ["done"] * 8
    ((name, pid),) = killed
    assert pid != os.getpid()
    workers = {trial.id: int(trial.result["worker"].rsplit(":", 1)[1]) for trial in trials}
    assert os.getpid() not in workers.values()
    assert len(set(workers.values())) >= 2
    again = [trial for trial in trials if trial.attempts == 2]
    assert [trial.result["group"] for trial in again] == [name, name]
    assert all(workers[trial.id] != pid for trial in again)
    assert all(trial.attempts == 1 for trial in trials if trial not in again)
    for found in trials:
        assert all(0 <= auc <= 1 for split in found.result["auc"].values() for auc in split.values())
