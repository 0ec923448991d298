"""The normal images for a detector, from files or from arrays, with what is known about them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.doors import check_kind
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.images import check_images
from jaxunreg.inspection.painting import PaintedImages
from jaxunreg.inspection.remembered_files import remembered_hashes
from jaxunreg.serialization import fingerprint
from jaxunreg.training.training_images import image_sizes


@dataclass(frozen=True, eq=False)
class NormalImages:
    """Normal images to make a detector of.

    Attributes:
      images: the images.
      names: name of each, for errors and for choices that must not depend on the order.
      groups: the part that each image shows. Each array is a separate part.
      hashes: hash of each image, to find copies.
      sizes: height and width of each.
      channels: 1 or 3, for all images.
      bits: 8, 16, or 32 for floating point.
      fingerprint: fingerprint of all images together.
      remembered: what the detector stores of the files, to recognise them; empty for arrays.
      ignored: mask of the pixels that do not count; see `jaxunreg.inspection.painting`.
    """

    images: ImageFiles | Sequence[np.ndarray]
    names: list[str]
    groups: list[str]
    hashes: list[str]
    sizes: Int64[np.ndarray, "n 2"]
    channels: int
    bits: int
    fingerprint: str
    remembered: list[str]
    ignored: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def select(self, indices: Sequence[int]) -> ImageFiles | Sequence[np.ndarray]:
        """Return some of the images, in the given order, with ignored pixels painted over."""
        chosen = (
            self.images.select(indices) if isinstance(self.images, ImageFiles) else [self.images[k] for k in indices]
        )
        return chosen if self.ignored is None else PaintedImages(chosen, self.sizes[list(indices)], self.ignored)


def normal_images(images: ImageFiles | Sequence[np.ndarray]) -> NormalImages:
    """Return what is known about files or arrays.

    Raises:
      ArgumentError: there is no image, or the images have neither 1 nor 3 channels.
      TypeError, ValueError: the errors of `check_images`.
    """
    check_kind("images", images, Sequence, "images", "give `load_folder(...).train`, or a list of arrays")
    if not len(images):
        raise ArgumentError("no image", "normal images to train on and to calibrate with", "add some", field="images")
    return _of_files(images) if isinstance(images, ImageFiles) else _of_arrays(images)


def check_sizes(normal: NormalImages, smallest: int) -> None:
    """Refuse images that are too small.

    Args:
      normal: the images.
      smallest: their least height and width, in pixels.

    Raises:
      ArgumentError: an image is smaller.
    """
    small = np.flatnonzero((normal.sizes < smallest).any(axis=1))
    if small.size:
        height, width = normal.sizes[small[0]]
        more = f" (and {small.size - 1} more)" if small.size > 1 else ""
        raise ArgumentError(
            f"{normal.names[small[0]]}, which has {height}x{width} pixels{more}",
            f"at least {smallest}x{smallest}",
            f"leave it out, enlarge it, or with {argument('space', 'pixels')} choose a smaller {argument('patch')}",
            field="images",
        )


def _of_files(images: ImageFiles) -> NormalImages:
    hashes = remembered_hashes(images)
    return NormalImages(
        images=images,
        names=[file.path.name for file in images.files],
        groups=[file.group for file in images.files],
        hashes=hashes,
        sizes=images.sizes,
        channels=images.channels,
        bits=images.bits,
        fingerprint=images.fingerprint,
        remembered=hashes,
    )


def _of_arrays(images: Sequence[np.ndarray]) -> NormalImages:
    check_images(images[0], (None, None, None))
    channels = images[0].shape[-1]
    if channels not in (1, 3):
        raise ArgumentError(f"images of {channels} channels", "1 (gray) or 3 (RGB)", "convert them", field="images")
    for k, image in enumerate(images):
        if image.shape[2:] != (channels,):
            raise ArgumentError(
                f"image {k} of shape {list(image.shape)} among images of {channels} channel{'s'[: channels - 1]}",
                "all gray or all RGB",
                "convert them to one kind",
                field="images",
            )
    return NormalImages(
        images=images,
        names=[f"image {k}" for k in range(len(images))],
        groups=[str(k) for k in range(len(images))],
        hashes=[fingerprint(image) for image in images],
        sizes=image_sizes(images),
        channels=channels,
        bits=8 if images[0].dtype == np.uint8 else 32,
        fingerprint=fingerprint(list(images)),
        remembered=[],
    )
