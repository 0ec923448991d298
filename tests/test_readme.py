"""What the README shows runs, and the numbers it quotes are those of the committed results."""

import dataclasses
import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.levers import page as levers
from experiments.manufacturing import tables as manufacturing
from jaxunreg.decomposition import LETTERS, TERMS
from jaxunreg.reports.text_tables import as_markdown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def committed(pattern: str) -> list:
    """The contents of the files in `results/` whose name fits, at least one."""
    paths = sorted((ROOT / "results").glob(pattern))
    assert paths, pattern
    return [json.loads(path.read_text()) for path in paths]


def test_the_python_of_the_readme_runs(capsys):
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(code, names)
    assert names["terms"].m.shape == (256,)
    assert set(np.asarray(names["suspicious"])) == set(np.argsort(-np.asarray(names["terms"].m))[:10])
    assert jnp.any(names["saliency"] != 0)
    assert "256 held-out normal images" in capsys.readouterr().out
    assert [m.shape for m in names["maps"]] == [(1, 1), (1, 1)]


@pytest.mark.parametrize("term", TERMS)
def test_the_table_quotes_the_committed_results(term):
    """Each row `| VAE, M | 0.xxx | ... |` has the AUC of each seed, their mean, and what the digit explains."""
    runs = committed("svhn_toy-paper-seed*.json")
    for model, label in (("vae", "VAE"), ("gmm", "GMM")):
        (row,) = re.findall(
            rf"^\| {label}, {LETTERS[term]} \|(.*)\|$", README[: README.index("### Magnetic tiles")], re.MULTILINE
        )
        quoted = [cell.strip(" *") for cell in row.split("|")]
        values = [run["auc"][model][term]["value"] for run in runs]
        explained = [run["explained_by_class"][model][term] for run in runs]
        assert quoted[: len(runs)] == [f"{value:.3f}" for value in values]
        assert quoted[len(runs)] == f"{np.mean(values):.3f}"
        assert quoted[len(runs) + 1] == f"{100 * np.mean(explained):.1f} %"


def test_the_distance_to_l_and_the_nats_are_those_of_the_committed_results():
    runs = committed("svhn_toy-paper-seed*.json")
    scores = [run["auc"]["vae"] for run in runs]
    gap = np.mean([score["m"]["value"] - score["nelbo"]["value"] for score in scores])
    nats = np.mean([run["mean_nats"]["vae"]["nelbo"]["normal"] for run in runs])
    assert f"{gap:.3f} above L in the mean" in README
    assert f"negative ELBO is {nats:,.0f} nats" in README


def test_the_stability_is_that_of_the_committed_results():
    runs = committed("svhn_toy-paper-seed*.json")
    moved = max(run["late_auc"]["m"]["high"] - run["late_auc"]["m"]["low"] for run in runs)
    spread = np.ptp([run["auc"]["vae"]["m"]["value"] for run in runs])
    assert f"moves by at most {moved:.3f}" in README
    assert f"seeds {spread:.3f} apart" in README


def test_the_choice_of_the_recipe_is_quoted_from_the_committed_results():
    aucs = [run["rows"][0]["auc"] for run in committed("levers-recipe-seed*.json")]
    m = ", ".join(f"{auc['m']:.3f}" for auc in aucs)
    gap = ", ".join(f"{auc['m'] - auc['nelbo']:.3f}" for auc in aucs)
    assert f"M {m} for the three seeds, and {gap} between M and L" in " ".join(README.split())


def test_the_quick_preset_is_quoted_from_the_committed_results():
    (run,) = committed("svhn_toy-quick.json")
    nelbo, m, mixture = (
        run["auc"][model][key]["value"] for model, key in (("vae", "nelbo"), ("vae", "m"), ("gmm", "m"))
    )
    text = " ".join(README.split())
    assert f"L {nelbo:.3f} and M {m:.3f} for the VAE and M {mixture:.3f} for the mixture" in text
    assert f"in {run['timings']['this_invocation']:.0f} s on two cores" in text


def test_the_levers_are_those_of_the_committed_results():
    (results,) = committed("levers-paper.json")
    assert as_markdown(levers.table(results)).strip() in README


def test_fig_9_is_quoted_from_the_committed_results():
    (run,) = committed("svhn_toy-paper-seed0.json")
    text = " ".join(README.split())
    for key, score in (("auc_by_latent_dim", "m"), ("auc_by_latent_dim", "nelbo"), ("auc_by_components", "m")):
        assert ", ".join(f"{scores[score]['value']:.3f}" for scores in run[key].values()) in text


def test_the_manufacturing_study_is_quoted_as_it_was_run():
    (run,) = committed("manufacturing-quick.json")
    rows = run["rows"]
    text = " ".join(README.split())
    for model, score, words in (
        ("features", "m", "M on features is"),
        ("gaussian", "m", "of its Gaussian alone"),
        ("padim", "score", "of PaDiM"),
        ("patchcore_10", "score", "of PatchCore (10 %)"),
        ("vae", "m", "M there is"),
        ("vae", "nelbo", "of L"),
        ("ae", "nelbo", "of the AE"),
    ):
        (row,) = [row for row in rows if (row["model"], row["score"]) == (model, score)]
        assert f"{words} {np.mean([trial['auc']['value'] for trial in row['trials']]):.3f}" in text


def test_the_magnetic_tiles_are_quoted_from_the_committed_results():
    (results,) = committed("manufacturing-magnetic_tile.json")
    table = manufacturing.table_one(results)
    names = (
        *("model", "score", "ROC AUC", "average precision", "pixel ROC AUC", "AUPRO"),
        "rank correlation with complexity",
    )
    rows = [[row[table.header.index(name)] for name in names] for row in table.rows]
    assert as_markdown(dataclasses.replace(table, header=names, rows=rows)).strip() in README
    assert as_markdown(manufacturing.by_defect(results)).strip() in README
    (trials,) = [row["trials"] for row in results["rows"] if (row["model"], row["score"]) == ("vae", "m")]
    top = [np.mean([trial["validation_auc_by_top_k"][k] for trial in trials]) for k in ("1", "2", "5", "10", "20")]
    assert f"M has {', '.join(f'{value:.3f}' for value in top)} on the validation" in " ".join(README.split())


def test_the_table_of_speeds_is_that_of_the_committed_benchmark():
    (rows,) = committed("throughput.json")
    lines = []
    for row in rows:
        cells = [
            row["network"],
            row["phase"],
            row["dtype"],
            {"eager": "PyTorch", "jaxunreg float32": "our float32"}[row["peer"]],
            f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})",
            f"{row['images_per_second']:,.0f}",
            f"{row['peer_images_per_second']:,.0f}",
            f"{row['gflops']:,.0f}",
            f"{100 * row['share_of_matmul']:.0f}%",
            f"{row['compile_seconds']:.1f} s / {row['compile_seconds_warm']:.1f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    assert re.findall(r"^\| (?:toy|large) \|.*$", README, re.MULTILINE) == lines


def test_the_sweeps_speeds_are_those_of_the_committed_benchmark():
    (rows,) = committed("sweep.json")
    many = [row for row in rows if row["members"] == 32 and not row["vectorize"]]
    paragraph = README[README.index("results/sweep.png") :].split("```")[0]
    quoted = re.findall(r"[\d.]+ \([\d.]+-[\d.]+\)", " ".join(paragraph.split()))
    assert quoted == [f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})" for row in many]
    assert [(row["network"], row["devices"]) for row in many] == [
        *(("small", 1), ("small", 8)),
        *(("medium", 1), ("medium", 8)),
    ]


def test_every_file_that_the_readme_points_to_is_there():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
