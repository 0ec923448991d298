"""Image files on disk as a sequence of arrays. They are decoded once if there is room for them."""

import hashlib
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, SupportsIndex, TypeAlias, overload

import numpy as np
from jaxtyping import Bool, Int64

from jaxunreg.datasets.folders.hashed_masks import decode_masks
from jaxunreg.datasets.folders.image_file import GOOD, UNKNOWN, ImageFile
from jaxunreg.datasets.folders.pixels import convert, decode
from jaxunreg.datasets.folders.splitting import held_out
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped
from jaxunreg.errors import ArgumentError, JaxunregError

Color: TypeAlias = Literal["auto", "gray", "rgb"]

OnError: TypeAlias = Literal["raise", "skip"]


class SelectionError(JaxunregError, IndexError):
    """A selection does not fit the images."""


@dataclass(frozen=True, eq=False)
class ImageFiles(Sequence):
    """Images of any sizes as a sequence of arrays, made by `load_files` and `load_folder`.

    `x[i]` is `[height, width, channels]`, uint8 if all images of the data set have 8 bits, otherwise float32 in [0, 1].
    Images are turned by their EXIF orientation, palettes are resolved, and alpha channels are dropped. Images that were
    decoded when they were loaded stay in memory as far as there is room (`Room.in_memory`). The others are decoded
    again when they are read. A pickled object carries no pixels.

    Attributes:
      files: the files of the images, and what is known about them.
      sizes: height and width of each, int64 `[n, 2]`.
      channels: 1 or 3, for all images.
      bits: the most bits of any image of the data set: 8, 16, or 32 for floating point.
      skipped: files that `load_files` left out.

    Raises:
      ImageFileError: on access, if a file that must be read again has changed or gone since it was loaded.
    """

    files: tuple[ImageFile, ...]
    sizes: Int64[np.ndarray, "n 2"]
    channels: int
    bits: int = 8
    skipped: tuple[Skipped, ...] = ()

    @property
    def dtype(self) -> np.dtype:
        """uint8 or float32."""
        return np.dtype(np.uint8 if self.bits == 8 else np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of all images once decoded."""
        return int(self.sizes.prod(axis=1).sum()) * self.channels * self.dtype.itemsize

    @property
    def labels(self) -> tuple[str, ...]:
        """`"good"`, a defect's name, or `"unknown"`, for each image."""
        return tuple(file.label for file in self.files)

    @property
    def is_anomalous(self) -> Bool[np.ndarray, " n"]:
        """Whether each image has a defect.

        Raises:
          ArgumentError: there are images of unknown label.
        """
        if UNKNOWN in self.labels:
            raise ArgumentError(
                f"{self.labels.count(UNKNOWN)} of {len(self)} images with an unknown label",
                "a label for each",
                "load them with load_folder, which finds the labels",
                field="images",
            )
        return np.array([label != GOOD for label in self.labels], bool)

    @property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of the bytes of each file, in hexadecimal.

        Each file is hashed once, when it is first read. `load_files` and `load_folder` do so. All selections of the
        images share the hashes, and so do copies that are sent to other processes.
        """
        return tuple(file.content.sha256 for file in self.files)

    @cached_property
    def fingerprint(self) -> str:
        """Return SHA-256 over names, labels, sizes and the bytes of all files and masks, wherever they lie."""
        digest = hashlib.sha256(f"{self.channels} {self.dtype}".encode())
        for file, (height, width) in zip(self.files, self.sizes, strict=True):
            digest.update(f"\0{file.path.name}\0{file.label}\0{height}x{width}\0".encode())
            digest.update(bytes.fromhex(file.content.sha256))
            digest.update(bytes.fromhex(file.mask_content.sha256) if file.mask_content else b"\0")
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: SupportsIndex) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> "ImageFiles": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "np.ndarray | ImageFiles":
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        i = operator.index(index)
        content = self.files[i].content
        stored = decode(content).pixels if content.kept is None else content.kept
        pixels = convert(stored, self.channels, as_float=self.bits > 8)
        check_size(content.path, pixels.shape[:2], tuple(self.sizes[i].tolist()), "as it was when it was loaded")
        # The caller must not change the kept pixels.
        return pixels.copy() if pixels is content.kept else pixels

    def mask(self, index: SupportsIndex) -> Bool[np.ndarray, "height width"] | None:
        """Return the pixels of the defect: all false for a normal image, `None` if no mask is known."""
        i = operator.index(index)
        file = self.files[i]
        if file.label == GOOD:
            return np.zeros(self.sizes[i], bool)
        if file.mask_content is None:
            return None
        kept = file.mask_content.kept
        return decode_masks(file.mask_content) if kept is None else kept.copy()

    def select(self, indices: Any) -> "ImageFiles":
        """Return some of the images, in the given order.

        Args:
          indices: integers `[m]`, or one truth value for each image.

        Raises:
          SelectionError: the numbers of truth values and of images differ.
        """
        chosen = np.asarray(indices)
        if chosen.dtype == bool and chosen.shape != (len(self),):
            raise SelectionError(f"{chosen.shape} truth values", f"({len(self)},)", "give one for each image")
        chosen = np.arange(len(self))[chosen.astype(np.int64) if chosen.size == 0 else chosen]
        return replace(self, files=tuple(self.files[i] for i in chosen), sizes=self.sizes[chosen], skipped=())

    def joined(self, others: "ImageFiles") -> "ImageFiles":
        """Return these images followed by others of the same data set."""
        return replace(
            self,
            files=(*self.files, *others.files),
            sizes=np.concatenate([self.sizes, others.sizes]),
            skipped=(*self.skipped, *others.skipped),
        )

    def masked(self) -> "ImageFiles":
        """Return the images whose defective pixels are known: the normal images, and those with a mask."""
        return self.select([file.label == GOOD or file.mask is not None for file in self.files])

    def split(self, fraction: float, *, seed: int = 0) -> "tuple[ImageFiles, ImageFiles]":
        """Hold out whole groups of images, chosen by `held_out`.

        Returns:
          The images that are kept and those that are held out, in their order.
        """
        out = held_out([file.group for file in self.files], fraction, seed=seed)
        return self.select(~out), self.select(out)


def check_size(path: Path, got: tuple[int, ...], expected: tuple[int, ...], why: str) -> None:
    """Check the height and width of an image or mask.

    Raises:
      ImageFileError: they are not as expected.
    """
    if got != expected:
        height, width = expected
        raise ImageFileError(path, f"has {got[0]}x{got[1]} pixels", f"{height}x{width}, {why}")


def check_smallest(path: Path, size: tuple[int, int], smallest: int | None) -> None:
    """Check that an image is large enough.

    Raises:
      ImageFileError: it is not.
    """
    height, width = size
    if min(height, width) < (smallest or 1):
        raise ImageFileError(path, f"has {height}x{width} pixels", f"at least {smallest}x{smallest}")
