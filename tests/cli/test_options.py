"""Errors name the options that a user typed: a walk over all of them, and over all fields of the configs."""

import dataclasses
import inspect
import math
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from jaxunreg.cli.main import main
from jaxunreg.cli.options import option_names, with_options
from jaxunreg.cli.parsing import COMMANDS, command_of
from jaxunreg.errors import ArgumentError, JaxunregError, argument
from jaxunreg.inspection.config import DetectorConfig
from tests.cli.drawn_files import TINY

OUT_OF_RANGE = {int: (0, -1, 2**63), float: (-1.0, 2.0, math.nan)}


def fields(config: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name and type of each field of a config and of those in it, and the config that has it."""
    for name, kind in get_type_hints(type(config)).items():
        if dataclasses.is_dataclass(kind):
            yield from fields(getattr(config, name))
        else:
            yield name, kind, config


FIELDS = list(fields(DetectorConfig()))


def refused_value(name: str, kind: Any, config: Any) -> str:
    """A value that the config does not take, as a shell says it."""
    if get_origin(kind) is Literal:
        return "neither"
    [number] = {*OUT_OF_RANGE} & {kind, *get_args(kind)}
    for value in OUT_OF_RANGE[number]:
        try:
            dataclasses.replace(config, **{name: value})
        except JaxunregError:
            return str(value)
    pytest.fail("any value is taken")


def is_named(option: str, name: str, text: str) -> bool:
    """Whether a text has the option, and does not have its Python name."""
    python = name if "_" in name else f"{name}="
    return option in text and python not in text


@pytest.mark.parametrize(("name", "kind", "config"), FIELDS, ids=[name for name, *_ in FIELDS])
def test_a_value_that_a_config_refuses_is_told_by_its_option(name, kind, config, tmp_path, capsys):
    value, option = refused_value(name, kind, config), f"--{name.replace('_', '-')}"
    with pytest.raises(SystemExit) as stop:
        main(["fit", str(tmp_path), "--output", str(tmp_path / "new"), f"{option}={value}"])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert is_named(option, name, err), err
    if get_origin(kind) is not Literal:
        assert err.startswith(f"error: got {option} {value}")
        assert err.count("\n") == 1


def keywords() -> list[tuple[str, str, Any]]:
    """Each command, its options beside those of configs, paths and places to write, and their types."""
    return [
        (command, name, kind)
        for command in COMMANDS
        for name, kind in get_type_hints(command_of([command])).items()
        if name in inspect.signature(command_of([command])).parameters
        and (get_origin(kind) is Literal or {int, float} & {kind, *get_args(kind)})
    ]


@pytest.mark.parametrize(("command", "name", "kind"), keywords())
def test_a_value_that_a_command_refuses_is_told_by_its_option(command, name, kind, parts, model, tmp_path, capsys):
    images, folder, new = str(parts), str(model), str(tmp_path / "new")
    words = {
        "fit": [images, "--output", new, *TINY],
        "recalibrate": [folder, "--normal", images],
        "serve": [folder],
        "watch": [images, "--model", folder, "--output", new],
        "export": [folder, "--output", new],
        "demo": ["--output", new],
    }.get(command, [images, "--model", folder])
    option = f"--{name.replace('_', '-')}"
    if get_origin(kind) is Literal:
        with pytest.raises(SystemExit) as stop:
            main([command, *words, option, "neither"])
        assert stop.value.code == 2
        assert is_named(option, name, capsys.readouterr().err)
        return
    assert main([command, *words, f"{option}=-1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    [error] = [line for line in err.splitlines() if line.startswith("error:")]
    assert error == err.splitlines()[-1]
    assert error.startswith(f"error: got {option} -1")
    assert is_named(option, name, error), error


def test_the_walk_goes_over_all_options():
    walked = {command: set() for command in COMMANDS} | {"fit": {name for name, *_ in FIELDS}}
    for command, name, _ in keywords():
        walked[command].add(name)
    paths = {
        "fit": {"output", "ignore", "region"},
        "score": {"model", "camera", "output", "heat_maps", "masks", "maps", "regions", "drift"},
        "evaluate": {"model", "output"},
        "recalibrate": {"normal", "output", "only_new"},
    }
    for command in paths:
        assert option_names(command_of([command])) == walked[command] | paths[command]


def test_a_run_of_other_settings_is_told_by_its_options():
    error = ArgumentError(f"{argument('train.learning_rate')} was 3e-05, is now 0.001", "the same", field="config")
    wording = with_options(option_names(command_of(["fit"])))
    assert error.worded(wording) == "got --learning-rate was 3e-05, is now 0.001; expected the same"


def test_an_argument_that_is_no_option_of_the_command_keeps_its_name():
    error = ArgumentError(f"{argument('latent_dim', 0)} with {argument('top_k', 3)}", "more")
    worded = {command: error.worded(with_options(option_names(command_of([command])))) for command in COMMANDS}
    assert worded["score"] == "got latent_dim=0 with --top-k 3; expected more"
    assert worded["fit"] == "got --latent-dim 0 with --top-k 3; expected more"
