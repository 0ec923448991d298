"""Whole numbers: every config takes integers for them alone, and says so."""

import dataclasses

import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.baselines import (
    GaussianMixtureConfig,
    IsolationForestConfig,
    OneClassSVMConfig,
    PaDiMConfig,
    PatchCoreConfig,
    PCAResidualConfig,
)
from jaxunreg.datasets.digits.erasing import EraseConfig
from jaxunreg.errors import ArgumentTypeError

CONFIGS = (
    ju.AutoencoderConfig,
    ju.DetectorConfig,
    EraseConfig,
    GaussianMixtureConfig,
    IsolationForestConfig,
    OneClassSVMConfig,
    PaDiMConfig,
    PatchCoreConfig,
    PCAResidualConfig,
    ju.TrainConfig,
    ju.VAEConfig,
)

FIELDS = [
    (config, field.name)
    for config in CONFIGS
    for field in dataclasses.fields(config)
    if field.type in (int, int | None)
]


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(("config", "name"), FIELDS)
def test_a_field_that_is_an_integer_takes_nothing_else(config, name):
    for value in (2.5, 2.0, True, np.inf, np.float32(8), "8"):
        with pytest.raises(ArgumentTypeError, match=rf"got {name}=.* of type .*; expected an integer; pass int"):
            config(**{name: value})


@pytest.mark.usefixtures("no_type_checks")
def test_integers_of_numpy_are_integers():
    assert ju.TrainConfig(steps=np.int64(7)).steps == 7
    assert len({config for config, _ in FIELDS}) == len(CONFIGS)
