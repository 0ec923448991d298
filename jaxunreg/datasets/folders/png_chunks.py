"""The chunks of a PNG that its pixels depend on. Viewers ignore the others, and damage there harms no pixel."""

import struct
from collections.abc import Iterator

from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Needed besides chunks whose names begin with a capital letter: transparency, animation, and orientation.
_USED = frozenset((b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"iTXt"))

_XMP = b"XML:com.adobe.xmp\0\0"
"""The beginning of an uncompressed text that may hold an orientation."""

_LONGEST_XMP = 2**20


def with_needed_chunks(contents: bytes) -> bytes:
    """Return a PNG without the chunks that its pixels do not need, such as texts, colour profiles and broken EXIF.

    Pillow refuses an image for some of these: texts of more than 1 MB, invalid EXIF, a chunk that is too short.

    Args:
      contents: contents of a file. If it is no PNG, or is cut short, the rest is returned unchanged.

    >>> text = b"\\0\\0\\0\\5tEXtk\\0abc" + bytes(4)
    >>> with_needed_chunks(_SIGNATURE + text + b"rest") == _SIGNATURE + b"rest"
    True
    """
    if not contents.startswith(_SIGNATURE):
        return contents
    return b"".join((_SIGNATURE, *_needed(memoryview(contents))))


def _needed(contents: memoryview) -> Iterator[memoryview]:
    start = len(_SIGNATURE)
    while start + 12 <= len(contents):
        length, name = struct.unpack_from(">I4s", contents, start)
        end = start + 12 + length
        if end > len(contents):
            break
        if _is_needed(name, contents[start + 8 : end - 4]):
            yield contents[start:end]
        start = end
    yield contents[start:]


def _is_needed(name: bytes, body: memoryview) -> bool:
    if name == b"eXIf":
        try:
            Image.Exif().load(bytes(body))
        except Exception:  # SyntaxError, struct.error and others: it is not EXIF
            return False
    if name == b"iTXt":
        return len(body) <= _LONGEST_XMP and bytes(body[: len(_XMP)]) == _XMP
    return name in _USED or name[:1].isupper()
