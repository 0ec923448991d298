"""A file on disk that is read once, for its SHA-256 and for its pixels, if there is room to keep them."""

import hashlib
import threading
from pathlib import Path

import numpy as np

from jaxunreg.paths import read_file


class HashedFile:
    """A file whose bytes are hashed only the first time that they are read.

    All selections of a data set and all threads share these objects. A pickled one carries its hash, but not its
    pixels. Comparing, copying and printing neither read nor hash the file.

    Args:
      path: the file, which need not exist yet.
      sha256: its hash in hexadecimal, if known.

    Attributes:
      path: as above.
      kept: its decoded pixels, or None if there was no room to keep them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.png")
    ...     _ = path.write_bytes(b"bytes")
    ...     file = HashedFile(path)
    ...     contents = file.read()
    >>> file.sha256[:8]
    '277089d9'
    """

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        self.path = path
        self.kept: np.ndarray | None = None
        self._sha256 = sha256
        self._hashing = threading.Lock()

    def read(self) -> bytes:
        """Return the file's bytes, and keep their hash if none is known yet.

        Raises:
          OSError: the file cannot be read, or is a pipe, a socket or a device.
        """
        contents = self._contents()
        with self._hashing:
            if self._sha256 is None:
                self._sha256 = hashlib.sha256(contents).hexdigest()
        return contents

    @property
    def sha256(self) -> str:
        """Return SHA-256 of the bytes when they were first read, in hexadecimal.

        Raises:
          OSError: the file has not been read yet and cannot be.
        """
        with self._hashing:
            if self._sha256 is None:
                self._sha256 = hashlib.sha256(self._contents()).hexdigest()
            return self._sha256

    def _contents(self) -> bytes:
        return read_file(self.path)

    def __repr__(self) -> str:
        return f"HashedFile({str(self.path)!r})"

    def __reduce__(self) -> tuple:
        return type(self), (self.path, self._sha256)
