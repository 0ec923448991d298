"""Commands whose standard streams are closed, or whose user has no home."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from jaxunreg import compilation
from jaxunreg.cli.main import main
from tests.cli.drawn_files import good, write

ROOT = Path(__file__).parents[2]


def close_stdout(monkeypatch):
    """Closes it as Python sees it, from within a test, since pytest opens it anew before. Its number is pytest's."""
    monkeypatch.setattr(sys, "stdout", None)
    numbers = SimpleNamespace(open=lambda *_: 3, close=lambda _: None, devnull=os.devnull, O_RDWR=os.O_RDWR)
    monkeypatch.setattr("jaxunreg.cli.streams.os", numbers)


def test_rows_have_nowhere_to_go_where_stdout_is_closed(model, normal_image, monkeypatch, capsys):
    close_stdout(monkeypatch)
    assert main(["score", str(normal_image), "--model", str(model)]) == 1
    err = capsys.readouterr().err
    assert "got a closed stdout; expected one for the rows; open it, or give --output FILE" in err.splitlines()[-1]


def test_a_help_that_nobody_can_read_is_no_error(monkeypatch, capsys):
    close_stdout(monkeypatch)
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().err == ""


def test_no_later_file_gets_the_number_of_a_closed_stream():
    """What libraries write to stdout or stderr by its number would land in it."""
    program = (
        "import os; from jaxunreg.cli.streams import prepare_streams; prepare_streams();"
        "raise SystemExit(os.open(os.devnull, os.O_RDONLY))"
    )
    command = f'exec "{sys.executable}" -c "{program}" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", command], env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode > 2


def test_a_user_without_a_home_keeps_no_compiled_programs(monkeypatch):
    monkeypatch.undo()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(
        Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory."))
    )
    monkeypatch.setattr(compilation, "_OPTION", "jax_xla_profile_version")
    monkeypatch.setattr(type(jax.config), "jax_xla_profile_version", None, raising=False)
    assert compilation.keep_compiled() is None


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["fit", "", "--output", "x"], ""),
        (["fit", "x", "--output", ""], " after --output"),
        (["fit", "x", "--output="], " after --output"),
        (["score", "x", "", "--model", "m"], ""),
        (["score", "x", "--model", ""], " after --model"),
        (["score", "x", "--model", "m", "--output", ""], " after --output"),
        (["score", "x", "--model", "m", "--heat-maps="], " after --heat-maps"),
        (["evaluate", "x", "--model", "m", "--output", ""], " after --output"),
    ],
)
def test_an_empty_word_is_not_the_current_folder(words, option, tmp_path, monkeypatch, capsys):
    write(tmp_path / "0.png", good(0))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    message = (
        f"error: got an empty word{option}; expected a path or a value; look whether a variable of the shell is empty"
    )
    assert capsys.readouterr().err.splitlines() == [message]
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_a_device_that_is_not_there_is_no_bug(monkeypatch, capsys):
    def missing(*_, **__):
        raise AssertionError

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr("jaxunreg.cli.fit.load_folder", missing)
    monkeypatch.setattr(jax, "devices", missing)
    assert main(["fit", "x", "--output", "y"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "error: JAX finds no device: AssertionError; JAX_PLATFORMS is cuda; unset it, or set it to cpu" in err
