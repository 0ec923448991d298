"""SVHN's cropped digits: a local copy, or fetched and prepared once."""

from jaxunreg.datasets.digits.svhn.load import load_svhn
from jaxunreg.datasets.digits.svhn.local import SvhnFileError
from jaxunreg.datasets.digits.svhn.official import URL_VARIABLE, SvhnUnavailableError

__all__ = [
    "URL_VARIABLE",
    "SvhnFileError",
    "SvhnUnavailableError",
    "load_svhn",
]
