"""The toy data of section IV.A: contaminated training digits, and each test digit with and without a square."""

import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from rich.markup import escape

from jaxunreg.datasets.digits.dataset import Dataset
from jaxunreg.datasets.digits.erasing import EraseConfig, Erased, contaminate, erase
from jaxunreg.datasets.digits.load import DatasetFallbackWarning, load_digits
from jaxunreg.errors import argument

from .commands import console
from .runs import RunError


class ToyDataConfig(Protocol):
    """The settings of a study that the data depend on; see `svhn_toy.ToyConfig`."""

    @property
    def dataset(self) -> Literal["auto", "svhn", "synth_digits"]: ...
    @property
    def data_dir(self) -> Path | None: ...
    @property
    def train_size(self) -> int | None: ...
    @property
    def test_size(self) -> int | None: ...
    @property
    def data_seed(self) -> int: ...
    @property
    def validation_size(self) -> int: ...
    @property
    def erase(self) -> EraseConfig: ...


class Data(NamedTuple):
    """The toy data set: contaminated training images, and each test digit once normal and once erased."""

    dataset: Dataset
    train: np.ndarray
    validation: np.ndarray
    validation_erased: np.ndarray
    normal: np.ndarray
    anomalous: Erased
    labels: np.ndarray


def load_toy_data(config: ToyDataConfig) -> Data:
    """Load digits with the toy anomaly, and split the training digits into those to train on and those held out.

    Raises:
      RunError: there are fewer digits than should be held out.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DatasetFallbackWarning)
        dataset = load_digits(
            config.dataset,
            data_dir=config.data_dir,
            train_size=config.train_size,
            test_size=config.test_size,
            seed=config.data_seed,
        )
    for warning in caught:
        if issubclass(warning.category, DatasetFallbackWarning):
            console.rule("[bold white on red] WARNING ", style="red")
            console.print(f"[bold red]{escape(str(warning.message))}")
            console.rule(style="red")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if not 0 < config.validation_size < len(dataset.train.images):
        raise RunError(
            f"{argument('validation_size', config.validation_size)} with {len(dataset.train.images)} training digits",
            "at least 1 and fewer than there are",
        )
    split = len(dataset.train.images) - config.validation_size
    validation = dataset.train.images[split:]
    test = dataset.test
    console.print(
        f"data: {dataset.name}, {split} to train on, {len(test.images)} to test on ({dataset.source})", markup=False
    )
    return Data(
        dataset=dataset,
        train=contaminate(dataset.train.images[:split], config.erase).images,
        validation=validation,
        validation_erased=erase(validation, config.erase, seed=config.erase.seed + 1).images,
        normal=test.images,
        anomalous=erase(test.images, config.erase, seed=config.erase.seed + 2),
        labels=test.labels,
    )


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """Describe the data for the results."""
    return {
        "name": dataset.name,
        "requested": dataset.requested,
        "source": dataset.source,
        "fell_back": dataset.fell_back,
        "fallback_reason": dataset.fallback_reason,
        "train": len(dataset.train.images),
        "test": len(dataset.test.images),
        "fingerprint": dataset.fingerprint,
    }
