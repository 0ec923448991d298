"""The sources of images for `jaxunreg score`: files, or the frames of a camera."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from jaxunreg.cli.console import say
from jaxunreg.cli.detectors import color_of, fitting_images
from jaxunreg.cli.options import CommandError
from jaxunreg.cli.outputs import Outputs
from jaxunreg.cli.stopping import stopping
from jaxunreg.datasets.camera import CameraError, camera_frames, is_live, shown_source
from jaxunreg.datasets.folders.files import load_files
from jaxunreg.datasets.folders.image_files import OnError
from jaxunreg.datasets.folders.reading import Reading
from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.errors import argument
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.verdict import InspectedImage
from jaxunreg.integers import check_integer
from jaxunreg.serving.pace import Pace


class Scored(NamedTuple):
    """One image that was scored.

    Attributes:
      path: path that names its files.
      found: the detector's result.
      cells: cells of its row that the source fills.
    """

    path: Path
    found: InspectedImage
    cells: Mapping[str, Any]


@runtime_checkable
class Source(Protocol):
    """Images, in order."""

    @property
    def total(self) -> int | None:
        """Number of images, or None if unknown."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """The columns of rows that it fills, besides `path`."""
        ...

    @property
    def skipped(self) -> Sequence[Skipped]:
        """The files that were left out from the beginning."""
        ...

    def prepare(self, outputs: Outputs) -> Mapping[str, Mapping[Path, Path]]:
        """Make the folders of outputs; see `Outputs.prepare`."""
        ...

    def scored(self, outputs: Outputs, pace: Pace) -> Iterator[Scored | Skipped]:
        """Yield each image with the detector's result, and the files that could not be read.

        Args:
          outputs: the outputs to make.
          pace: measures how long a part takes.
        """
        ...


class FileSource:
    """Files, and folders with images in them.

    Args:
      detector: the detector.
      targets: the files and folders.
      on_error: what to do with an unusable file.

    Raises:
      CommandError: there is no file.
      ImageFileError, MissingFileError, ArgumentError: the errors of `load_files`.
    """

    columns: Sequence[str] = ()

    def __init__(self, detector: AnomalyDetector, targets: Sequence[Path], on_error: OnError) -> None:
        self._detector = detector
        images = load_files(targets, color=color_of(detector), on_error=on_error, min_size=detector.smallest_image)
        self._images = fitting_images(detector, images, on_error)
        self._on_error = on_error
        if self._images.bits != detector.bits:
            bits = self._images.bits
            say(f"the model was made of {detector.bits}-bit images, these have {bits} bits; both mean [0, 1]")

    @property
    def total(self) -> int | None:
        return len(self._images)

    @property
    def skipped(self) -> Sequence[Skipped]:
        return self._images.skipped

    def prepare(self, outputs: Outputs) -> Mapping[str, Mapping[Path, Path]]:
        return outputs.prepare([file.path for file in self._images.files])

    def scored(self, outputs: Outputs, pace: Pace) -> Iterator[Scored | Skipped]:
        reading = Reading(self._images, self._on_error)
        found = self._detector.inspect(
            pace.reading(reading), pixels=outputs.wants_pixels, heat_map_stride=outputs.heat_map_stride
        )
        for one in pace.showing(found):
            yield from reading.take_skipped()
            path = reading.files.popleft().path
            yield Scored(path, one, {"path": str(path)})
        yield from reading.take_skipped()


class CameraSource:
    """The frames of a camera, a stream or a video file.

    Args:
      detector: the detector.
      source: see `camera_frames`.
      every: yield only each frame whose number this divides.
    """

    columns: Sequence[str] = ("frame", "seconds")
    skipped: Sequence[Skipped] = ()
    total: int | None = None

    def __init__(self, detector: AnomalyDetector, source: str, every: int) -> None:
        check_integer("every", every, at_least=1)
        self._detector, self._source, self._every = detector, source, every

    def prepare(self, outputs: Outputs) -> Mapping[str, Mapping[Path, Path]]:
        return outputs.prepare_frames()

    def scored(self, outputs: Outputs, pace: Pace) -> Iterator[Scored | Skipped]:
        waiting: list[dict[str, Any]] = []
        with stopping() if is_live(self._source) else contextlib.nullcontext() as stop:
            images = pace.reading(self._images(waiting))
            # A detector reads ahead. The next frame of a camera may be minutes away, so each is scored separately.
            streams = ([image] for image in images) if is_live(self._source) else [images]
            for stream in streams:
                for one in pace.showing(
                    self._detector.inspect(stream, pixels=outputs.wants_pixels, heat_map_stride=outputs.heat_map_stride)
                ):
                    cells = waiting.pop(0)
                    yield Scored(Path(f"frame-{cells['frame']:06d}"), one, cells)
                if stop is not None and stop.is_set():
                    return

    def _images(self, waiting: list[dict[str, Any]]) -> Iterator[np.ndarray]:
        """Yield the images of frames, and note their cells."""
        shown, least = shown_source(self._source), self._detector.smallest_image
        frames = camera_frames(self._source, channels=self._detector.channels, every=self._every)
        with contextlib.closing(frames):
            for frame in frames:
                height, width = frame.image.shape[:2]
                if min(height, width) < least:
                    raise CameraError(
                        f"{shown}, whose frames have {height}x{width} pixels", f"at least {least}x{least}"
                    )
                waiting.append({"path": shown, "frame": frame.number, "seconds": frame.seconds})
                yield frame.image


def source_of(
    detector: AnomalyDetector, targets: Sequence[Path], camera: str | None, every: int, on_error: OnError
) -> Source:
    """Return the source that a command line names.

    Args:
      detector: the detector.
      targets: files and folders.
      camera: value of `--camera`.
      every: value of `--every`.
      on_error: value of `--on-error`.

    Raises:
      CommandError: it names no source, or two.
      ImageFileError, MissingFileError, ArgumentError: the errors of `FileSource` and `CameraSource`.
    """
    if camera is None:
        if every != 1:
            raise CommandError(f"{argument('every', every)} without --camera", "both", "give --camera", field="every")
        return FileSource(detector, targets, on_error)
    if targets:
        raise CommandError(
            f"images and {argument('camera', shown_source(camera))}", "one of them", "leave one out", field="camera"
        )
    return CameraSource(detector, camera, every)
