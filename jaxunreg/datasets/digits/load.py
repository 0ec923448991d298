"""The digits of the toy study: SVHN if it is available, otherwise the embedded digits with a warning."""

import dataclasses
import os
import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np

from jaxunreg.datasets.digits.dataset import Dataset, LabeledImages
from jaxunreg.datasets.digits.embedded import synth_digits
from jaxunreg.datasets.digits.svhn import SvhnUnavailableError, load_svhn
from jaxunreg.datasets.digits.svhn.official import display_name
from jaxunreg.errors import ArgumentError, MissingPackageError, argument

SYNTH_TRAIN_SIZE = 20_000

SYNTH_TEST_SIZE = 2_000

# The start of the test split in the sequence of embedded digits. No training split reaches that far, and the test split
# is the same beside a training split of any size.
_SYNTH_TEST_START = 1_000_000_000

# An offline machine should not wait long for the embedded digits, and looking up a name can take minutes.
_ANSWER_WITHIN_SECONDS = 8.0


class DatasetFallbackWarning(UserWarning):
    """The requested data set is not available, and another one replaces it."""


def _check_size(name: str, size: int | None) -> None:
    if size is not None and size < 1:
        raise ArgumentError(argument(name, size), "at least 1", f"raise {argument(name)}, or leave it out")


def _synth(requested: str, train_size: int | None, test_size: int | None, seed: int) -> Dataset:
    train = synth_digits(train_size or SYNTH_TRAIN_SIZE, seed=seed)
    test = synth_digits(test_size or SYNTH_TEST_SIZE, seed=seed, start=_SYNTH_TEST_START)
    return Dataset(
        name="synth_digits",
        train=train,
        test=test,
        source=f"Embedded digits drawn from seed {seed} ({len(train.images):,} training and "
        f"{len(test.images):,} test images).",
        requested=requested,
    )


def _subset(split: LabeledImages, what: str, size: int | None, seed: int) -> LabeledImages:
    """Return a random choice of `size` images in their order, which differs for each split and seed."""
    available = len(split.images)
    if size is None or size == available:
        return split
    if size > available:
        name = f"{what}_size"
        raise ArgumentError(
            argument(name, size),
            f"at most the {available:,} {what} images that this SVHN has",
            f"lower {argument(name)}, or leave it out to have all",
        )
    generator = np.random.default_rng([seed, ("train", "test").index(what)])
    chosen = np.sort(generator.choice(available, size, replace=False))
    return LabeledImages(split.images[chosen], split.labels[chosen])


def load_digits(
    dataset: Literal["auto", "svhn", "synth_digits"] = "auto",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
    url: str | None = None,
    checksums: Mapping[str, str] | None = None,
    progress: bool = True,
) -> Dataset:
    """Load SVHN, or the embedded digits.

    Args:
      dataset: `"svhn"` is SVHN or an error. `"synth_digits"` are the embedded digits. `"auto"` is SVHN if it is local,
        prepared, or can be fetched (the server must answer within 8 s). Otherwise it is the embedded digits, with a
        `DatasetFallbackWarning` and the reason in the data set's `fallback_reason`, e.g. a missing package of the extra
        `svhn`.
      data_dir: a folder with a local copy of SVHN. If it cannot be read, `"auto"` is an error as well.
      train_size: number of training images. None: all of SVHN, or 20,000 embedded ones. If SVHN has more: a random
        subset drawn from `seed`, and the name says so.
      test_size: number of test images. None: all of SVHN, or 2,000 embedded ones.
      seed: seed of the embedded digits, and of the choice of a subset.
      cache_dir: TFDS's data folder, with the defaults of `load_svhn`.
      url: base URL of SVHN's files, with the defaults of `load_svhn`.
      checksums: SHA-256 of a mirror's own files, by their names.
      progress: whether to draw progress bars on standard error.

    Returns:
      Images uint8 `[n, 32, 32, 3]` and labels int64 in 0..9, and their origin.

    Raises:
      ArgumentError: an argument is out of range, or SVHN has fewer images.
      SvhnFileError: a local file does not have its form.
      MissingFileError: `data_dir` has no complete pair.
      MissingPackageError: with `"svhn"` and without `data_dir`, a package of the extra `svhn` is not installed.
      SvhnUnavailableError: with `"svhn"`, it cannot be fetched, verified, prepared, or read back.

    >>> digits = load_digits("synth_digits", train_size=3, test_size=2)
    >>> digits.name, digits.train.images.shape, digits.test.images.shape
    ('synth_digits', (3, 32, 32, 3), (2, 32, 32, 3))
    """
    if dataset not in ("auto", "svhn", "synth_digits"):
        raise ArgumentError(argument("dataset", dataset), "'auto', 'svhn' or 'synth_digits'", "give one of these")
    _check_size("train_size", train_size)
    _check_size("test_size", test_size)
    if seed < 0:
        raise ArgumentError(argument("seed", seed), "at least 0", f"raise {argument('seed')}")
    if dataset == "synth_digits":
        if data_dir is not None:
            raise ArgumentError(
                f"{argument('data_dir', os.fspath(data_dir))} with {argument('dataset', dataset)}",
                f"no {argument('data_dir')}, since the embedded digits are drawn and not read",
                f"leave it out, or ask for {argument('dataset', 'svhn')}",
            )
        return _synth(dataset, train_size, test_size, seed)
    try:
        svhn = load_svhn(
            data_dir,
            cache_dir=cache_dir,
            url=url,
            checksums=checksums,
            answer_within=_ANSWER_WITHIN_SECONDS if dataset == "auto" else None,
            progress=progress,
        )
    except (SvhnUnavailableError, MissingPackageError) as error:
        if dataset == "svhn":
            raise
        reason = str(error)
        warnings.warn(
            "SVHN IS NOT USED. The embedded digits (synth_digits) take its place, and results are not those "
            f"of SVHN. The reason: {reason}. Ask for dataset='svhn' to get an error instead, or for "
            "dataset='synth_digits' if these are meant.",
            DatasetFallbackWarning,
            stacklevel=2,
        )
        embedded = _synth(dataset, train_size, test_size, seed)
        return dataclasses.replace(embedded, fell_back=True, fallback_reason=reason)
    train = _subset(svhn.train, "train", train_size, seed)
    test = _subset(svhn.test, "test", test_size, seed)
    source = svhn.source
    if train is not svhn.train or test is not svhn.test:
        source += (
            f" Of these a random choice from seed {seed}: {len(train.images):,} training and "
            f"{len(test.images):,} test images."
        )
    name = display_name(len(train.images), len(test.images))
    return Dataset(name=name, train=train, test=test, source=source, requested=dataset)
