"""SVHN from a local copy, from prepared data, or from the network."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from jaxunreg.datasets.digits.dataset import Dataset
from jaxunreg.datasets.digits.svhn.download import probe, unwritable
from jaxunreg.datasets.digits.svhn.local import load_local
from jaxunreg.datasets.digits.svhn.official import (
    OFFICIAL_FILES,
    SPLITS,
    SvhnUnavailableError,
    base_url,
    counts,
    display_name,
    remote_files,
)
from jaxunreg.errors import argument
from jaxunreg.paths import given_path


def load_svhn(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    url: str | None = None,
    checksums: Mapping[str, str] | None = None,
    download: bool = True,
    timeout: float = 30.0,
    attempts: int = 5,
    answer_within: float | None = None,
    progress: bool = True,
) -> Dataset:
    """Load SVHN's cropped digits from a local copy, from prepared TFDS data, or from the network, in this order.

    Without `data_dir`, `SvhnCropped` prepares the data once, below `cache_dir`. The two downloads (246 MB) are verified
    by the official SHA-256 and kept below `cache_dir/downloads`. A broken transfer is resumed, in this call or in the
    next.

    Args:
      data_dir: a folder with the official pair `train_32x32.mat`, `test_32x32.mat`, or with `train.npz`, `test.npz`
        that hold `images` uint8 `[n, 32, 32, 3]` and `labels` `[n]`. Nothing else is tried then.
      cache_dir: TFDS's data folder; default: the environment variable `TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`.
      url: base URL of the two `.mat` files; default: the environment variable `JAXUNREG_SVHN_URL`, else the official
        URL.
      checksums: SHA-256 for each file name, for a mirror with other files than the official ones. Such data are
        prepared in a separate folder.
      download: whether to use the network.
      timeout: seconds without an answer before an attempt fails.
      attempts: number of attempts in one transfer.
      answer_within: seconds in which the server must give its first answer, including the look-up of its name; default:
        no limit.
      progress: whether to draw progress bars on standard error.

    Returns:
      The data set, its images uint8 `[n, 32, 32, 3]` and labels int64 in 0..9. Its name is `"SVHN"` for the
      official sizes and e.g. `"SVHN (24.8k subset)"` otherwise.

    Raises:
      MissingFileError: `data_dir` has no complete pair.
      SvhnFileError: a file of `data_dir` does not have its form.
      ArgumentError: `url` or `checksums` are not well formed.
      MissingPackageError: without `data_dir`, a package of the extra `svhn` is not installed.
      SvhnUnavailableError: the data cannot be fetched, verified, prepared, or read back.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for split, n in (("train", 3), ("test", 2)):
    ...         images = np.zeros((n, 32, 32, 3), np.uint8)
    ...         np.savez(Path(folder) / f"{split}.npz", images=images, labels=np.arange(n))
    ...     load_svhn(folder).name
    'SVHN (3-image subset)'
    """
    if data_dir is not None:
        return load_local(given_path("data_dir", data_dir))
    # Imported here, because they import TensorFlow Datasets, which a local copy does not need.
    from jaxunreg.datasets.digits.svhn.builder import SvhnCropped
    from jaxunreg.datasets.digits.svhn.prepared import gather, is_prepared, prepare

    root = given_path("cache_dir", cache_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    files = remote_files(checksums)
    if files != dict(OFFICIAL_FILES):
        both = "".join(files[split].sha256 for split in SPLITS)
        root = root / f"{SvhnCropped.name}_mirrors" / hashlib.sha256(both.encode()).hexdigest()[:16]
    options: dict[str, Any] = {
        "timeout": timeout,
        "attempts": attempts,
        "progress": progress,
        "data_dir": root,
    }
    try:
        builder = SvhnCropped(url=url, checksums=checksums, **options)
    except OSError as error:
        raise unwritable(root, error) from error
    fetched = not is_prepared(builder)
    if fetched:
        if not download:
            raise SvhnUnavailableError(
                f"SVHN is not prepared in {root}, and {argument('download', False)} forbids fetching it",
                advice=f"allow it, or give a local copy with {argument('data_dir')}",
            )
        if answer_within is not None:
            probe(base_url(url) + files["test"].name, answer_within)
        prepare(builder)
        # A new builder, because another process may have prepared the data, and the old one does not know it.
        builder = SvhnCropped(url=url, checksums=checksums, **options)
    train, test = (gather(builder, split, progress) for split in SPLITS)
    return Dataset(
        name=display_name(len(train.images), len(test.images)),
        train=train,
        test=test,
        source=f"SVHN, {f'fetched from {base_url(url)}' if fetched else 'prepared before'} through TFDS "
        f"({counts(train, test)}).",
        requested="svhn",
    )
