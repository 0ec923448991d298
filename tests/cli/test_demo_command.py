"""`jaxunreg demo`: the other commands on generated parts."""

import csv

import pytest

from jaxunreg.cli import demo as command
from jaxunreg.cli.main import main
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.inspection.detector import AnomalyDetector


def small_parts(folder, *, train, test, seed):
    """Fewer and smaller ones than the command has, so that the test is quick."""
    return write_parts(folder, train=train, test=test // 4, seed=seed, image_size=(64, 64))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "shown"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxunreg.compilation.keep_compiled", lambda: None)
        patch.setattr(command, "write_parts", small_parts)
        patch.setattr(command, "_RESOLUTION", 96)
        assert main(["demo", "--output", str(folder), "--parts", "80"]) == 0
    return folder


def test_it_leaves_a_model_verdicts_heat_maps_and_a_page(shown, capsys):
    assert AnomalyDetector.load(shown / "model").threshold > 0
    with (shown / "verdicts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4, "good, crack and blowhole"
    assert all((shown / "heat_maps").joinpath(row["heat_map"].split("heat_maps/")[1]).is_file() for row in rows)
    assert (shown / "report" / "index.html").is_file()


def test_it_prints_the_commands_that_it_runs_and_goes_on(shown, capsys, monkeypatch):
    monkeypatch.setattr(command, "_RESOLUTION", 96)
    model = (shown / "model" / "detector.json").read_bytes()
    assert main(["demo", "--output", str(shown), "--parts", "80"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == str(shown / "report" / "index.html")
    assert [line.split()[2] for line in err.splitlines() if line.startswith("$ jaxunreg")] == [
        "fit",
        "score",
        "evaluate",
    ]
    assert (shown / "model" / "detector.json").read_bytes() == model


def test_other_parts_need_another_folder(shown, capsys):
    assert main(["demo", "--output", str(shown), "--parts", "81"]) == 1
    assert "--parts 81 with 80 parts" in capsys.readouterr().err


def test_a_folder_with_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "parts").write_text("mine")
    assert main(["demo", "--output", str(tmp_path)]) == 1
    assert (tmp_path / "parts").read_text() == "mine"
