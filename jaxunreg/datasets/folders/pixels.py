"""The pixels of one image file, whatever its format, bit depth and colours, or an error that names the file."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Num, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF")

# ITU-R BT.601 in units of 2^-16, as Pillow has it; 2^16 times a 16-bit value still fits into 32 bits.
_LUMA = (19595, 38470, 7471)


class ImageFileError(ValueError):
    """A file that cannot be used as an image or as a mask.

    Attributes:
      path: the file.
      reason: what is wrong with it and what to do.

    >>> raise ImageFileError(Path("part/03.png"), "is empty (0 bytes); copy it again")
    Traceback (most recent call last):
    jaxunreg.datasets.image_pixels.ImageFileError: part/03.png: is empty (0 bytes); copy it again
    """

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_pixels(path: Path) -> Num[np.ndarray, "height width channels"]:
    """Decode one file, turned as its EXIF orientation says, its palette resolved, its alpha channel dropped.

    Returns:
      uint8 or uint16, or float32 in [0, 1]; 1 or 3 channels.

    Raises:
      ImageFileError: it cannot be decoded, or its pixels are not of such a kind.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            pages = getattr(image, "n_frames", 1)
            # MPO is a JPEG with further pictures behind it, which telephones write under the suffix .jpg.
            if pages > 1 and image.format != "MPO":
                raise ImageFileError(path, f"holds {pages} images; expected one, save each in a file of its own")
            if image.mode in ("RGB", "RGBA", "LA") and _bits_stored(image) > 8:
                return _read_deep_color(path, image)
            return _as_array(path, ImageOps.exif_transpose(image), image.format)
    except ImageFileError:
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise ImageFileError(path, f"cannot be opened ({error.strerror}); check the path and its rights") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(path, error) from error
    except UnidentifiedImageError as error:
        if path.stat().st_size == 0:
            raise ImageFileError(path, "is empty (0 bytes); copy it again") from error
        raise ImageFileError(path, "is no PNG, JPEG, BMP or TIFF image, or damaged from its beginning") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, MemoryError, ...
        raise ImageFileError(
            path, f"cannot be decoded ({type(error).__name__}: {error}); it is damaged or cut short, copy it again"
        ) from error


def is_transparent(path: Path) -> bool:
    """Whether some pixel of a file that `read_pixels` reads is not opaque, which `read_pixels` does not tell."""
    with Image.open(path, formats=_FORMATS) as image:
        return image.has_transparency_data and bool((np.asarray(image.convert("RGBA"))[:, :, 3] < 255).any())


def read_mask(path: Path) -> Bool[np.ndarray, "height width"]:
    """The pixels that a mask marks: those above half of its own maximum, in any channel.

    Masks of 0 and 255, of 0 and 1, and those with rounded edges or traces of compression all come out as meant.

    Raises:
      ImageFileError: it cannot be decoded.
    """
    values = read_pixels(path).max(axis=2)
    return values > values.max() / 2


def _bomb(path: Path, error: Exception) -> ImageFileError:
    return ImageFileError(
        path,
        f"is a decompression bomb, or very large ({error}); if it is genuine, raise PIL.Image.MAX_IMAGE_PIXELS, or cut "
        "it into parts",
    )


def _bits_stored(image: Any) -> int:
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (8,)))  # BitsPerSample
    return 16 if image.format == "PNG" and any(";16" in str(tile[3]) for tile in image.tile) else 8


def _read_deep_color(path: Path, image: Image.Image) -> np.ndarray:
    """16-bit colour, of which Pillow keeps 8 bits only."""
    if image.getexif().get(0x0112, 1) != 1:
        raise ImageFileError(
            path, "is a 16-bit colour image with an orientation tag; turn its pixels and save it again"
        )
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageFileError(
            path, "is a 16-bit colour image, which needs `pip install jaxunreg[formats]`; or convert it to 16-bit gray"
        ) from error
    decode = imagecodecs.tiff_decode if image.format == "TIFF" else imagecodecs.png_decode
    pixels = decode(path.read_bytes())
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[:2] != image.size[::-1]:
        raise ImageFileError(
            path, f"holds {pixels.dtype} pixels of shape {pixels.shape}; expected 8 or 16 bits in gray or RGB"
        )
    return pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1]


def _as_array(path: Path, image: Image.Image, file_format: str | None) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and file_format == "PNG"):  # PNG: older Pillow's 16-bit gray
        return np.asarray(image).astype(np.uint16)[:, :, None]
    if mode == "F":
        return _checked_floats(path, np.asarray(image))[:, :, None]
    if mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L") if mode == "1" else image).reshape(*image.size[::-1], -1)[:, :, :1]
    if mode in ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"):
        if mode in ("P", "PA"):  # by way of RGBA, since a palette's entries may be transparent
            image = image.convert("RGBA")
        elif mode in ("CMYK", "YCbCr"):
            image = image.convert("RGB")
        return np.asarray(image)[:, :, :3]
    raise ImageFileError(
        path, f"holds pixels of mode {mode}; expected 8 or 16 bits in gray or RGB, or floating point in [0, 1]"
    )


def _checked_floats(path: Path, values: Float32[np.ndarray, "height width"]) -> Float32[np.ndarray, "height width"]:
    bad = int((~np.isfinite(values)).sum())
    if bad:
        what = (
            "nothing but NaN" if np.isnan(values).all() else f"{bad} of {values.size} values that are NaN or infinite"
        )
        raise ImageFileError(path, f"holds {what}; expected finite values in [0, 1]")
    low, high = float(values.min()), float(values.max())
    if low < 0.0 or high > 1.0:
        raise ImageFileError(
            path, f"holds floating-point values from {low:g} to {high:g}; expected [0, 1], rescale all images alike"
        )
    return values


def convert(
    pixels: Num[np.ndarray, "height width _"], channels: int, *, as_float: bool
) -> UInt8[np.ndarray, "height width {channels}"] | Float32[np.ndarray, "height width {channels}"]:
    """The one place where gray and RGB, and 8 and 16 bits, are converted into each other."""
    if pixels.shape[2] == 3 and channels == 1:
        if pixels.dtype == np.float32:
            pixels = pixels @ (np.array(_LUMA, np.float32) / 2**16)[:, None]
        else:
            red, green, blue = (pixels[:, :, k, None].astype(np.uint32) * np.uint32(_LUMA[k]) for k in range(3))
            pixels = ((red + green + blue + np.uint32(2**15)) >> np.uint32(16)).astype(pixels.dtype)
    elif pixels.shape[2] == 1 and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    if as_float and pixels.dtype != np.float32:
        pixels = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return np.ascontiguousarray(pixels)


def find_bombs(paths: Iterable[Path]) -> dict[Path, ImageFileError]:
    """Read all headers, where Pillow tells of a large image before it is decoded.

    To be called in one thread, since Python's filters of warnings are global; what else is wrong with a file is
    found when it is decoded.
    """
    bombs = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for path in paths:
            try:
                Image.open(path, formats=_FORMATS).close()
            except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
                bombs[path] = _bomb(path, error)
            except Exception:
                continue
    return bombs
