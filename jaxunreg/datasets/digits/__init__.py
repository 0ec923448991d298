"""Digits: SVHN, embedded ones that need no download, and squares erased from them."""

from jaxunreg.datasets.digits.dataset import Dataset, LabeledImages
from jaxunreg.datasets.digits.embedded import synth_digits
from jaxunreg.datasets.digits.erasing import Contaminated, EraseConfig, Erased, anomaly_masks, contaminate, erase
from jaxunreg.datasets.digits.load import DatasetFallbackWarning, load_digits

__all__ = [
    "Contaminated",
    "Dataset",
    "DatasetFallbackWarning",
    "EraseConfig",
    "Erased",
    "LabeledImages",
    "anomaly_masks",
    "contaminate",
    "erase",
    "load_digits",
    "synth_digits",
]
