"""SVHN prepared as TFDS data: made once, whole or not at all, and read back."""

import contextlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.utils import tqdm_utils

from jaxunreg.datasets.digits.dataset import LabeledImages
from jaxunreg.datasets.digits.svhn.builder import SvhnCropped, tracked
from jaxunreg.datasets.digits.svhn.download import unwritable
from jaxunreg.datasets.digits.svhn.official import IMAGE_SHAPE, SvhnUnavailableError
from jaxunreg.errors import argument
from jaxunreg.files import held

_GATHER = 1024


def is_prepared(builder: SvhnCropped) -> bool:
    """Return whether the data exist and are complete."""
    return all((Path(builder.data_dir) / name).is_file() for name in ("dataset_info.json", "features.json"))


def prepare(builder: SvhnCropped) -> None:
    """Download and prepare. Afterwards the data are complete, or do not exist.

    Raises:
      SvhnUnavailableError: the data cannot be fetched, verified, or written.
    """
    prepared = Path(builder.data_dir)
    root = prepared.parents[1]
    needed = {*prepared.parents, builder.download_folder, *builder.download_folder.parents}
    needed.add(root / "downloads" / "extracted")  # TFDS makes this one
    made = sorted((folder for folder in needed if not folder.exists()), key=lambda folder: -len(folder.parts))
    try:
        root.mkdir(parents=True, exist_ok=True)
        # One process at a time prepares a cache. The others of a sweep wait and then find it prepared.
        with held(root, wait=True) as certainly:
            # The files that a killed process left. A process that is still at work must keep its own.
            for leftover in prepared.parent.glob("incomplete.*") if certainly else ():
                shutil.rmtree(leftover)
            if not is_prepared(builder):
                with _without_tfds_bars():
                    builder.download_and_prepare()
    except SvhnUnavailableError:
        raise
    except OSError as error:
        raise unwritable(root, error) from error
    except ValueError as error:
        raise SvhnUnavailableError(
            f"SVHN could not be prepared in {root}: {error}", advice=f"give another {argument('url')}"
        ) from error
    except Exception as error:  # TFDS and ArrayRecord's writer raise many kinds
        raise SvhnUnavailableError(
            f"SVHN could not be prepared in {root} ({type(error).__name__}: {error})",
            advice="nothing of it was kept except complete downloads; if the disk is full, free 500 MB or choose "
            f"another folder with {argument('cache_dir')} or TFDS_DATA_DIR",
        ) from error
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: prepared data, or a download to go on with
                folder.rmdir()


@contextlib.contextmanager
def _without_tfds_bars() -> Iterator[None]:
    before = getattr(tqdm_utils, "_active", True)
    tfds.display_progress_bar(False)
    try:
        yield
    finally:
        tfds.display_progress_bar(before)


def gather(builder: SvhnCropped, split: str, progress: bool) -> LabeledImages:
    """Read one split of the prepared data into memory.

    Raises:
      SvhnUnavailableError: the data are damaged.
    """
    try:
        return _gathered(builder, split, progress)
    except Exception as error:  # ArrayRecord's reader, protobuf and Pillow raise many kinds
        raise SvhnUnavailableError(
            f"the prepared SVHN in {builder.data_dir} cannot be read ({type(error).__name__}: {error})",
            advice="remove that folder and run again",
        ) from error


def _gathered(builder: SvhnCropped, split: str, progress: bool) -> LabeledImages:
    # Pillow decodes at the same speed as through TFDS, which warns that OpenCV is missing.
    source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    images, labels = np.empty((len(source), *IMAGE_SHAPE), np.uint8), np.empty(len(source), np.int64)
    starts = range(0, len(source), _GATHER)
    for start in tracked(starts, len(starts), f"reading {split}", progress):
        rows = range(start, min(start + _GATHER, len(source)))
        for row, example in zip(rows, source.__getitems__(list(rows)), strict=True):
            with Image.open(io.BytesIO(example["image"])) as image:
                images[row] = np.asarray(image)
            labels[row] = example["label"]
    return LabeledImages(images, labels)
