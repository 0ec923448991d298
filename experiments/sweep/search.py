"""The next settings of a sweep: a whole grid, or one generation after another from Optuna."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from jaxunreg.errors import ArgumentError, argument

from ..runs import RunError
from .space import AXES, Range, Setting, Space


class Search(Protocol):
    """A search proposes settings, generation by generation."""

    def ask(self) -> list[Setting]:
        """Return the next generation of settings, which train together. It is empty when the search is over."""

    def tell(self, values: Sequence[float | None]) -> None:
        """Report the value of each setting of the last generation, higher is better; None if a setting failed."""


class Grid:
    """All combinations, in one generation."""

    def __init__(self, space: Space) -> None:
        self._left = space.grid()

    def ask(self) -> list[Setting]:
        """Return all settings at the first call, and none at the next."""
        settings, self._left = self._left, []
        return settings

    def tell(self, values: Sequence[float | None]) -> None:
        """Ignore the values: a grid does not depend on them."""


class OptunaSearch:
    """A random or TPE search, a generation at a time, so that a generation trains in one program.

    The search keeps nothing on disk. It depends only on the seed and on the reported values. So a sweep that is started
    again asks for the same settings and finds their values in its table.

    Args:
      space: the space to draw from.
      kind: `random`, or `tpe` (tree-structured Parzen estimator), which begins with random draws.
      trials: number of settings in total.
      generation: number of settings at a time. Within a generation, TPE avoids settings that it has just drawn
        ("constant liar").
      seed: seed of the search.

    Raises:
      RunError: Optuna is not installed.
      ArgumentError: `trials` or `generation` is below one, or the space has no axes.
    """

    def __init__(
        self, space: Space, kind: Literal["random", "tpe"], *, trials: int, generation: int, seed: int
    ) -> None:
        for name, number in (("trials", trials), ("generation", generation)):
            if number < 1:
                raise ArgumentError(argument(name, number), "at least 1")
        if not space.axes:
            raise ArgumentError("a space without axes to search", "at least one", "give it, e.g. --latent-dim 20 100")
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise RunError(
                f"--search {kind} without Optuna", "the package to be installed", "run: pip install 'jaxunreg[sweep]'"
            ) from error
        self._space, self._left, self._generation = space, trials, generation
        self._distributions = {name: _distribution(optuna, name, axis) for name, axis in space.axes.items()}
        if kind == "random":
            sampler: Any = optuna.samplers.RandomSampler(seed=seed)
        else:
            # At least one whole generation at random. Multivariate is still marked experimental.
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
        """Return the next generation, which is smaller at the end, and empty after it."""
        count = min(self._left, self._generation)
        self._left -= count
        self._asked = [self._study.ask(self._distributions) for _ in range(count)]
        return [{name: AXES[name](value) for name, value in trial.params.items()} for trial in self._asked]

    def tell(self, values: Sequence[float | None]) -> None:
        """Report the values of the last generation."""
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
