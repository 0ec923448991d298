"""What a command imports before it does anything, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxunreg as ju

ROOT = Path(__file__).parents[2]

HELP = """
import sys
from jaxunreg.cli.main import main
try:
    main({words!r})
except SystemExit as stop:
    assert stop.code == 0
print(*sys.modules, file=sys.stderr)
"""


def imported(code: str) -> set[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_list_of_commands_takes_none_of_what_they_compute_with():
    assert not imported(HELP.format(words=["--help"])) & {"jax", "numpy", "scipy", "flax", "PIL"}


@pytest.mark.parametrize("command", ["fit", "score", "evaluate"])
def test_a_help_takes_none_of_what_only_a_page_needs(command):
    found = imported(HELP.format(words=[command, "--help"]))
    assert "jax" in found
    assert not found & {"sklearn", "matplotlib", "tensorflow_datasets", "torch"}
    if command == "score":
        assert not found & {"flax", "optax", "orbax", "scipy"}  # Detectors of features need none of them.


def test_the_collector_leaves_the_modules_alone_in_a_process_of_the_command_only():
    program = """
import gc, sys
from jaxunreg.cli.main import main
main(["score", "none.png", "--model", "none"])
print(gc.get_freeze_count() > 0)
sys.argv = ["jaxunreg", "score", "none.png", "--model", "none"]
main()
print(gc.get_freeze_count() > 50_000, gc.isenabled())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


def test_the_package_is_imported_when_a_name_of_it_is_asked_for():
    assert "jax" not in imported("import sys, jaxunreg; print(*sys.modules, file=sys.stderr)")
    found = imported("import sys; from jaxunreg import fit_detector; print(*sys.modules, file=sys.stderr)")
    assert "jax" in found
    assert not found & {"sklearn", "matplotlib", "tensorflow_datasets", "torch"}
    with pytest.raises(AttributeError, match="No jaxunreg attribute nothing"):
        _ = ju.nothing
    assert set(ju.__all__) <= set(dir(ju))


def test_the_list_of_commands_says_what_their_docstrings_say(capsys):
    """It is shown without them, and where a wrong option is looked up in them with them."""
    from jaxunreg.cli.parsing import COMMANDS, command_of

    for name, line in COMMANDS.items():
        assert command_of([name]).__doc__.splitlines()[0] == line
