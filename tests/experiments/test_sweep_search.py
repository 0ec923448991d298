"""The settings that a sweep tries: declared spaces, grids and searches."""

import numpy as np
import pytest

from experiments.sweep.search import Grid, OptunaSearch
from experiments.sweep.space import Range, Space, read_space


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
