"""What a sweep tries: a declared space of settings, as a grid or searched by Optuna, one generation after another."""

import dataclasses
import itertools
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from experiments.runs import RunError

Setting: TypeAlias = dict[str, int | float]
"""A value for each axis of a space, the seed apart."""

AXES: Mapping[str, type[int] | type[float]] = {
    "base_channels": int,
    "depth": int,
    "latent_dim": int,
    "learning_rate": float,
    "weight_decay": float,
    "kl_weight": float,
}
"""What can be swept, and of which type it is. The first two change the network's shape; see `experiments.groups`."""


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval of values, both ends within; integers where the axis has integers.

    Attributes:
      low: lower end.
      high: upper end.
      log: drawn uniformly in the logarithm.

    Raises:
      ValueError: an end is not finite, `low` is not below `high`, or a logarithmic range begins at zero or below.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"got a range from {self.low} to {self.high}; expected finite ends, low < high")
        if self.log and self.low <= 0:
            raise ValueError(f"got a logarithmic range from {self.low}; expected it to begin above zero")


@dataclasses.dataclass(frozen=True)
class Space:
    """Axes with their values, and the seeds under which every setting is trained.

    Attributes:
      axes: name from `AXES` to a list of values, or to a `Range`, which only a search can draw from.
      seeds: seeds of the networks.

    Raises:
      TypeError: a value of another type than its axis has.
      ValueError: an axis that does not exist, has no values or one value twice, or no seeds.

    >>> Space({"latent_dim": (20, 100)}, seeds=(0, 1)).grid()
    [{'latent_dim': 20}, {'latent_dim': 100}]
    """

    axes: Mapping[str, tuple[int | float, ...] | Range]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, values in self.axes.items():
            if name not in AXES:
                raise ValueError(f"got an axis {name!r}; expected one of {sorted(AXES)}")
            given = (values.low, values.high) if isinstance(values, Range) else values
            _check_values(name, given, AXES[name])
        _check_values("seeds", self.seeds, int)

    def grid(self) -> list[Setting]:
        """Every combination of the axes' values, the last axis fastest.

        Raises:
          ValueError: an axis is a range, which has no end of values.
        """
        values = []
        for name, axis in self.axes.items():
            if isinstance(axis, Range):
                raise ValueError(
                    f"got a range for {name} in a grid; expected a list of values; give one, or search with "
                    "--search random or --search tpe"
                )
            values.append([AXES[name](value) for value in axis])
        return [dict(zip(self.axes, combination, strict=True)) for combination in itertools.product(*values)]


def read_space(path: Path, seeds: tuple[int, ...]) -> Space:
    """A space from a TOML or JSON file: for each axis a list, or `{low, high, log}`; and `seeds`, if it names them.

    Args:
      path: the file.
      seeds: what holds where the file has no seeds.

    Raises:
      OSError: the file cannot be read.
      TypeError, ValueError: it is neither TOML nor JSON, or says something that a `Space` does not take.

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
        raise ValueError(
            f"got {path}, which cannot be read: {error}; expected TOML, or JSON in a .json file"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"got {path}, which holds a {type(content).__name__}; expected an axis a key")
    axes: dict[str, tuple[int | float, ...] | Range] = {}
    for name, values in content.items():
        if isinstance(values, list):
            axes[name] = tuple(values)
        elif isinstance(values, dict) and {"low", "high"} <= set(values) <= {"low", "high", "log"}:
            axes[name] = Range(**values)
        else:
            raise ValueError(f"got {name} = {values!r} in {path}; expected a list of values, or low, high and log")
    found = axes.pop("seeds", seeds)
    if isinstance(found, Range):
        raise ValueError(f"got a range of seeds in {path}; expected a list")
    return Space(axes, found)  # type: ignore[arg-type]


class Search(Protocol):
    """What a sweep asks for settings."""

    def ask(self) -> list[Setting]:
        """The next generation of settings, which are trained together; none when the search is over."""

    def tell(self, values: Sequence[float | None]) -> None:
        """What came of the last generation, higher is better; None where a setting failed."""


class Grid:
    """All combinations, in one generation."""

    def __init__(self, space: Space) -> None:
        self._left = space.grid()

    def ask(self) -> list[Setting]:
        """All settings at the first call, none at the next."""
        settings, self._left = self._left, []
        return settings

    def tell(self, values: Sequence[float | None]) -> None:
        """A grid does not mind."""


class OptunaSearch:
    """Random or TPE search, a generation at a time, so that a generation trains in one program.

    The search keeps nothing on disk. It is a function of the seed and of the values that it was told: a sweep that is
    started again asks for the same settings and finds their values in its table.

    Args:
      space: what to draw from.
      kind: `random`, or `tpe` (tree-structured Parzen estimator), which draws at random to begin with.
      trials: settings in all.
      generation: settings at a time; within one, TPE keeps away from what it has just drawn ("constant liar").
      seed: of the search.

    Raises:
      RunError: Optuna is not installed.
      ValueError: `trials` or `generation` is below one, or the space has no axes.
    """

    def __init__(
        self, space: Space, kind: Literal["random", "tpe"], *, trials: int, generation: int, seed: int
    ) -> None:
        for name, number in (("trials", trials), ("generation", generation)):
            if number < 1:
                raise ValueError(f"got {name}={number}; expected at least 1")
        if not space.axes:
            raise ValueError("got a space without axes to search; expected at least one, e.g. --latent-dim 20 100")
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise RunError(
                f"--search {kind} needs Optuna, which is not installed; run: pip install 'jaxunreg[sweep]'"
            ) from error
        self._space, self._left, self._generation = space, trials, generation
        self._distributions = {name: _distribution(optuna, name, axis) for name, axis in space.axes.items()}
        if kind == "random":
            sampler: Any = optuna.samplers.RandomSampler(seed=seed)
        else:
            # As many at random as make a generation of their own, at least; multivariate is still marked experimental.
            sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=max(generation, 10))
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._study = optuna.create_study(direction="maximize", sampler=sampler)
        finally:
            optuna.logging.set_verbosity(verbosity)
        self._fail = optuna.trial.TrialState.FAIL
        self._asked: list[Any] = []

    def ask(self) -> list[Setting]:
        """The next generation; smaller at the end, and empty after it."""
        count = min(self._left, self._generation)
        self._left -= count
        self._asked = [self._study.ask(self._distributions) for _ in range(count)]
        return [{name: AXES[name](value) for name, value in trial.params.items()} for trial in self._asked]

    def tell(self, values: Sequence[float | None]) -> None:
        """What came of the last generation."""
        for trial, value in zip(self._asked, values, strict=True):
            if value is None:
                self._study.tell(trial, state=self._fail)
            else:
                self._study.tell(trial, value)


def _distribution(optuna: Any, name: str, axis: tuple[int | float, ...] | Range) -> Any:
    if not isinstance(axis, Range):
        return optuna.distributions.CategoricalDistribution(axis)
    if AXES[name] is int:
        return optuna.distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return optuna.distributions.FloatDistribution(float(axis.low), float(axis.high), log=axis.log)


def _check_values(name: str, values: Sequence[Any], kind: type[int] | type[float]) -> None:
    allowed = int if kind is int else int | float
    if not values or len(set(values)) != len(values):
        raise ValueError(f"got {name} = {list(values)}; expected at least one value, and none twice")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise TypeError(f"got {value!r} for {name}; expected {'an integer' if kind is int else 'a number'}")
