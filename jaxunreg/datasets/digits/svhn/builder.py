"""A TFDS builder of SVHN's cropped digits that needs neither TensorFlow nor the `extra` split.

Importing this module imports `tensorflow_datasets`, which the extra `svhn` brings.

Raises:
  MissingPackageError: a package of the extra `svhn` is not installed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import track

from jaxunreg.datasets.digits.svhn.download import fetch
from jaxunreg.datasets.digits.svhn.local import read_mat
from jaxunreg.datasets.digits.svhn.official import IMAGE_SHAPE, OFFICIAL_URL, base_url, remote_files
from jaxunreg.errors import MissingPackageError, argument

try:
    # TFDS needs the other two, but it imports the first of them only when it writes or reads, and its error names
    # neither.
    import array_record  # noqa: F401
    import importlib_resources  # noqa: F401
    import tensorflow_datasets as tfds
except ImportError as error:
    raise MissingPackageError(
        f"no package {error.name}, which SVHN needs unless it is a local copy",
        "the packages of the extra svhn",
        f"pip install 'jaxunreg[svhn]', or give a local copy with {argument('data_dir')}",
    ) from error


class _LocalDatasetInfo(tfds.core.DatasetInfo):
    """Info without a look into TFDS's bucket. The bucket is off, but each look leaves a temporary folder."""

    def initialize_from_bucket(self) -> None:
        """Do nothing: there is nothing to look up."""


class SvhnCropped(tfds.core.GeneratorBasedBuilder):
    """SVHN's cropped digits, `train` and `test`, as TFDS data in ArrayRecord files, without TensorFlow.

    Once this module is imported, `tfds.builder("svhn_cropped_jaxunreg")` finds it. Each example is
    `{"image": uint8 [32, 32, 3], "label": 0..9}`, in the order of the official files.

    Args:
      url: base URL of the two `.mat` files; default: the environment variable `JAXUNREG_SVHN_URL`, else the official
        URL.
      checksums: SHA-256 for each file name, for a mirror whose files are not the official ones.
      timeout: seconds without an answer before an attempt fails.
      attempts: number of attempts in one transfer.
      progress: whether to draw progress bars on standard error.
      file_format: as in TFDS. Only `"array_record"` can be written and read without TensorFlow.
      **kwargs: arguments of TFDS, e.g. `data_dir`.

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
        self._base_url = base_url(url)
        self._files = remote_files(checksums)
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
        """The folder that keeps the verified `.mat` files. It can be the `data_dir` of `load_svhn`."""
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
        shown = tracked(enumerate(pairs), len(labels), f"preparing {split}", self._progress)
        for index, (image, label) in shown:
            # As a PIL image, because TFDS would encode an array through TensorFlow.
            yield index, {"image": Image.fromarray(image), "label": label}

    def _log_download_bytes(self) -> None:
        """Print nothing. TFDS prints to standard output here, and the progress bars already show it."""

    def _log_download_done(self) -> None:
        """Print nothing, as above."""


def tracked(items: Any, total: int, description: str, progress: bool) -> Any:
    """Yield the items, with a progress bar on standard error."""
    return track(items, description, total=total, console=Console(stderr=True), disable=not progress)
