"""Files that cannot be used: each is named, and none is left out in silence."""

import io
import logging
import shutil
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxunreg.datasets.folders import ImageFileError, load_files, room
from jaxunreg.datasets.folders.dataset import load_folder
from tests.datasets.written_images import gray, rgb, write, write_mask


def broken(kind: str, path: Path) -> Path:
    """Writes a file of the kind; returns the file that the error must name."""
    buffer = io.BytesIO()
    Image.fromarray(rgb(0, 64, 64)).save(
        buffer, {"cut.jpg": "JPEG", "cut.bmp": "BMP", "cut.tif": "TIFF"}.get(kind, "PNG")
    )
    whole = buffer.getvalue()
    if kind.startswith("cut"):
        path = path.with_suffix(kind[3:])
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not an image")
    elif kind == "damaged":
        path.write_bytes(whole[:200] + bytes(200) + whole[400:])
    elif kind == "dangling":
        path.symlink_to(path.with_name("nowhere.png"))
    elif kind == "small":
        write(path, gray(0, height=3, width=50))
    elif kind in ("nan", "some nan", "range"):
        path, values = path.with_suffix(".tif"), np.full((8, 8), 0.5, np.float32)
        values[: 8 if kind == "nan" else 1] = 1.5 if kind == "range" else np.nan
        write(path, values)
    elif kind == "wide":
        path = write(path.with_suffix(".tif"), np.full((8, 8), 70_000, np.int32))
    elif kind == "pages":
        path = path.with_suffix(".tif")
        Image.fromarray(gray(0)).save(path, save_all=True, append_images=[Image.fromarray(gray(1))])
    elif kind == "bomb":
        header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
        data = b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    elif kind in ("mask size", "mask broken"):
        write(path, gray(0))
        mask = path.with_name("bad_mask.png")
        write_mask(mask, 9, 6)
        if kind == "mask broken":
            mask.write_bytes(mask.read_bytes()[:50])
        return mask
    elif kind == "two masks":
        write(path, gray(0))
        write_mask(path.with_name("bad_mask.png"))
        write_mask(path.with_name("bad-mask.bmp"))
    return path


KINDS = {
    "cut.png": "cannot be decoded .*it is damaged or cut short, copy it again",
    "cut.jpg": "cannot be decoded .*truncated",
    "cut.bmp": "cannot be decoded",
    "cut.tif": "damaged",
    "damaged": "cannot be decoded",
    "empty": r"is empty \(0 bytes\); copy it again",
    "text": "is no PNG, JPEG, BMP or TIFF image",
    "dangling": r"cannot be opened \(No such file or directory\)",
    "small": r"has 3x50 pixels; expected at least 4x4",
    "nan": "holds nothing but NaN; expected finite values",
    "some nan": "holds 8 of 64 values that are NaN or infinite",
    "range": r"holds floating-point values from 0\.5 to 1\.5; expected \[0, 1\]",
    "wide": "holds pixels of mode I; expected 8 or 16 bits",
    "pages": "holds 2 images; expected one",
    "bomb": "is a decompression bomb, or very large .*if it is genuine, raise PIL.Image.MAX_IMAGE_PIXELS",
    "mask size": r"has 9x6 pixels; expected 6x9, as its image bad\.png has",
    "mask broken": "cannot be decoded",
    "two masks": r"has 2 masks \(defect/bad-mask\.bmp, defect/bad_mask\.png\); expected one at most",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_used_is_named_or_skipped(tmp_path, caplog, kind):
    for i in range(4):
        write(tmp_path / "good" / f"{i}.png", gray(i))
    write(tmp_path / "defect" / "fine.png", gray(9))
    path = broken(kind, tmp_path / "defect" / "bad.png").relative_to(tmp_path)
    with pytest.raises(ImageFileError, match=f"{path}: .*{KINDS[kind]}.*on_error='skip'"):
        load_folder(tmp_path, min_size=4)
    with caplog.at_level(logging.WARNING, logger="jaxunreg.datasets"):
        data = load_folder(tmp_path, min_size=4, on_error="skip")
    assert [entry.path.relative_to(data.directory) for entry in data.skipped] == [path]
    assert str(path) in caplog.text
    assert [file.path.name for file in data.test.files if file.label == "defect"] == ["fine.png"]
    assert data.describe()["skipped"][0] == {"path": path.as_posix(), "reason": data.skipped[0].reason}
    # All that is left can be read.
    assert [image.shape for image in (*data.train, *data.test)] == [(6, 9, 1)] * 5


def test_all_that_is_wrong_is_counted(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(ImageFileError, match=r"0\.png: is empty .* \(and 2 more files\)"):
        load_folder(tmp_path)
    with pytest.raises(ValueError, match=r"none of 3 images can be used; the first error is: .*0\.png: is empty"):
        load_folder(tmp_path, on_error="skip")
    write(tmp_path / "bad" / "0.png", gray(0))
    (tmp_path / "good").mkdir()
    shutil.move(tmp_path / "0.png", tmp_path / "good" / "0.png")
    with pytest.raises(ValueError, match="has no normal image left, all 1 were skipped"):
        load_folder(tmp_path, on_error="skip")


def test_large_images_are_no_warning(tmp_path, monkeypatch):
    """Between Pillow's limit and twice that limit it only warns, which would be lost in a thread."""
    path = write(tmp_path / "a.png", gray(0, 20, 20))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageFileError, match=r"a\.png: is a decompression bomb, or very large"):
            load_files([path])


def test_a_file_that_changes_before_it_is_read_again_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.png", gray(0))
    monkeypatch.setattr(room, "MOST_BYTES", 0)
    images = load_files([path])
    write(path, gray(0, 7, 7))
    with pytest.raises(ImageFileError, match=r"a\.png: has 7x7 pixels; expected 6x9, as it was when it was loaded"):
        images[0]
    path.unlink()
    with pytest.raises(ImageFileError, match=r"a\.png: cannot be opened"):
        images[0]


def test_nothing_below_a_folder_is_left_out_silently(tmp_path):
    write(tmp_path / "lot" / "bolt.png", gray(0))
    write(tmp_path / "lot" / "bolt_gt.png", gray(1))
    write(tmp_path / "lot" / "ground_truth" / "crack" / "1.png", gray(2))
    write(tmp_path / "far" / "nut.png", gray(3))
    (tmp_path / "lot" / "link").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "lot")
    images = load_files([tmp_path / "lot"])
    assert [file.path for file in images.files] == [
        tmp_path / "lot" / "bolt.png",
        tmp_path / "lot" / "link" / "nut.png",
    ]
    reasons = {path.relative_to(tmp_path / "lot").as_posix(): reason for path, reason in images.skipped}
    assert "is a mask of bolt.png" in reasons["bolt_gt.png"]
    assert "lies in `ground_truth`" in reasons["ground_truth/crack/1.png"]
    assert "is the same folder as" in reasons["link/back"]
    assert len(reasons) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"got no image in .*empty; expected files"):
        load_files([tmp_path / "lot", tmp_path / "empty"])
