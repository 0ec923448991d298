"""The settings that a sweep may try: axes with their values, from options or from a file."""

import dataclasses
import itertools
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from jaxunreg.errors import ArgumentError, ArgumentTypeError

Setting: TypeAlias = dict[str, int | float]
"""A value for each axis of a space, without the seed."""

AXES: Mapping[str, type[int] | type[float]] = {
    "base_channels": int,
    "depth": int,
    "latent_dim": int,
    "learning_rate": float,
    "weight_decay": float,
    "kl_weight": float,
}
"""The axes of a sweep and their types. The first two change the shape of the network; see `group_trials`."""


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval of values with both ends. They are integers if the axis has integers.

    Attributes:
      low: lower end.
      high: upper end.
      log: draw uniformly in the logarithm.

    Raises:
      ArgumentError: an end is not finite, `low` is not below `high`, or a logarithmic range does not begin above zero.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ArgumentError(f"a range from {self.low} to {self.high}", "finite ends, low < high")
        if self.log and self.low <= 0:
            raise ArgumentError(f"a logarithmic range from {self.low}", "it to begin above zero")


@dataclasses.dataclass(frozen=True)
class Space:
    """Axes with their values, and the seeds under which every setting is trained.

    Attributes:
      axes: for each name from `AXES` a list of values, or a `Range`, from which only a search can draw.
      seeds: seeds of the networks.

    Raises:
      ArgumentTypeError: a value of another type than its axis has.
      ArgumentError: an axis does not exist, has no values or a value twice, or there are no seeds.

    >>> Space({"latent_dim": (20, 100)}, seeds=(0, 1)).grid()
    [{'latent_dim': 20}, {'latent_dim': 100}]
    """

    axes: Mapping[str, tuple[int | float, ...] | Range]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, values in self.axes.items():
            if name not in AXES:
                raise ArgumentError(f"an axis {name!r}", f"one of {sorted(AXES)}")
            given = (values.low, values.high) if isinstance(values, Range) else values
            _check_values(name, given, AXES[name])
        _check_values("seeds", self.seeds, int)

    def grid(self) -> list[Setting]:
        """Return every combination of the axes' values, with the last axis fastest.

        Raises:
          ArgumentError: an axis is a range, which has no end of values.
        """
        values = []
        for name, axis in self.axes.items():
            if isinstance(axis, Range):
                raise ArgumentError(
                    f"a range for {name} in a grid",
                    "a list of values",
                    "give one, or search with --search random or --search tpe",
                    field=name,
                )
            values.append([AXES[name](value) for value in axis])
        return [dict(zip(self.axes, combination, strict=True)) for combination in itertools.product(*values)]


def read_space(path: Path, seeds: tuple[int, ...]) -> Space:
    """Read a space from a TOML or JSON file: for each axis a list or `{low, high, log}`, and optionally `seeds`.

    Args:
      path: the file.
      seeds: the seeds if the file has none.

    Raises:
      OSError: the file cannot be read.
      ArgumentTypeError, ArgumentError: the content is neither TOML nor JSON, or not a valid space.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "space.toml").write_text("latent_dim = [5, 20]\\nkl_weight = {low = 0.5, high = 2}")
    ...     read_space(Path(folder, "space.toml"), seeds=(0,)).axes
    {'latent_dim': (5, 20), 'kl_weight': Range(low=0.5, high=2, log=False)}
    """
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ArgumentError(f"{path}, which cannot be read: {error}", "TOML, or JSON in a .json file") from error
    if not isinstance(content, dict):
        raise ArgumentError(f"{path}, which holds a {type(content).__name__}", "a table with a key for each axis")
    axes: dict[str, tuple[int | float, ...] | Range] = {}
    for name, values in content.items():
        if isinstance(values, list):
            axes[name] = tuple(values)
        elif isinstance(values, dict) and {"low", "high"} <= set(values) <= {"low", "high", "log"}:
            axes[name] = Range(**values)
        else:
            raise ArgumentError(f"{name} = {values!r} in {path}", "a list of values, or low, high and log", field=name)
    found = axes.pop("seeds", seeds)
    if isinstance(found, Range):
        raise ArgumentError(f"a range of seeds in {path}", "a list", field="seeds")
    return Space(axes, found)  # type: ignore[arg-type]


def _check_values(name: str, values: Sequence[Any], kind: type[int] | type[float]) -> None:
    allowed = int if kind is int else int | float
    if not values or len(set(values)) != len(values):
        raise ArgumentError(f"{name} = {list(values)}", "at least one value, and none twice", field=name)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise ArgumentTypeError(f"{value!r} for {name}", "an integer" if kind is int else "a number", field=name)
