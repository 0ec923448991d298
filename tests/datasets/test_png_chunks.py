"""Chunks of a PNG that no pixel depends on are no reason to refuse it, and those that matter are kept."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxunreg.datasets.folders import ImageFileError, load_files
from tests.datasets.written_images import rgb

PIXELS = rgb(0)
LONG = b"a" * 3_000_000


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*chunks: bytes, at_end: bool = False, image: Image.Image | None = None) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(buffer, "PNG")
    whole = buffer.getvalue()
    place = len(whole) - 12 if at_end else 33  # Before IEND, or after IHDR.
    return whole[:place] + b"".join(chunks) + whole[place:]


def read(contents: bytes, folder: Path) -> np.ndarray:
    (folder / "a.png").write_bytes(contents)
    [image] = load_files([folder / "a.png"], color="rgb")
    return image


HARMLESS = {
    "EXIF that is none": [chunk(b"eXIf", b"junk for EXIF")],
    "EXIF cut short": [chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x05")],
    "a long text": [chunk(b"tEXt", b"k\0" + LONG)],
    "a long compressed text": [chunk(b"zTXt", b"k\0\0" + zlib.compress(LONG))],
    "a long international text": [chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(LONG))],
    "70 MB of texts": [chunk(b"zTXt", b"k\0\0" + zlib.compress(LONG[:1_000_000]))] * 70,
    "a text of another method": [chunk(b"zTXt", b"k\0\5junk")],
    "a damaged text": [chunk(b"tEXt", b"k\0abc")[:-1] + b"\0"],
    "a long colour profile": [chunk(b"iCCP", b"p\0\0" + zlib.compress(LONG))],
    "a colour profile of another method": [chunk(b"iCCP", b"p\0\7junk")],
    **{f"a short {name}": [chunk(name.encode(), b"")] for name in ("pHYs", "gAMA", "cHRM", "sRGB", "bKGD", "tIME")},
}


@pytest.mark.parametrize("kind", HARMLESS)
@pytest.mark.parametrize("at_end", [False, True])
def test_a_chunk_that_no_pixel_depends_on_is_passed_over(kind, at_end, tmp_path):
    np.testing.assert_array_equal(read(png(*HARMLESS[kind], at_end=at_end), tmp_path), PIXELS)


def test_orientation_palette_and_transparency_are_kept(tmp_path, caplog):
    turned = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
    np.testing.assert_array_equal(read(png(turned, *HARMLESS["a long text"]), tmp_path), np.rot90(PIXELS, -1))
    clear = Image.fromarray(PIXELS).quantize(8)
    clear.info["transparency"] = bytes([0, 255])
    expected = np.asarray(clear.convert("RGBA"))[:, :, :3]
    with caplog.at_level("INFO", logger="jaxunreg.datasets"):
        found = read(png(*HARMLESS["a long compressed text"], image=clear), tmp_path)
    np.testing.assert_array_equal(found, expected)
    assert "1 have transparent pixels" in caplog.text


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[: len(whole) // 2], lambda whole: whole[:70] + b"?" + whole[71:]]
)
def test_damage_to_what_matters_is_still_told(damage, tmp_path):
    with pytest.raises(ImageFileError, match="damaged"):
        read(damage(png(chunk(b"tEXt", b"k\0abc"))), tmp_path)
