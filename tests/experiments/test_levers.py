"""The table of levers end to end on a few digits."""

import json
from pathlib import Path

import pytest

from experiments.levers import study
from experiments.levers.config import PRESETS
from experiments.levers.lever import lever
from jaxunreg.decomposition import TERMS
from jaxunreg.training.log import MetricsLog

pytestmark = pytest.mark.slow

SMALL = [
    *("--dataset", "synth_digits", "--train-size", "96", "--test-size", "40", "--validation-size", "16"),
    *("--vae.depth", "2", "--vae.base-channels", "4", "--vae.latent-dim", "4", "--no-progress"),
    *("--train.steps", "4", "--train.batch-size", "16", "--train.warmup-steps", "2", "--train.evaluate-every", "2"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    rows = ("recipe", "start", "random", "small_batch", "floor")
    return study.main([*SMALL, "--levers", *rows, "--runs-dir", str(runs), "--name", "small"]).parent


def rows(run: Path) -> dict:
    return {row["lever"]: row for row in json.loads((run / "results.json").read_text())["rows"]}


def test_each_row_has_nats_and_auc_and_stands_in_the_table(finished):
    found = rows(finished)
    assert list(found) == ["recipe", "start", "random", "small_batch", "floor"]
    table = (finished / "levers.md").read_text()
    for row in found.values():
        assert row["nats"]["nelbo"] == pytest.approx(sum(row["nats"][key] for key in "dam"), rel=1e-5)
        assert all(0 <= row["auc"][key] <= 1 for key in TERMS)
        assert f"| {row['title']} | {row['steps']:,} | {row['nats']['nelbo']:,.0f} |" in table
    assert found["start"]["nats"] != found["recipe"]["nats"]
    assert found["random"]["nats"]["nelbo"] > found["recipe"]["nats"]["nelbo"]


def test_a_row_was_measured_on_what_it_has_trained(finished):
    row, records = rows(finished)["recipe"], MetricsLog(finished / "models" / "recipe" / "metrics.jsonl").read()
    (last,) = [record for record in records if record.get("step") == 4 and "held_out" in record]
    assert last["held_out"]["loss"] == pytest.approx(row["nats"]["nelbo"], rel=1e-5)


def test_every_row_trains_on_as_many_images_with_one_thing_changed():
    config = PRESETS["paper"]
    base = lever(config, "recipe")
    assert (base.vae, base.train) == (config.vae, config.train)
    budget = config.train.steps * config.train.batch_size
    for name in config.levers:
        changed = lever(config, name)
        assert changed.train.steps * changed.train.batch_size == budget
        assert name in ("recipe", "start") or (changed.vae, changed.train) != (base.vae, base.train)


def test_more_rows_go_on_in_the_same_folder(finished, monkeypatch):
    before = rows(finished)
    page = study.main(
        [*SMALL, "--levers", "recipe", "rate_low", "--runs-dir", str(finished.parents[1]), "--name", "small"]
    )
    after = rows(page.parent)
    assert list(after) == ["recipe", "rate_low"]
    assert after["recipe"] == before["recipe"]
    assert page.read_text().count("<img") == 2
