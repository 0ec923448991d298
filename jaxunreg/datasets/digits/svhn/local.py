"""SVHN's cropped digits in files that the user has: the official `.mat` pair, or a pair of `.npz` files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.io

from jaxunreg.datasets.digits.dataset import Dataset, LabeledImages
from jaxunreg.datasets.digits.svhn.official import IMAGE_SHAPE, counts, display_name
from jaxunreg.datasets.file_errors import FileError, MissingFileError
from jaxunreg.errors import argument
from jaxunreg.paths import NotAFileError, open_file


class SvhnFileError(FileError, ValueError):
    """A file is cut short, or its arrays are not those of SVHN."""


def read_mat(path: Path) -> LabeledImages:
    """Read a file of SVHN's official format 2: `X` uint8 `[32, 32, 3, n]`, `y` `[n, 1]` with 10 for a zero.

    Args:
      path: the `.mat` file.

    Returns:
      Images uint8 `[n, 32, 32, 3]`, labels int64 `[n]` in 0..9.

    Raises:
      OSError: the file cannot be opened.
      SvhnFileError: the file is cut short, or its arrays are not of that form.

    >>> import tempfile
    >>> X, y = np.zeros((32, 32, 3, 2), np.uint8), np.array([[10], [7]], np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scipy.io.savemat(Path(folder) / "test_32x32.mat", {"X": X, "y": y})
    ...     read_mat(Path(folder) / "test_32x32.mat").labels
    array([0, 7])
    """
    images, labels = _arrays(path, _read_mat, "X", "y")
    if images.ndim != 4:
        raise SvhnFileError(path, f"X has shape {images.shape}", "(32, 32, 3, n)", "copy the file again")
    return _checked(path, images.transpose(3, 0, 1, 2), labels)


def read_npz(path: Path) -> LabeledImages:
    """Read an `.npz` file with `images` uint8 `[n, 32, 32, 3]` and `labels` `[n]`. Other arrays are ignored.

    Args:
      path: the `.npz` file. Nothing in it is unpickled.

    Returns:
      Images uint8 `[n, 32, 32, 3]`, labels int64 `[n]` in 0..9 (a label of 10 is the digit 0).

    Raises:
      OSError: the file cannot be opened.
      SvhnFileError: the file is cut short, or its arrays are not of that form.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "test.npz", images=np.zeros((2, 32, 32, 3), np.uint8), labels=[3, 7])
    ...     read_npz(Path(folder) / "test.npz").images.shape
    (2, 32, 32, 3)
    """

    return _checked(path, *_arrays(path, _read_npz, "images", "labels"))


def _read_mat(file: BinaryIO) -> dict[str, Any]:
    return scipy.io.loadmat(file)


def _read_npz(file: BinaryIO) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] if name in ("images", "labels") else None for name in archive.files}


# The pairs that a data_dir may hold: for each kind its reader and its two files.
_PAIRS: Mapping[str, tuple[Callable[[Path], LabeledImages], tuple[str, str]]] = {
    "the official .mat pair": (read_mat, ("train_32x32.mat", "test_32x32.mat")),
    "an .npz pair": (read_npz, ("train.npz", "test.npz")),
}


def load_local(folder: Path) -> Dataset:
    """Read the pair of files that a folder holds.

    Raises:
      MissingFileError: the folder has no complete pair.
      SvhnFileError: a file does not have its form.
    """
    expected = " or ".join(f"{what} ({', '.join(names)})" for what, (_, names) in _PAIRS.items())
    if not folder.is_dir():
        raise MissingFileError(
            folder, "is not a folder", f"one with {expected}", f"give another {argument('data_dir')}"
        )
    for what, (read, names) in _PAIRS.items():
        if all((folder / name).is_file() for name in names):
            train, test = (read(folder / name) for name in names)
            return Dataset(
                name=display_name(len(train.images), len(test.images)),
                train=train,
                test=test,
                source=f"SVHN, {what} of a local folder ({counts(train, test)}).",
                requested="svhn",
            )
    found = [name for _, names in _PAIRS.values() for name in names if (folder / name).is_file()]
    raise MissingFileError(
        folder,
        f"holds {' and '.join(found) or 'neither pair'}",
        expected,
        f"complete a pair or give another {argument('data_dir')}",
    )


def _arrays(
    path: Path, read: Callable[[BinaryIO], dict[str, Any]], images: str, labels: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two arrays of a file, or raise an error that says why it is not such a file."""
    try:
        with open_file(path) as file:
            arrays = read(file)
    except NotAFileError as error:
        raise SvhnFileError(path, error.got, "a file of SVHN's digits", "give the path of one") from error
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # scipy and zipfile raise many kinds for damaged or foreign files
        raise SvhnFileError(
            path,
            f"cannot be read ({type(error).__name__}: {error})",
            f"arrays {images!r} and {labels!r}",
            "the file is cut short or of another format, copy it again",
        ) from error
    missing = [name for name in (images, labels) if name not in arrays]
    if missing:
        raise SvhnFileError(
            path,
            f"has no array {' and no array '.join(map(repr, missing))}, only {sorted(arrays)}",
            f"{images!r} and {labels!r}",
            "copy the file again",
        )
    return arrays[images], arrays[labels]


def _checked(path: Path, images: np.ndarray, labels: np.ndarray) -> LabeledImages:
    """Return checked images and labels, or raise an error that names the file."""
    if images.dtype != np.uint8:
        raise SvhnFileError(path, f"images are {images.dtype}", "uint8 in 0..255", "convert them first")
    if images.ndim != 4 or images.shape[1:] != IMAGE_SHAPE:
        raise SvhnFileError(
            path, f"images have shape {images.shape}", "(n, 32, 32, 3)", "use SVHN's format 2, the cropped digits"
        )
    if len(images) == 0:
        raise SvhnFileError(path, "holds no images", "at least one", "copy the file again")
    if labels.size != len(images):
        raise SvhnFileError(
            path, f"has {labels.size} labels for {len(images)} images", "one each", "copy the file again"
        )
    if labels.dtype.kind not in "iuf":
        raise SvhnFileError(path, f"labels are {labels.dtype}", "integers in 0..10", "convert them first")
    labels = labels.reshape(-1)
    outside = ~np.isin(labels, np.arange(11))
    if outside.any():
        found = ", ".join(str(value) for value in np.unique(labels[outside])[:5])
        raise SvhnFileError(
            path,
            f"has {outside.sum()} labels that are outside 0..10 (among them {found})",
            "a digit each, where 0 may be written as 10",
            "copy the file again",
        )
    # The official files label the digit 0 with 10.
    return LabeledImages(np.ascontiguousarray(images), labels.astype(np.int64) % 10)
