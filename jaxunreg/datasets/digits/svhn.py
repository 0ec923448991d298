"""SVHN's cropped digits through a TFDS builder that needs neither TensorFlow nor the `extra` split."""

import contextlib
import hashlib
import http.client
import io
import os
import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn, track
from tensorflow_datasets.core.utils import tqdm_utils

from jaxunreg.datasets.digits.dataset import Dataset, LabeledImages
from jaxunreg.files import held

OFFICIAL_URL = "http://ufldl.stanford.edu/housenumbers/"

URL_VARIABLE = "JAXUNREG_SVHN_URL"

IMAGE_SHAPE = (32, 32, 3)

SPLITS = ("train", "test")

_CHUNK = 1 << 18

_HEADWAY = 1 << 20

_GATHER = 1024

_SECONDS_BETWEEN_ATTEMPTS = 0.5


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch and what it must be.

    Attributes:
      name: its name below the base URL.
      sha256: the SHA-256 of its bytes, 64 hexadecimal digits.
      size: its length in bytes, where it is known beforehand.
      count: the images in it, where they are known beforehand.
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


class SvhnUnavailableError(OSError):
    """SVHN could not be fetched, verified, prepared, or read back from the cache."""


def display_name(train_count: int, test_count: int) -> str:
    """The name to show for SVHN, which owns up to being a part of it.

    Args:
      train_count: images in the training split.
      test_count: images in the test split.

    Returns:
      `"SVHN"` for the official sizes, otherwise the size of the training split with it.

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


def _checked(path: Path, images: np.ndarray, labels: np.ndarray) -> LabeledImages:
    """Images and labels as they are handed on, or an error that names the file."""
    if images.dtype != np.uint8:
        raise ValueError(f"{path}: images are {images.dtype}, expected uint8 in 0..255. Convert them first.")
    if images.ndim != 4 or images.shape[1:] != IMAGE_SHAPE:
        raise ValueError(
            f"{path}: images have shape {images.shape}, expected (n, 32, 32, 3). "
            "Use SVHN's format 2, the cropped digits."
        )
    if len(images) == 0:
        raise ValueError(f"{path}: holds no images, expected at least one. Copy the file again.")
    if labels.size != len(images):
        raise ValueError(
            f"{path}: {labels.size} labels for {len(images)} images, expected one each. Copy the file again."
        )
    if labels.dtype.kind not in "iuf":
        raise ValueError(f"{path}: labels are {labels.dtype}, expected integers in 0..10.")
    labels = labels.reshape(-1)
    outside = ~np.isin(labels, np.arange(11))
    if outside.any():
        found = ", ".join(str(value) for value in np.unique(labels[outside])[:5])
        raise ValueError(
            f"{path}: {outside.sum()} labels are outside 0..10 (among them {found}), "
            "expected a digit, where 0 may be written as 10."
        )
    # The official files label the digit 0 with 10.
    return LabeledImages(np.ascontiguousarray(images), labels.astype(np.int64) % 10)


def _opened(
    path: Path, read: Callable[[Path], dict[str, Any]], images: str, labels: str
) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays of a file, or an error that says why it is not one of ours."""
    try:
        arrays = read(path)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        message = f"{path}: cannot be opened ({error.strerror}). Check the path and its rights."
        raise type(error)(message) from error
    except Exception as error:  # a cut or foreign file makes scipy and zipfile raise nearly anything
        raise ValueError(
            f"{path}: cannot be read ({type(error).__name__}: {error}), expected arrays {images!r} and "
            f"{labels!r}. The file is cut short or of another format; copy it again."
        ) from error
    missing = [name for name in (images, labels) if name not in arrays]
    if missing:
        raise ValueError(
            f"{path}: has no array {' and no array '.join(map(repr, missing))}, only {sorted(arrays)}. "
            f"Expected {images!r} and {labels!r}."
        )
    return arrays[images], arrays[labels]


def read_mat(path: Path) -> LabeledImages:
    """Reads a file of SVHN's official format 2: `X` uint8 `[32, 32, 3, n]`, `y` `[n, 1]` with 10 for a zero.

    Args:
      path: the `.mat` file.

    Returns:
      Images uint8 `[n, 32, 32, 3]`, labels int64 `[n]` in 0..9.

    Raises:
      OSError: the file cannot be opened.
      ValueError: the file is cut short, or its arrays are not of that form.

    >>> import tempfile
    >>> X, y = np.zeros((32, 32, 3, 2), np.uint8), np.array([[10], [7]], np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scipy.io.savemat(Path(folder) / "test_32x32.mat", {"X": X, "y": y})
    ...     read_mat(Path(folder) / "test_32x32.mat").labels
    array([0, 7])
    """
    images, labels = _opened(path, scipy.io.loadmat, "X", "y")
    if images.ndim != 4:
        raise ValueError(f"{path}: X has shape {images.shape}, expected (32, 32, 3, n). Copy the file again.")
    return _checked(path, images.transpose(3, 0, 1, 2), labels)


def read_npz(path: Path) -> LabeledImages:
    """Reads an `.npz` file with `images` uint8 `[n, 32, 32, 3]` and `labels` `[n]`, whatever else it holds.

    Args:
      path: the `.npz` file; nothing in it is unpickled.

    Returns:
      Images uint8 `[n, 32, 32, 3]`, labels int64 `[n]` in 0..9 (a label of 10 is the digit 0).

    Raises:
      OSError: the file cannot be opened.
      ValueError: the file is cut short, or its arrays are not of that form.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "test.npz", images=np.zeros((2, 32, 32, 3), np.uint8), labels=[3, 7])
    ...     read_npz(Path(folder) / "test.npz").images.shape
    (2, 32, 32, 3)
    """

    def read(p: Path) -> dict[str, Any]:
        # Opened here, since numpy leaves the file open when it is not an archive.
        with p.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] if name in ("images", "labels") else None for name in archive.files}

    return _checked(path, *_opened(path, read, "images", "labels"))


# What a data_dir may hold: for each kind of pair its reader and its two files.
_PAIRS: Mapping[str, tuple[Callable[[Path], LabeledImages], tuple[str, str]]] = {
    "the official .mat pair": (read_mat, ("train_32x32.mat", "test_32x32.mat")),
    "an .npz pair": (read_npz, ("train.npz", "test.npz")),
}


def _load_local(folder: Path) -> Dataset:
    expected = " or ".join(f"{what} ({', '.join(names)})" for what, (_, names) in _PAIRS.items())
    if not folder.is_dir():
        raise FileNotFoundError(f"data_dir {folder} is not a folder, expected one with {expected}.")
    for what, (read, names) in _PAIRS.items():
        if all((folder / name).is_file() for name in names):
            train, test = (read(folder / name) for name in names)
            return Dataset(
                name=display_name(len(train.images), len(test.images)),
                train=train,
                test=test,
                source=f"SVHN, {what} of a local folder ({_counts(train, test)}).",
                requested="svhn",
            )
    found = [name for _, names in _PAIRS.values() for name in names if (folder / name).is_file()]
    raise FileNotFoundError(
        f"data_dir {folder} holds {' and '.join(found) or 'neither pair'}, expected {expected}. "
        "Complete a pair or give another folder."
    )


def _counts(train: LabeledImages, test: LabeledImages) -> str:
    return f"{len(train.images):,} training and {len(test.images):,} test images"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _announced(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where the body that follows starts in the file, and the file's whole length if the server says it."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            got = response.headers.get("Content-Range")
            raise http.client.HTTPException(f"asked for the bytes from {have} on, got Content-Range {got!r}")
        return have, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _transfer(url: str, part: Path, *, size: int | None, timeout: float, attempts: int, progress: Progress) -> None:
    """Completes `part`, going on where it ends; raises if `attempts` in a row get nowhere."""
    bar = progress.add_task(part.stem, total=size)
    failures = furthest = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if size is not None and have >= size:
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": "jaxunreg"}
        if have:
            headers["Range"] = f"bytes={have}-"
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                start, total = _announced(response, have)
                if size is not None and total is not None and total != size:
                    part.unlink(missing_ok=True)
                    raise SvhnUnavailableError(
                        f"{url} is a file of {total:,} bytes, expected {size:,}: not the official file. "
                        "Give the checksums of the mirror with checksums=, or another url."
                    )
                progress.update(bar, total=total or size, completed=start)
                have = _append(part, start, response, size, partial(progress.update, bar))
            length = size if total is None else total
            if length is None or have == length:
                return
            failure = f"the connection was closed after {have:,} of {length:,} bytes"
        except SvhnUnavailableError:
            raise
        except urllib.error.HTTPError as error:
            error.close()
            failure = f"HTTP {error.code} {error.reason}"
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise SvhnUnavailableError(
                    f"{url}: {failure}, expected the file. Set {URL_VARIABLE} or url= to a mirror that has "
                    "it, or give a local copy with data_dir=."
                ) from error
        except (OSError, http.client.HTTPException, _BrokenOffError) as error:
            failure = f"{getattr(error, 'reason', None) or error or type(error).__name__}"
        kept = part.stat().st_size if part.exists() else 0
        failures = failures + 1 if kept < furthest + _HEADWAY else 1
        furthest = max(furthest, kept)
        if failures >= attempts:
            raise SvhnUnavailableError(
                f"{url}: {failure} (attempt {failures} of {attempts}, time-out {timeout:g} s). Check the "
                f"network, set {URL_VARIABLE} or url= to a mirror, or give a local copy with data_dir=."
                + (f" {kept:,} bytes are kept in {part}; the next call goes on from there." if kept else "")
            )
        time.sleep(_SECONDS_BETWEEN_ATTEMPTS * 2 ** (failures - 1))


class _BrokenOffError(Exception):
    """The network failed while a body was read; apart from OSError, which is then the disk's alone."""


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(_CHUNK)  # read() would lose what came before a stall
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOffError(f"{error or type(error).__name__}") from error
        if not chunk:
            return
        yield chunk


def _append(
    part: Path, start: int, response: http.client.HTTPResponse, size: int | None, report: Callable[..., None]
) -> int:
    """Writes the response's body to `part` from `start` on; returns the length of `part`."""
    have = start
    try:
        with part.open("ab" if start else "wb") as file:
            for chunk in _chunks(response):
                file.write(chunk)
                file.flush()
                have += len(chunk)
                report(completed=have)
                if size is not None and have > size:  # the checksum will say so; a body without end must not
                    break
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _unwritable(part, error) from error
    return have


def _unwritable(path: Path, error: OSError) -> SvhnUnavailableError:
    return SvhnUnavailableError(
        f"{path}: cannot be written ({error.strerror or error}), expected a folder with about 500 MB free. "
        "Free some space, or choose another folder with cache_dir= or TFDS_DATA_DIR."
    )


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str,
    size: int | None = None,
    timeout: float = 30.0,
    attempts: int = 5,
    progress: bool = True,
) -> Path:
    """Downloads a file, resumes what was broken off, and puts it in place only when its checksum is right.

    The bytes gather in `target` + `.part`. A transfer that breaks goes on from there with HTTP Range, in this
    call and in the next. Bytes with another checksum are removed and the file is begun again, once.

    Args:
      url: `http` or `https`; proxies are taken from the environment.
      target: the path to write; if it exists with the right checksum nothing is fetched.
      sha256: the checksum expected, 64 hexadecimal digits.
      size: the length expected in bytes, if known.
      timeout: seconds without an answer after which an attempt is given up.
      attempts: attempts in one transfer, with growing pauses between them.
      progress: whether to draw a progress bar on standard error.

    Returns:
      `target`.

    Raises:
      SvhnUnavailableError: the file cannot be fetched, is not the one expected, or cannot be written.
    """
    if target.exists():
        if _sha256(target) == sha256:
            return target
        target.unlink()
    part = target.with_name(target.name + ".part")
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress("{task.description}", BarColumn(), *columns, console=console, disable=not progress) as bars:
        for _ in range(2):
            _transfer(url, part, size=size, timeout=timeout, attempts=attempts, progress=bars)
            got, length = _sha256(part), part.stat().st_size
            if got == sha256:
                os.replace(part, target)
                return target
            part.unlink()
    raise SvhnUnavailableError(
        f"{url}: {length:,} bytes with SHA-256 {got}, expected {sha256}, twice in a row; they were thrown "
        f"away. The server, or a proxy on the way, has another file: set {URL_VARIABLE} or url= to another "
        "mirror (with checksums= if its files differ from the official ones)."
    )


def _probe(url: str, seconds: float) -> None:
    """Raises if the server does not answer at all in time.

    In a thread of its own, since looking up a name has no time-out: without network it can take minutes.
    """
    outcome: list[Exception | None] = []

    def ask() -> None:
        request = urllib.request.Request(url, headers={"Range": "bytes=0-0", "User-Agent": "jaxunreg"})
        try:
            urllib.request.urlopen(request, timeout=seconds).close()
            outcome.append(None)
        except urllib.error.HTTPError as error:
            error.close()
            outcome.append(error)
        except (OSError, http.client.HTTPException) as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if outcome and outcome[0] is None:
        return
    failure = outcome[0] if outcome else f"no answer within {seconds:g} s"
    reason = failure if isinstance(failure, urllib.error.HTTPError) else getattr(failure, "reason", failure)
    raise SvhnUnavailableError(
        f"{url}: {reason}. Check the network, set {URL_VARIABLE} or url= to a mirror, or give a local copy "
        "with data_dir=."
    )


class _LocalDatasetInfo(tfds.core.DatasetInfo):
    """Does not look into TFDS's bucket: it is switched off, but each look leaves a temporary folder."""

    def initialize_from_bucket(self) -> None:
        """There is nothing to look up."""


def _remote_files(checksums: Mapping[str, str] | None) -> dict[str, RemoteFile]:
    """What to fetch for each split: the official files, or a mirror's by the checksums given."""
    if checksums is None:
        return dict(OFFICIAL_FILES)
    names = [OFFICIAL_FILES[split].name for split in SPLITS]
    if sorted(checksums) != sorted(names):
        raise ValueError(f"checksums has the keys {sorted(checksums)}, expected {names}.")
    for name, sha256 in checksums.items():
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError(f"checksums[{name!r}] is {sha256!r}, expected 64 lower-case hexadecimal digits.")
    return {
        split: file if file.sha256 == checksums[file.name] else RemoteFile(file.name, checksums[file.name])
        for split, file in OFFICIAL_FILES.items()
    }


def _base_url(url: str | None) -> str:
    base = url or os.environ.get(URL_VARIABLE) or OFFICIAL_URL
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise ValueError(f"the SVHN URL is {base!r}, expected http:// or https://. For local files use data_dir=.")
    return base.rstrip("/") + "/"


class SvhnCropped(tfds.core.GeneratorBasedBuilder):
    """SVHN's cropped digits, `train` and `test`, as TFDS data in ArrayRecord files, without TensorFlow.

    Once this module is imported, `tfds.builder("svhn_cropped_jaxunreg")` finds it. Each example is
    `{"image": uint8 [32, 32, 3], "label": 0..9}`, in the order of the official files.

    Args:
      url: where the two `.mat` files are; default: the environment variable `JAXUNREG_SVHN_URL`, else the
        official place.
      checksums: file name to SHA-256, for a mirror whose files are not the official ones.
      timeout: seconds without an answer after which an attempt is given up.
      attempts: attempts in one transfer.
      progress: whether to draw progress bars on standard error.
      file_format: as in TFDS; only `"array_record"` can be written and read without TensorFlow.
      **kwargs: TFDS's own, e.g. `data_dir`.

    >>> SvhnCropped.name
    'svhn_cropped_jaxunreg'
    """

    name = "svhn_cropped_jaxunreg"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "train and test of the official format 2."}  # noqa: RUF012 (TFDS's own form)

    def __init__(
        self,
        *,
        url: str | None = None,
        checksums: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        attempts: int = 5,
        progress: bool = True,
        file_format: str = "array_record",
        **kwargs: Any,
    ):
        self._base_url = _base_url(url)
        self._files = _remote_files(checksums)
        self._timeout, self._attempts, self._progress = timeout, attempts, progress
        super().__init__(file_format=file_format, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return _LocalDatasetInfo(
            builder=self,
            description="The cropped digits of the Street View House Numbers, 32x32 RGB: train and test.",
            homepage=OFFICIAL_URL,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=IMAGE_SHAPE, encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
            citation=(
                "Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng. Reading digits in natural "
                "images with unsupervised feature learning. NIPS workshop on deep learning and unsupervised "
                "feature learning, 2011."
            ),
        )

    @property
    def download_folder(self) -> Path:
        """Where the `.mat` files are kept, once verified; good as a `data_dir` of `load_svhn`."""
        return Path(self.data_dir).parents[1] / "downloads" / self.name

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        folder = self.download_folder
        folder.mkdir(parents=True, exist_ok=True)
        paths = {
            split: fetch(
                self._base_url + file.name,
                folder / file.name,
                sha256=file.sha256,
                size=file.size,
                timeout=self._timeout,
                attempts=self._attempts,
                progress=self._progress,
            )
            for split, file in self._files.items()
        }
        return {split: self._generate_examples(path, split) for split, path in paths.items()}

    def _generate_examples(self, path: Path, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        images, labels = read_mat(path)
        pairs = zip(images, labels.tolist(), strict=True)
        shown = _tracked(enumerate(pairs), len(labels), f"preparing {split}", self._progress)
        for index, (image, label) in shown:
            # As a PIL image: TFDS would encode an array through TensorFlow.
            yield index, {"image": Image.fromarray(image), "label": label}

    def _log_download_bytes(self) -> None:
        """TFDS prints to standard output here; the progress bars say it."""

    def _log_download_done(self) -> None:
        """As above."""


def _tracked(items: Any, total: int, description: str, progress: bool) -> Any:
    return track(items, description, total=total, console=Console(stderr=True), disable=not progress)


@contextlib.contextmanager
def _without_tfds_bars() -> Iterator[None]:
    before = getattr(tqdm_utils, "_active", True)
    tfds.display_progress_bar(False)
    try:
        yield
    finally:
        tfds.display_progress_bar(before)


def _is_prepared(builder: SvhnCropped) -> bool:
    return all((Path(builder.data_dir) / name).is_file() for name in ("dataset_info.json", "features.json"))


def _prepare(builder: SvhnCropped) -> None:
    """Downloads and prepares; whatever happens, what is left is complete or is not there."""
    prepared = Path(builder.data_dir)
    root = prepared.parents[1]
    needed = {*prepared.parents, builder.download_folder, *builder.download_folder.parents}
    needed.add(root / "downloads" / "extracted")  # TFDS makes this one
    made = sorted((folder for folder in needed if not folder.exists()), key=lambda folder: -len(folder.parts))
    try:
        root.mkdir(parents=True, exist_ok=True)
        # One process at a time prepares a cache; the others of a sweep wait and then find it prepared.
        with held(root, wait=True) as certainly:
            # What a killed process left; another one that is still at work must keep its own.
            for leftover in prepared.parent.glob("incomplete.*") if certainly else ():
                shutil.rmtree(leftover)
            if not _is_prepared(builder):
                with _without_tfds_bars():
                    builder.download_and_prepare()
    except SvhnUnavailableError:
        raise
    except OSError as error:
        raise _unwritable(root, error) from error
    except ValueError as error:
        raise SvhnUnavailableError(f"SVHN could not be prepared in {root}: {error}") from error
    except Exception as error:  # TFDS and ArrayRecord's writer raise many kinds
        raise SvhnUnavailableError(
            f"SVHN could not be prepared in {root} ({type(error).__name__}: {error}). Nothing of it was kept "
            "except complete downloads. If the disk is full, free 500 MB or choose another folder with "
            "cache_dir= or TFDS_DATA_DIR."
        ) from error
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: prepared data, or a download to go on with
                folder.rmdir()


def _gather(builder: SvhnCropped, split: str, progress: bool) -> LabeledImages:
    # Pillow decodes at the same speed as through TFDS, which warns that OpenCV is missing.
    source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    images, labels = np.empty((len(source), *IMAGE_SHAPE), np.uint8), np.empty(len(source), np.int64)
    starts = range(0, len(source), _GATHER)
    for start in _tracked(starts, len(starts), f"reading {split}", progress):
        rows = range(start, min(start + _GATHER, len(source)))
        for row, example in zip(rows, source.__getitems__(list(rows)), strict=True):
            with Image.open(io.BytesIO(example["image"])) as image:
                images[row] = np.asarray(image)
            labels[row] = example["label"]
    return LabeledImages(images, labels)


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
    """Loads SVHN's cropped digits from a local copy, from prepared TFDS data, or from the net, in this order.

    Without `data_dir` the data are prepared once, below `cache_dir`, by `SvhnCropped`. The two downloads
    (246 MB) are verified against the official SHA-256 and kept below `cache_dir/downloads`. A transfer that
    breaks is resumed, in this call or in the next.

    Args:
      data_dir: a folder with the official pair `train_32x32.mat`, `test_32x32.mat`, or with `train.npz`,
        `test.npz` that hold `images` uint8 `[n, 32, 32, 3]` and `labels` `[n]`. Then nothing else is tried.
      cache_dir: TFDS's data folder; default: the environment variable `TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`.
      url: base URL of the two `.mat` files; default: the environment variable `JAXUNREG_SVHN_URL`, else the
        official place.
      checksums: SHA-256 by file name, for a mirror with other files than the official ones. They are prepared
        in a folder of their own.
      download: whether the net may be used.
      timeout: seconds without an answer after which an attempt is given up.
      attempts: attempts in one transfer.
      answer_within: seconds in which the server must give its first answer, looking its name up included;
        default: no such limit.
      progress: whether to draw progress bars on standard error.

    Returns:
      The data set, its images uint8 `[n, 32, 32, 3]` and labels int64 in 0..9. Its name is `"SVHN"` for the
      official sizes and e.g. `"SVHN (24.8k subset)"` otherwise.

    Raises:
      FileNotFoundError: `data_dir` has no complete pair.
      ValueError: a file of `data_dir` is not of its form, or `url` or `checksums` are not well formed.
      SvhnUnavailableError: the data cannot be fetched, verified, prepared, or read back.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for split, n in (("train", 3), ("test", 2)):
    ...         images = np.zeros((n, 32, 32, 3), np.uint8)
    ...         np.savez(Path(folder) / f"{split}.npz", images=images, labels=np.arange(n))
    ...     load_svhn(folder).name
    'SVHN (3-image subset)'
    """
    if data_dir is not None:
        return _load_local(Path(data_dir).expanduser())
    root = Path(cache_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    files = _remote_files(checksums)
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
        raise _unwritable(root, error) from error
    fetched = not _is_prepared(builder)
    if fetched:
        if not download:
            raise SvhnUnavailableError(
                f"SVHN is not prepared in {root} and download=False forbids fetching it. Allow it, or give a "
                "local copy with data_dir=."
            )
        if answer_within is not None:
            _probe(_base_url(url) + files["test"].name, answer_within)
        _prepare(builder)
        # Made anew, since another process may have prepared the data, of which this builder knows nothing.
        builder = SvhnCropped(url=url, checksums=checksums, **options)
    try:
        train, test = (_gather(builder, split, progress) for split in SPLITS)
    except Exception as error:  # ArrayRecord's reader, protobuf and Pillow raise many kinds
        raise SvhnUnavailableError(
            f"the prepared SVHN in {builder.data_dir} cannot be read ({type(error).__name__}: {error}). "
            "Remove that folder and run again."
        ) from error
    return Dataset(
        name=display_name(len(train.images), len(test.images)),
        train=train,
        test=test,
        source=f"SVHN, {f'fetched from {_base_url(url)}' if fetched else 'prepared before'} through TFDS "
        f"({_counts(train, test)}).",
        requested="svhn",
    )
