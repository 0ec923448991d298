"""What the command line makes of an error: a line for what a user can mend, a traceback for a bug."""

from collections.abc import Sequence

import jax
import pytest

import jaxunreg
from jaxunreg.cli.main import main
from jaxunreg.errors import ArgumentError, CheckpointError, NonFiniteLossError, argument
from tests.cli.drawn_files import TINY


@pytest.fixture
def failing(parts, tmp_path, monkeypatch):
    """Runs `fit`, with more words anywhere, where it fails by an error."""

    def run(error: BaseException, *, before: Sequence[str] = (), after: Sequence[str] = ()) -> int:
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("jaxunreg.cli.fit.fit_detector", fail)
        return main([*before, "fit", str(parts), "--output", str(tmp_path / "model"), *TINY, *after])

    return run


TOLD = [
    ArgumentError(argument("stride", 0), "at least 1"),
    CheckpointError("a folder", "another"),
    NonFiniteLossError("a loss of nan", "a number"),
    FileNotFoundError(2, "No such file or directory", "a.png"),
    MemoryError("9 bytes"),
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 bytes\nmore"),
]


@pytest.mark.parametrize("error", TOLD, ids=lambda error: type(error).__name__)
def test_what_a_user_can_mend_is_told_in_one_line(error, failing, capsys):
    assert failing(error) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line for line in err.splitlines() if line.startswith("error: ")] == err.splitlines()[-1:]
    assert "Traceback" not in err
    assert "report it" not in err


@pytest.mark.parametrize("error", TOLD, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["before", "after"])
def test_its_traceback_is_shown_on_demand(error, place, failing, capsys):
    failing(error)
    line = capsys.readouterr().err.splitlines()[-1]
    assert failing(error, **{place: ["--debug"]}) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last):" in err
    assert "in fail" in err
    assert err.splitlines()[-1] == line


@pytest.mark.parametrize("kind", [ValueError, TypeError, KeyError, RuntimeError, AssertionError, ZeroDivisionError])
def test_a_bug_shows_its_traceback_and_asks_to_be_reported(kind, failing, capsys):
    assert failing(kind("odd")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback (most recent call last):" in err
    assert f"{kind.__name__}: " in err
    assert "this is a bug in jaxunreg; please report it" in err.splitlines()[-1]


def test_another_failure_of_the_device_is_a_bug(failing, capsys):
    assert failing(jax.errors.JaxRuntimeError("INTERNAL: odd")) == 1
    assert "this is a bug in jaxunreg" in capsys.readouterr().err


def test_the_traceback_of_a_refused_option_is_shown_on_demand(tmp_path, capsys):
    words = ["fit", str(tmp_path), "--output", str(tmp_path / "new"), "--space", "pixels", "--stride", "0"]
    for position in range(len(words) + 1):
        with pytest.raises(SystemExit) as stop:
            main([*words[:position], "--debug", *words[position:]])
        assert stop.value.code == 2
        err = capsys.readouterr().err
        assert "Traceback (most recent call last):" in err
        assert err.splitlines()[-1].startswith("error: got --stride 0; expected 1 to 96")


def test_an_error_around_the_command_line_is_not_taken_for_its_own(capsys):
    """A wrong command line is told by its parser, wherever it was called from."""
    try:
        raise ArgumentError("something else", "nothing")
    except ArgumentError:
        with pytest.raises(SystemExit):
            main(["fit"])
    err = capsys.readouterr().err
    assert "something else" not in err
    assert "--output" in err


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxunreg {jaxunreg.__version__}\n"
