"""How a study's command ends: one line for an error that is no bug, how to go on, or a traceback."""

import pytest

from experiments.commands import run_command
from experiments.manufacturing.config import ManufacturingConfig
from jaxunreg.errors import ArgumentError, argument


def ending(error: BaseException) -> None:
    def fail() -> None:
        raise error

    run_command(fail, ManufacturingConfig)


def test_an_error_names_options_where_the_study_has_them_and_arguments_elsewhere(capsys):
    with pytest.raises(SystemExit, match="1"):
        ending(ArgumentError(argument("top_k", 0), "at least 1", f"see {argument('precision')}"))
    assert capsys.readouterr().err == "error: got --top-k 0; expected at least 1; see precision\n"


def test_what_the_operating_system_says_is_one_line(capsys):
    with pytest.raises(SystemExit, match="1"):
        ending(PermissionError(13, "Permission denied", "runs"))
    assert capsys.readouterr().err == "error: [Errno 13] Permission denied: 'runs'\n"


def test_an_interrupt_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit, match="130"):
        ending(KeyboardInterrupt())
    assert "start the same command again" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [ValueError, TypeError, KeyError])
def test_a_bug_is_not_hidden(kind):
    with pytest.raises(kind, match="a bug"):
        ending(kind("a bug"))
