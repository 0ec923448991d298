"""The pixels of one image file of any format, bit depth and colours, or an error that names the file."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Num, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.memory import Turns
from jaxunreg.datasets.folders.png_chunks import with_needed_chunks
from jaxunreg.datasets.folders.tiff import as_tagged, most_bits
from jaxunreg.datasets.folders.unusable import ImageFileError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF")

_TIFF = (b"II*\0", b"MM\0*")

# ITU-R BT.601 in units of 2^-16, as in Pillow. 2^16 times a 16-bit value still fits into 32 bits.
_LUMA = (19595, 38470, 7471)


# Measured while images of 10,000x10,000 pixels were decoded and checked.
_BYTES_A_PIXEL = {"1": 4, "L": 4, "I;16": 7, "F": 12, "P": 14, "RGB": 11}
_MOST_BYTES_A_PIXEL = 20

# One for the process, because its threads share its memory.
_TURNS = Turns(small=2**24)


class Decoded(NamedTuple):
    """The contents of a file.

    Attributes:
      pixels: uint8 or uint16, or float32 in [0, 1]; 1 or 3 channels.
      alpha: how opaque each pixel is, up to 255; `None` if all are opaque, or if it was not asked for.
    """

    pixels: Num[np.ndarray, "height width channels"]
    alpha: UInt8[np.ndarray, "height width"] | None


def decode(file: HashedFile, *, alpha: bool = False) -> Decoded:
    """Read and decode a file once.

    The image is turned by its EXIF orientation, a palette is resolved, and an alpha channel is dropped.

    Args:
      file: the file. It knows its hash afterwards.
      alpha: whether to look for pixels that are not opaque.

    Raises:
      ImageFileError: the file cannot be read or decoded, or its pixels are of no such kind.
    """
    try:
        contents = file.read()
    except OSError as error:
        raise ImageFileError(
            file.path, f"cannot be opened ({error.strerror})", advice="check the path and its rights"
        ) from error
    return decode_bytes(file.path, contents, alpha=alpha)


def decode_bytes(path: Path, contents: bytes, *, alpha: bool = False, most_pixels: int | None = None) -> Decoded:
    """Decode the bytes of a file, like `decode`.

    Args:
      path: the file, or its name in an error.
      contents: all of its bytes.
      alpha: as for `decode`.
      most_pixels: the largest number of pixels; default: Pillow's limit.

    Raises:
      ImageFileError: the bytes cannot be decoded, or the pixels are of no such kind.
    """
    if not contents:
        raise ImageFileError(path, "is empty (0 bytes)", advice="copy it again")
    contents = with_needed_chunks(contents)
    try:
        with Image.open(io.BytesIO(contents), formats=_FORMATS) as image:
            _check_extent(path, image, most_pixels)
            pages = getattr(image, "n_frames", 1)
            # MPO is a JPEG with further pictures after it. Telephones write it with the suffix .jpg.
            if pages > 1 and image.format != "MPO":
                raise ImageFileError(path, f"holds {pages} images", "one", "save each in a file of its own")
            with _TURNS.taking(image.width * image.height * _BYTES_A_PIXEL.get(image.mode, _MOST_BYTES_A_PIXEL)):
                if image.mode in ("RGB", "RGBA", "LA") and _bits_stored(image) > 8:
                    pixels = _decode_deep_color(path, contents, image)
                else:
                    pixels = _as_array(path, _upright(image), image.format)
                    if isinstance(image, TiffImageFile):
                        pixels = as_tagged(path, pixels, image.tag_v2)
                return Decoded(pixels, _alpha(image) if alpha else None)
    except MemoryError as error:
        raise ImageFileError(
            path,
            f"needs more memory to decode than is free ({str(error) or 'MemoryError'})",
            advice="close other programs, or cut it into parts",
        ) from error
    except ImageFileError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(path, str(error)) from error
    except UnidentifiedImageError as error:
        kind = "a TIFF of a kind that is not supported" if contents[:4] in _TIFF else "no PNG, JPEG, BMP or TIFF image"
        raise ImageFileError(
            path, f"is {kind}, or damaged from its beginning", advice="copy or convert it again"
        ) from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, MemoryError, ...
        raise ImageFileError(
            path,
            f"cannot be decoded ({type(error).__name__}: {error})",
            advice="it is damaged or cut short, copy it again",
        ) from error


def _check_extent(path: Path, image: Image.Image, most_pixels: int | None) -> None:
    """Refuse an image above the caller's limit, or Pillow's, before it is decoded.

    Up to twice the limit, Pillow only warns. A thread cannot turn the warning into an error, because Python's filters
    of warnings are global.
    """
    if most_pixels is not None and image.width * image.height > most_pixels:
        pixels = f"{image.height}x{image.width} pixels"
        raise ImageFileError(path, f"has {pixels}", f"at most {most_pixels} of them", "cut it into parts")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise _bomb(path, f"{image.width * image.height} pixels, above the limit of {limit}")


def _bomb(path: Path, why: str) -> ImageFileError:
    return ImageFileError(
        path,
        f"is a decompression bomb, or very large ({why})",
        advice="if it is genuine, raise PIL.Image.MAX_IMAGE_PIXELS, or cut it into parts",
    )


def _upright(image: Image.Image) -> Image.Image:
    """Return the image turned by its orientation, or the image itself if it is upright."""
    return ImageOps.exif_transpose(image) if image.getexif().get(0x0112, 1) != 1 else image


def _alpha(image: Image.Image) -> UInt8[np.ndarray, "height width"] | None:
    if not image.has_transparency_data:
        return None
    upright = _upright(image)
    alpha = np.asarray((upright if "A" in upright.getbands() else upright.convert("RGBA")).getchannel("A"))
    return alpha if (alpha < 255).any() else None


def _bits_stored(image: Any) -> int:
    if isinstance(image, TiffImageFile):
        return most_bits(image.tag_v2)
    return 16 if image.format == "PNG" and any(";16" in str(tile[3]) for tile in image.tile) else 8


def _decode_deep_color(path: Path, contents: bytes, image: Image.Image) -> np.ndarray:
    """Decode 16-bit colour. Pillow would keep only 8 bits."""
    if image.getexif().get(0x0112, 1) != 1:
        raise ImageFileError(
            path, "is a 16-bit colour image with an orientation tag", advice="turn its pixels and save it again"
        )
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageFileError(
            path,
            "is a 16-bit colour image, which needs `pip install 'jaxunreg[formats]'`",
            advice="install that, or convert the image to 16-bit gray",
        ) from error
    decoder = imagecodecs.tiff_decode if image.format == "TIFF" else imagecodecs.png_decode
    pixels = decoder(contents)
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[:2] != image.size[::-1]:
        raise ImageFileError(
            path, f"holds {pixels.dtype} pixels of shape {pixels.shape}", "8 or 16 bits in gray or RGB", "convert it"
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
        if mode in ("P", "PA"):  # through RGBA, because a palette's entries may be transparent
            image = image.convert("RGBA")
        elif mode in ("CMYK", "YCbCr"):
            image = image.convert("RGB")
        return np.asarray(image)[:, :, :3]
    raise ImageFileError(
        path,
        f"holds pixels of mode {mode}",
        "8 or 16 bits in gray or RGB, or floating point in [0, 1]",
        "convert it to one of these",
    )


def _checked_floats(path: Path, values: Float32[np.ndarray, "height width"]) -> Float32[np.ndarray, "height width"]:
    bad = int((~np.isfinite(values)).sum())
    if bad:
        what = (
            "nothing but NaN" if np.isnan(values).all() else f"{bad} of {values.size} values that are NaN or infinite"
        )
        raise ImageFileError(path, f"holds {what}", "finite values in [0, 1]", "write the image again")
    low, high = float(values.min()), float(values.max())
    if low < 0.0 or high > 1.0:
        raise ImageFileError(
            path, f"holds floating-point values from {low:g} to {high:g}", "[0, 1]", "rescale all images alike"
        )
    return values


def convert(
    pixels: Num[np.ndarray, "height width _"], channels: int, *, as_float: bool
) -> UInt8[np.ndarray, "height width {channels}"] | Float32[np.ndarray, "height width {channels}"]:
    """Convert between gray and RGB, and 8 and 16 bits. Only this function does so."""
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
