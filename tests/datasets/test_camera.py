"""Frames of videos that the test writes: each or every Nth, exactly as written, and errors that say what to do."""

import contextlib
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxunreg.datasets import camera
from jaxunreg.datasets.camera import CameraError, camera_frames
from jaxunreg.errors import ArgumentError, MissingPackageError

av = pytest.importorskip("av")


def pixels(k: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(k).integers(0, 256, (height, width, 3), np.uint8)


def write_video(path: Path, images: list[np.ndarray], codec: str = "ffv1", kind: str = "bgr0", rate: int = 10) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = kind
        for image in images:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    return path


def test_frames_are_those_that_were_written(tmp_path):
    images = [pixels(k) for k in range(7)]
    video = write_video(tmp_path / "a:b.mkv", images)
    found = list(camera_frames(str(video), channels=3))
    assert [frame.number for frame in found] == list(range(7))
    assert [frame.seconds for frame in found] == pytest.approx([k / 10 for k in range(7)], abs=1e-3)
    for frame, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(frame.image, image)


@pytest.mark.parametrize(("every", "numbers"), [(1, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 3, 6]), (7, [0]), (100, [0])])
def test_every_nth_frame(every, numbers, tmp_path):
    video = write_video(tmp_path / "a.mkv", [pixels(k) for k in range(7)])
    assert [frame.number for frame in camera_frames(str(video), channels=3, every=every)] == numbers


def test_gray_frames_are_as_gray_as_images_of_files(tmp_path):
    from PIL import Image

    from jaxunreg.datasets.folders.files import load_files

    video = write_video(tmp_path / "a.mkv", [pixels(1)])
    Image.fromarray(pixels(1)).save(tmp_path / "a.png")
    [frame] = camera_frames(str(video), channels=1)
    np.testing.assert_array_equal(frame.image, load_files([tmp_path / "a.png"], color="gray")[0])


def test_a_lossy_video_is_close(tmp_path):
    video = write_video(
        tmp_path / "a.mp4", [np.full((40, 56, 3), 40 * k, np.uint8) for k in range(6)], "mpeg4", "yuv420p"
    )
    found = list(camera_frames(str(video), channels=3))
    assert [frame.image.mean() for frame in found] == pytest.approx([40 * k for k in range(6)], abs=4)


def test_a_live_source_gives_the_newest_frame_and_passes_over_the_others(tmp_path, monkeypatch):
    video = write_video(tmp_path / "a.mkv", [pixels(k) for k in range(60)])
    decoded = camera._decoded

    def paced(*args):
        for found in decoded(*args):
            time.sleep(0.004)
            yield found

    monkeypatch.setattr(camera, "_decoded", paced)
    monkeypatch.setattr(camera, "is_live", lambda source: True)
    found = []
    for frame in camera_frames(str(video), channels=3):
        found.append(frame.number)
        np.testing.assert_array_equal(frame.image, pixels(frame.number))
        time.sleep(0.03)
    assert found == sorted(set(found))
    assert 3 <= len(found) < 40
    assert found[-1] == 59
    # A reader that stops early leaves no thread behind.
    next(frames := camera_frames(str(video), channels=3))
    frames.close()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "where there is no file"),
        (b"no video", "which cannot be opened"),
    ],
)
def test_what_is_no_video_is_told(contents, message, tmp_path):
    if contents is not None:
        (tmp_path / "a.mp4").write_bytes(contents)
    with pytest.raises(CameraError, match=message):
        list(camera_frames(str(tmp_path / "a.mp4"), channels=3))


def test_a_video_that_is_cut_gives_the_frames_before(tmp_path):
    video = write_video(tmp_path / "a.mkv", [pixels(k) for k in range(10)])
    contents = video.read_bytes()
    video.write_bytes(contents[: len(contents) // 2])
    found = []
    # Some containers end with an error there, and some just end.
    with contextlib.suppress(CameraError):
        found.extend(frame.number for frame in camera_frames(str(video), channels=3))
    assert found == list(range(len(found)))
    assert 0 < len(found) < 10


def test_a_stream_that_nobody_sends_is_told_without_its_password():
    with pytest.raises(CameraError, match="rtsp://127.0.0.1:9/line, which cannot be opened") as told:
        list(camera_frames("rtsp://admin:secret@127.0.0.1:9/line", channels=3))
    assert "secret" not in str(told.value)


def test_what_it_needs_is_told(tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="every=0; expected at least 1"):
        next(camera_frames("0", channels=3, every=0))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"jaxunreg\[camera\]"):
        next(camera_frames(str(tmp_path), channels=3))
