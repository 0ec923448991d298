"""What each part of the toy study's recipe is worth: one lever a row, the same number of training images in each.

    python -m experiments.levers --preset quick     # the quick preset's network on the embedded digits
    python -m experiments.levers --preset paper     # the paper's network on SVHN

A row trains a short form of the recipe of `experiments.svhn_toy` with one thing changed, and measures nats and ROC AUC
on training digits that are held out, once with and once without a square. The test digits are not looked at. Every
field of `LeversConfig` is an option (`--help`). A run writes `runs/levers/<name>/` (configuration, results, the table
as CSV, Markdown and LaTeX, learning curves, `index.html`) and goes on where it stopped when it is started again.
"""

import dataclasses
import functools
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import numpy as np

import jaxunreg as ju
from experiments import runs, svhn_toy
from experiments.runs import Run, console
from experiments.toy_data import Data, Scores, as_arrays, describe_data, load_toy_data, score, scores_of
from jaxunreg import plots
from jaxunreg.datasets.digits.erasing import EraseConfig
from jaxunreg.metrics.ranking import roc_auc
from jaxunreg.reports.figures import Figures
from jaxunreg.reports.page import write_page
from jaxunreg.reports.tables import Table
from jaxunreg.reports.text_tables import as_markdown, write_table
from jaxunreg.training.state import starting_state

EXPERIMENT = "levers"
LeverName: TypeAlias = Literal[
    "recipe",
    "start",
    "random",
    "random_fast",
    "batch_statistics",
    "rate_low",
    "rate_high",
    "rate_far",
    "warmup",
    "small_batch",
    "large_batch",
    "floor",
    "kl_warmup",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeversConfig:
    """Everything that a run depends on.

    Attributes:
      preset: which set of defaults to start from; every other option overrides it.
      seed: seed of the networks and of everything that is drawn in training.
      dataset: `auto` takes SVHN where it is prepared or can be fetched, and otherwise the embedded digits, with a
        warning.
      data_dir: folder with a local copy of SVHN, the official `.mat` pair or an `.npz` pair.
      train_size: training images, all by default.
      test_size: test images, of which none is looked at.
      data_seed: seed of the embedded digits and of subsets.
      validation_size: training digits that are held out, and that every number is measured on.
      erase: the toy anomaly.
      vae: the VAE's network.
      train: the recipe.
      levers: which rows to run.
      runs_dir: folder of all runs.
      name: folder of this run in it; by default preset, data set and seed.
      progress: show progress bars.
    """

    preset: Literal["quick", "paper"] = "quick"
    seed: int = 0
    dataset: Literal["auto", "svhn", "synth_digits"] = "auto"
    data_dir: Path | None = None
    train_size: int | None = None
    test_size: int | None = None
    data_seed: int = 0
    validation_size: int = 2000
    erase: EraseConfig = EraseConfig()
    vae: ju.VAEConfig = ju.VAEConfig()
    train: ju.TrainConfig = ju.TrainConfig()
    levers: tuple[LeverName, ...] = get_args(LeverName)
    runs_dir: Path = Path("runs")
    name: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if not self.levers:
            raise ValueError("got no levers; expected at least one")

    @property
    def directory(self) -> Path:
        """Where the run's files go."""
        return self.runs_dir / EXPERIMENT / (self.name or f"{self.preset}-{self.dataset}-seed{self.seed}")


def _preset(name: Literal["quick", "paper"], train: Mapping[str, Any], **rest: Any) -> LeversConfig:
    toy, quarter = svhn_toy.PRESETS[name], train["steps"] // 4
    changed = dataclasses.replace(toy.vae_train, **train, evaluate_every=quarter, checkpoint_every=quarter)
    return LeversConfig(preset=name, vae=toy.vae, train=changed, **rest)


PRESETS = {
    "quick": _preset(
        "quick", {"steps": 200, "warmup_steps": 50}, train_size=6_000, test_size=1_000, validation_size=1_000
    ),
    # The toy study's own recipe has since taken the lower rate and the smaller batches together, and more steps.
    "paper": _preset("paper", {"steps": 400, "batch_size": 128, "learning_rate": 1e-5, "warmup_steps": 150}),
}

LeversRun: TypeAlias = Run[LeversConfig]


class Lever(NamedTuple):
    """One change of the recipe."""

    title: str
    vae: ju.VAEConfig
    train: ju.TrainConfig


def lever(config: LeversConfig, name: LeverName) -> Lever:
    """The recipe with one thing changed; the number of images that it trains on stays, to rounding.

    >>> lever(PRESETS["paper"], "small_batch").title
    'batches of 64 in place of 128'
    """
    vae, train = config.vae, config.train
    change = functools.partial(dataclasses.replace, train)
    rate, steps, warmup = train.learning_rate, train.steps, train.warmup_steps
    random: dict[str, Any] = {"start": "random", "batch_statistics": "batch"}
    # Twice the steps of half the batch, or the other way round.
    half = {"batch_size": train.batch_size // 2, "steps": 2 * steps, "warmup_steps": 2 * warmup}
    double = {"batch_size": 2 * train.batch_size, "steps": steps // 2, "warmup_steps": warmup // 2}
    rows: dict[LeverName, tuple[str, ju.VAEConfig, ju.TrainConfig]] = {
        "recipe": ("the recipe", vae, train),
        "start": ("its start, without training", vae, train),
        "random": ("random weights, batch statistics", vae, change(**random)),
        "random_fast": ("the same at a learning rate of 1e-3", vae, change(**random, learning_rate=1e-3)),
        "batch_statistics": ("each batch's own statistics", vae, change(batch_statistics="batch")),
        "rate_low": (f"learning rate {rate / 3:.0e}", vae, change(learning_rate=rate / 3)),
        "rate_high": (f"learning rate {rate * 2:.0e}", vae, change(learning_rate=rate * 2)),
        "rate_far": (f"learning rate {rate * 10:.0e}", vae, change(learning_rate=rate * 10)),
        "warmup": ("no warm-up of the learning rate", vae, change(warmup_steps=0)),
        "small_batch": (f"batches of {half['batch_size']} in place of {train.batch_size}", vae, change(**half)),
        "large_batch": (f"batches of {double['batch_size']} in place of {train.batch_size}", vae, change(**double)),
        "floor": (
            f"log-variance floor -8 in place of {vae.x_log_var_min:g}",
            dataclasses.replace(vae, x_log_var_min=-8.0),
            train,
        ),
        "kl_warmup": ("weight of D warmed up over the first half", vae, change(kl_warmup_steps=steps // 2)),
    }
    return Lever(*rows[name])


def main(args: list[str] | None = None) -> Path:
    """Run the study; returns the path of the page."""
    args = sys.argv[1:] if args is None else args
    config = runs.parse(PRESETS, args, experiment=EXPERIMENT, description=__doc__)
    began = time.perf_counter()
    run = runs.open_run(config.directory, config, args, experiment=EXPERIMENT, free=("levers",))
    with run.removed_if_refused():
        data = load_toy_data(config)
        run.record_data(describe_data(data.dataset))
    scores = {name: train_lever(run, data, name) for name in config.levers}
    results = summarise(run, scores)
    results["timings"]["this_invocation"] = time.perf_counter() - began
    run.write_json("results.json", results)
    found = table(results)
    write_table(run.directory, "levers", found)
    page = draw(run, data, results, args)
    console.print(as_markdown(found), highlight=False, markup=False, soft_wrap=True)
    console.print(f"results: {run.directory / 'results.json'}", markup=False)
    print(page)
    return page


def train_lever(run: LeversRun, data: Data, name: LeverName) -> Scores:
    """Scores of the held-out digits after training with one thing changed; read back where that was done before."""
    config = run.config
    changed = lever(config, name)
    model, key = ju.VAE(changed.vae), jax.random.key(config.seed)

    def measure(variables: Any) -> Scores:
        return score(ju.make_scorer(model, variables), data.validation, data.validation_erased)

    def compute() -> dict[str, np.ndarray]:
        if name == "start":
            return as_arrays(measure(starting_state(model, changed.train, key, data.train).variables))
        state = ju.fit(
            model,
            data.train,
            changed.train,
            key=key,
            held_out=data.validation,
            evaluate=lambda variables: {"auc": aucs(measure(variables))},
            directory=run.directory / "models" / name,
            progress=config.progress,
            description=name,
        )
        return as_arrays(measure(state.variables))

    return scores_of(run.stage(name, compute))


def aucs(scores: Scores) -> dict[str, float]:
    """ROC AUC of each score."""
    return {key: roc_auc(*pair, bootstrap=1).value for key, pair in scores.items()}


def summarise(run: LeversRun, scores: Mapping[LeverName, Scores]) -> dict[str, Any]:
    """The content of `results.json`."""
    config, record = run.config, run.record
    return {
        "experiment": EXPERIMENT,
        "preset": config.preset,
        "seed": config.seed,
        "command": record["command"],
        "data": record["data"],
        "validation": config.validation_size,
        "images": config.train.steps * config.train.batch_size,
        "rows": [
            {
                "lever": name,
                "title": lever(config, name).title,
                "steps": 0 if name == "start" else lever(config, name).train.steps,
                "nats": {key: float(np.mean(pair[0], dtype=np.float64)) for key, pair in found.items()},
                "auc": aucs(found),
            }
            for name, found in scores.items()
        ],
        "timings": {name: round(seconds, 2) for name, seconds in run.timings.items()},
        "versions": record["versions"],
        "device": record["device"],
    }


def table(results: Mapping[str, Any]) -> Table:
    """The table, from `results.json`."""
    return Table(
        "One lever a row",
        ["lever", "steps", "negative ELBO, nats", "AUC of L", "AUC of M", "M - L"],
        [
            [
                row["title"],
                f"{row['steps']:,}",
                f"{row['nats']['nelbo']:,.0f}",
                row["auc"]["nelbo"],
                row["auc"]["m"],
                row["auc"]["m"] - row["auc"]["nelbo"],
            ]
            for row in results["rows"]
        ],
        best=None,
        note=f"Each row that trains does so on about {results['images']:,} images, and each is measured on "
        f"{results['validation']:,} training digits that were held out, each once with and once without a square.",
    )


def draw(run: LeversRun, data: Data, results: Mapping[str, Any], args: list[str]) -> Path:
    """The page: the table, and the learning curve of each row."""
    config, fallback = run.config, data.dataset
    figures = Figures(run.directory / "figures")
    for row in results["rows"]:
        records = run.training_records(row["lever"])
        if not records:
            continue
        figures.add(
            row["lever"],
            row["title"][:1].upper() + row["title"][1:],
            plots.training_curves(records, title=row["title"]),
            "The objective and its terms, as means per image, on training batches (with a sampled latent) and on "
            "the held-out digits (at the posterior mean), and the ROC AUC on those once with and once without a "
            "square.",
        )
    best = max(results["rows"], key=lambda row: row["auc"]["m"])
    page = run.directory / "index.html"
    write_page(
        page,
        title="What each part of the recipe is worth",
        subtitle=f"{fallback.name}, preset {config.preset}, seed {config.seed}",
        command=runs.command_line(EXPERIMENT, args),
        warning=fallback.fallback_reason if fallback.fell_back else None,
        summary=f"Of {len(results['rows'])} rows the highest ROC AUC of M, {best['auc']['m']:.3f}, is that of: "
        f"{best['title']}.",
        tables=[table(results)],
        sections=figures.sections,
        details={
            "data set": f"{fallback.name}: {fallback.source}",
            "SHA-256 of the data": fallback.fingerprint,
            "device": results["device"],
            "versions": ", ".join(f"{package} {number}" for package, number in results["versions"].items()),
            "seconds by row": ", ".join(f"{name} {seconds:.1f}" for name, seconds in results["timings"].items()),
        },
        config=run.record["config"],
    )
    return page


if __name__ == "__main__":
    runs.run_command(main)
