"""The pages: what they show runs, what they quote is what was measured, and what they point to is there."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from results.tables.pages import PAGES, ROOT, filled
from results.tables.quoted import QUOTED

README = (ROOT / "README.md").read_text(encoding="utf-8")


def python_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_python_of_the_readme_runs():
    names: dict = {}
    for code in python_of("README.md"):
        exec(code, names)
    assert names["terms"].m.shape == (256,)
    assert set(np.asarray(names["suspicious"])) == set(np.argsort(-np.asarray(names["terms"].m))[:10])
    assert jnp.any(names["saliency"] != 0)
    np.testing.assert_allclose(names["shard"](names["images"]).m, names["terms"].m, rtol=1e-3)


@pytest.mark.slow
def test_the_python_of_the_tutorial_runs(capsys):
    names: dict = {}
    for code in python_of("docs/tutorials/composing.md"):
        # A model on disk is the result of `jaxunreg fit`, which other tests run.
        if "AnomalyDetector.load" not in code:
            exec(code, names)
    assert names["batch"].m.shape == (256,)
    assert names["heat"].shape == (100, 140)
    assert "40 held-out normal images" in capsys.readouterr().out
    np.testing.assert_allclose(names["sharded"].m, names["batch"].m, rtol=1e-3)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_pages_tables_are_those_of_the_committed_results(page):
    text = page.read_text(encoding="utf-8")
    assert filled(text, QUOTED) == text, "run: python -m results.tables"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_points_to_is_there(page):
    # The site adds these to what lies in `docs/` (docs/site.py).
    added = {"CHANGELOG.md", "reference/command-line.md", "results/README.md"}
    added |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "results").glob("*.png")}
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists() or target.lstrip("./") in added, target


def test_every_table_is_quoted():
    named = {name for page in PAGES for name in re.findall(r"<!-- table: (\w+) -->", page.read_text(encoding="utf-8"))}
    assert named == set(QUOTED)


def test_the_readme_is_read_at_one_sitting():
    assert len(README.splitlines()) <= 150
