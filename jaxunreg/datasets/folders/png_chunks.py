"""The chunks of a PNG that its pixels depend on. A viewer looks at no others, and damage in them harms no pixel."""

import struct
from collections.abc import Iterator

from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Besides those whose name begins with a capital letter: transparency, the parts of an animation, and orientation.
_USED = frozenset((b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"iTXt"))

_XMP = b"XML:com.adobe.xmp\0\0"
"""The beginning of a text that may hold an orientation, and is not compressed."""

_LONGEST_XMP = 2**20


def with_needed_chunks(contents: bytes) -> bytes:
    """A PNG without the chunks that its pixels do not depend on, such as texts, colour profiles and junk for EXIF.

    Pillow refuses an image for some of them: texts of more than 1 MB, EXIF that is none, a chunk that is too short.

    Args:
      contents: of a file. What is no PNG, or is cut short, is returned as it is from there on.

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
        except Exception:  # SyntaxError, struct.error and others: it is none
            return False
    if name == b"iTXt":
        return len(body) <= _LONGEST_XMP and bytes(body[: len(_XMP)]) == _XMP
    return name in _USED or name[:1].isupper()
