"""Images read one after another, without the files that can no longer be read."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from jaxunreg.datasets.folders.image_file import ImageFile
from jaxunreg.datasets.folders.image_files import ImageFiles, OnError
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped


class Reading:
    """A reader of images in order, which notes the files that were read and those that could not be read.

    Every file was checked when the images were loaded. It may have changed, vanished or become unreadable since.

    Args:
      images: files that were checked.
      on_error: whether a file that can no longer be read raises, or is skipped.

    Attributes:
      files: the files that were read, in order. Take the file of an image from here.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from jaxunreg.datasets.folders import load_files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a.png", "b.png"):
    ...         Image.new("L", (8, 6)).save(Path(folder, name))
    ...     reading = Reading(load_files([folder]), "skip")
    ...     [image.shape for image in reading], [file.path.name for file in reading.files]
    ([(6, 8, 1), (6, 8, 1)], ['a.png', 'b.png'])
    """

    def __init__(self, images: ImageFiles, on_error: OnError) -> None:
        self.files: deque[ImageFile] = deque()
        self._skipped: deque[Skipped] = deque()
        self._images, self._on_error = images, on_error

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the images that can be read.

        Raises:
          ImageFileError: an image cannot be read, and `on_error` is `"raise"`.
        """
        for k, file in enumerate(self._images.files):
            try:
                image = self._images[k]
            except ImageFileError as error:
                if self._on_error == "raise":
                    raise
                self._skipped.append(Skipped(error.path, error.reason))
            else:
                self.files.append(file)
                yield image

    def take_skipped(self) -> Iterator[Skipped]:
        """Return the files that were skipped since the last call."""
        while self._skipped:
            yield self._skipped.popleft()
