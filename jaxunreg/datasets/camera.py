"""Frames of a camera, of a stream, or of a video file, as images."""

import re
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxunreg.datasets.folders.pixels import convert
from jaxunreg.errors import ArgumentError, JaxunregError, MissingPackageError, argument
from jaxunreg.integers import check_integer

# Until a camera on the network is given up: to connect, and from one packet to the next.
_SECONDS = 10.0

_LOGIN = re.compile(r"(?<=://)[^/@]*@")


class CameraError(JaxunregError, OSError):
    """A camera, a stream or a video that cannot be opened, or ends with an error."""


class Frame(NamedTuple):
    """One frame.

    Attributes:
      number: of the frame from the start, from 0 on; frames that are passed over count.
      seconds: from the start of the video, or None where it does not say so.
      image: `[height, width, channels]`.
    """

    number: int
    seconds: float | None
    image: UInt8[np.ndarray, "height width channels"]


def camera_frames(source: str, *, channels: int, every: int = 1) -> Generator[Frame, None, None]:
    """Yield the frames of a camera, a stream or a video file.

    Of a file each frame is given. Of a camera or a stream the newest one is given, and those that arrive in the
    meantime are passed over, so that nobody looks at the past.

    Args:
      source: the number of a camera of this machine, the address of a stream (`rtsp://...`), or a video file.
      channels: 1 or 3, as the images are to have.
      every: give each frame whose number this divides.

    Yields:
      Frames, uint8, turned as the file says.

    Raises:
      MissingPackageError: PyAV is not installed.
      CameraError: the source cannot be opened or read, or holds no video.
      ArgumentError: `every` is below 1.
    """
    check_integer("every", every, at_least=1)
    shown = shown_source(source)
    try:
        container = _opened(source)
    except CameraError:
        raise
    except (OSError, ValueError) as error:
        raise CameraError(
            f"{shown}, which cannot be opened ({_reason(error)})",
            "the number of a camera, the address of a stream, or a video file",
            "see whether it is there, and whether another program uses it",
        ) from error
    with container:
        if not container.streams.video:
            raise CameraError(f"{shown}, which holds no video", "one with a video", "give another file")
        frames = _decoded(container, shown)
        for number, frame in _newest(frames) if is_live(source) else frames:
            if number % every == 0:
                yield Frame(number, frame.time, _image(frame, channels))


def is_live(source: str) -> bool:
    """Return whether a source goes on whether or not somebody looks.

    >>> is_live("0"), is_live("rtsp://10.0.0.7/line"), is_live("parts.mp4")
    (True, True, False)
    """
    return source.isdecimal() or "://" in source


def shown_source(source: str) -> str:
    """Return a source as rows and messages have it: without the name and the password in an address.

    >>> shown_source("rtsp://admin:secret@10.0.0.7/line")
    'rtsp://10.0.0.7/line'
    """
    return f"camera {source}" if source.isdecimal() else _LOGIN.sub("", source)


def _opened(source: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(
            "no package av", "PyAV, the package of the extra `camera`", "run `pip install 'jaxunreg[camera]'`"
        ) from error
    if source.isdecimal():
        name, system = {
            "linux": (f"/dev/video{source}", "v4l2"),
            "darwin": (source, "avfoundation"),
        }.get(sys.platform, ("", ""))
        if not name:
            raise ArgumentError(
                f"{argument('camera', source)} on {sys.platform}",
                "an address or a file on this system",
                "have the camera's own program give a stream",
            )
        return av.open(name, format=system)
    if "://" in source:
        options = {"rtsp_transport": "tcp"} if source.lower().startswith("rtsp") else {}
        return av.open(source, options=options, timeout=(_SECONDS, _SECONDS))
    if not Path(source).is_file():
        raise CameraError(
            f"{source}, where there is no file",
            "the number of a camera, the address of a stream, or a video file",
            "look at the path",
        )
    # A name with a colon in it would be taken for an address.
    return av.open(str(Path(source).absolute()))


def _decoded(container: Any, shown: str) -> Iterator[tuple[int, Any]]:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    number = -1
    try:
        for number, frame in enumerate(container.decode(stream)):
            yield number, frame
    except (OSError, ValueError) as error:  # PyAV's errors are kinds of these
        raise CameraError(
            f"{shown}, which ends with an error after {number + 1} frames ({_reason(error)})",
            "one that can be read to its end",
            "copy the file again, or look at the camera and its network, and start again",
        ) from error
    if number < 0:
        raise CameraError(f"{shown}, without a frame", "a video with frames", "give another file")


def _newest(frames: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yield the newest frame whenever one is asked for; the others are passed over."""
    latest: list[tuple[int, Any]] = []
    error: list[BaseException] = []
    ended, changed = threading.Event(), threading.Condition()

    def read() -> None:
        try:
            for found in frames:
                with changed:
                    latest[:] = [found]
                    changed.notify()
                if ended.is_set():
                    return
        except Exception as reason:
            error.append(reason)
        finally:
            with changed:
                ended.set()
                changed.notify()

    reading = threading.Thread(target=read, name="camera", daemon=True)
    reading.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: latest or ended.is_set())
                found = latest.pop() if latest else None
            if found is None:
                break
            yield found
    finally:
        ended.set()
        reading.join()
    if error:
        raise error[0]


def _image(frame: Any, channels: int) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return convert(np.rot90(pixels, turns), channels, as_float=False)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
