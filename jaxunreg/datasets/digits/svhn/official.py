"""SVHN's official files, their URL, and the name to show."""

import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxunreg.datasets.digits.dataset import LabeledImages
from jaxunreg.errors import ArgumentError, JaxunregError, argument

OFFICIAL_URL = "http://ufldl.stanford.edu/housenumbers/"

URL_VARIABLE = "JAXUNREG_SVHN_URL"

IMAGE_SHAPE = (32, 32, 3)

SPLITS = ("train", "test")


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch, and its checksum and size.

    Attributes:
      name: its name below the base URL.
      sha256: the SHA-256 of its bytes, 64 hexadecimal digits.
      size: its length in bytes, if known beforehand.
      count: the number of its images, if known beforehand.
    """

    name: str
    sha256: str
    size: int | None = None
    count: int | None = None


# Lengths and SHA-256 as in TFDS's own `datasets/svhn_cropped/checksums.tsv`.
OFFICIAL_FILES: Mapping[str, RemoteFile] = {
    "train": RemoteFile(
        name="train_32x32.mat",
        sha256="435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        size=182_040_794,
        count=73_257,
    ),
    "test": RemoteFile(
        name="test_32x32.mat",
        sha256="cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        size=64_275_384,
        count=26_032,
    ),
}


class SvhnUnavailableError(JaxunregError, OSError):
    """SVHN could not be fetched, verified, prepared, or read back from the cache."""

    leading: ClassVar[str] = ""


def display_name(train_count: int, test_count: int) -> str:
    """Return the name to show for SVHN, which says if it is only a part.

    Args:
      train_count: images in the training split.
      test_count: images in the test split.

    Returns:
      `"SVHN"` for the official sizes; otherwise the name includes the size of the training split.

    >>> display_name(73_257, 26_032)
    'SVHN'
    >>> display_name(24_776, 4_809)
    'SVHN (24.8k subset)'
    >>> display_name(60, 20)
    'SVHN (60-image subset)'
    """
    if (train_count, test_count) == tuple(OFFICIAL_FILES[split].count for split in SPLITS):
        return "SVHN"
    size = f"{train_count / 1000:.1f}k" if train_count >= 1000 else f"{train_count}-image"
    return f"SVHN ({size} subset)"


def counts(train: LabeledImages, test: LabeledImages) -> str:
    """Return how many images the splits have, in words."""
    return f"{len(train.images):,} training and {len(test.images):,} test images"


def remote_files(checksums: Mapping[str, str] | None) -> dict[str, RemoteFile]:
    """Return the files to fetch for each split: the official files, or a mirror's with the given checksums."""
    if checksums is None:
        return dict(OFFICIAL_FILES)
    names = [OFFICIAL_FILES[split].name for split in SPLITS]
    if sorted(checksums) != sorted(names):
        raise ArgumentError(
            f"{argument('checksums')} with the keys {sorted(checksums)}", f"{names}", "give the SHA-256 of both files"
        )
    for name, sha256 in checksums.items():
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ArgumentError(
                f"{argument('checksums')} with {sha256!r} for {name}",
                "64 lower-case hexadecimal digits",
                "give the SHA-256 of the file, as sha256sum prints it",
            )
    return {
        split: file if file.sha256 == checksums[file.name] else RemoteFile(file.name, checksums[file.name])
        for split, file in OFFICIAL_FILES.items()
    }


def base_url(url: str | None) -> str:
    """Return the base URL of SVHN's files: the given one, else the environment's, else the official one."""
    base = url or os.environ.get(URL_VARIABLE) or OFFICIAL_URL
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise ArgumentError(
            argument("url", base), "http:// or https://", f"for local files give {argument('data_dir')}"
        )
    return base.rstrip("/") + "/"
