"""Errors of all commands in one line, wrong command lines, and help."""

import shutil

import pytest

from jaxunreg.cli.main import main
from tests.cli.drawn_files import TINY, good, odd, write


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["fit", "DATA/missing", "--output", "NEW"], "missing does not exist; expected a folder of images"),
        (
            ["fit", "DATA", "--output", "NEW", *TINY, "--false-positive-rate", "0.01"],
            "expected at least 99 held-out parts for a --false-positive-rate of 0.01; raise --false-positive-rate to",
        ),
        (["fit", "DATA", "--output", "DATA", *TINY], "already used for something else"),
        (["fit", "DATA", "--output", "NEW"], "12x15 pixels (and 33 more files); expected at least 16x16"),
        (["score", "DATA", "--model", "NEW"], "is not a folder; expected one that `jaxunreg fit` wrote"),
        (["score", "DATA/nothing.png", "--model", "MODEL"], "nothing.png does not exist"),
        (["score", "--model", "MODEL"], "got nothing to score"),
        (["evaluate", "DATA/good", "--model", "MODEL"], "got 7 normal and 0 defective images to evaluate on"),
        (["evaluate", "DATA", "--model", "MODEL", "--output", "DATA"], "expected a folder outside of it"),
        (["evaluate", "DATA", "--model", "MODEL", "--output", "MODEL"], "already used for something else"),
    ],
)
def test_an_error_is_one_line_and_says_what_to_do(command, message, parts, model, tmp_path, capsys):
    places = {"DATA": str(parts), "MODEL": str(model), "NEW": str(tmp_path / "new")}
    command = [part.replace(*name) for part in command for name in [_place(part, places)]]
    assert main(command) == 1
    out, err = capsys.readouterr()
    assert out == ""
    [error] = [line for line in err.splitlines() if line.startswith("error:")]
    assert message in error
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()


def _place(part: str, places: dict[str, str]) -> tuple[str, str]:
    return next(((name, path) for name, path in places.items() if part.split("/")[0] == name), ("\0", ""))


def test_a_wrong_command_line_is_a_usage_error(capsys):
    for command in ([], ["score"], ["fit", "x"], ["paint"], ["fit", "x", "--output", "y", "--stride", "0"]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", ["fit", "score", "evaluate"])
def test_help_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"  jaxunreg {command} " in text
    assert "Exit codes:\n  0 " in text
    assert ("  3    at least one image is anomalous" in text) == (command == "score")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert f"jaxunreg {command} " in capsys.readouterr().out


def test_names_are_taken_literally(model, tmp_path, capsys):
    """No name of a file or of a defect is read as mathematics, as markup or as an emoji."""
    data, maps = tmp_path / "$data^$", tmp_path / "maps"
    for k in range(2):
        write(data / "good" / f"{k}.png", good(500 + k))
        write(data / "scratch [deep] :bug: $^$" / f"a[!b] $^$ {k}.png", odd(500 + k))
    name = "scratch [deep] :bug: $^$"
    assert main(["score", str(data / name), "--model", str(model), "--heat-maps", str(maps)]) == 3
    assert len(list(maps.glob("*.png"))) == 2
    capsys.readouterr()
    run = ["evaluate", str(data), "--model", str(model), "--bootstrap", "5", "--output", str(tmp_path / "report")]
    assert main(run) == 0
    assert name in capsys.readouterr().out


def test_a_damaged_model_is_not_to_be_repaired_by_hand(model, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "model" / "0")
    assert main(["score", str(tmp_path), "--model", str(tmp_path / "model")]) == 1
    err = capsys.readouterr().err
    assert "no checkpoint in it" in err
    assert "copy it again, or train again into another folder" in err


def test_a_list_of_images_may_be_learned_from_and_its_rows_are_named(parts, model, tmp_path, capsys):
    rows = [f"{path},good,good/{path.stem}" for path in sorted((parts / "good").glob("*.png"))]
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(["path,label,group", *rows]))
    # The same images, so the same model: it is finished already.
    assert main(["fit", str(listed), "--output", str(model), "--test-fraction", "0.25", *TINY]) == 0
    assert "is finished already" in capsys.readouterr().err
    listed.write_text("\n".join(["path,label,group", *rows[:3], f"{parts / 'crack' / '0.png'},,x"]))
    assert main(["fit", str(listed), "--output", str(tmp_path / "new"), *TINY]) == 1
    assert (
        "list.csv: row 5, column 'label': is empty; expected good, or the name of a defect" in capsys.readouterr().err
    )
