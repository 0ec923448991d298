"""Folders of images: what lies on disk arrives bit for bit, and what cannot be used is named and never silent."""

import copy
import dataclasses
import hashlib
import io
import json
import logging
import pickle
import shutil
import struct
import sys
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxunreg.datasets.folders import ImageFile, ImageFileError, ImageFiles, checking, image_files, load_files
from jaxunreg.datasets.folders import pixels as pixels_module
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.folders.pixels import convert, decode, read_mask
from jaxunreg.datasets.folders.splitting import held_out


def gray(seed: int, height: int = 6, width: int = 9, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width), dtype)


def rgb(seed: int, height: int = 6, width: int = 9, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype)


def write(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def write_mask(path: Path, height: int = 6, width: int = 9, value: int = 255) -> Path:
    pixels = np.zeros((height, width), np.uint8)
    pixels[1:3, 2:5] = value
    return write(path, pixels)


def write_tree(root: Path) -> Path:
    """An MVTec-style tree with five training images and six test images of three kinds."""
    for i in range(5):
        write(root / "train" / "good" / f"{i:03}.png", gray(i))
    for i in range(2):
        write(root / "test" / "good" / f"{i:03}.png", gray(10 + i))
        for defect in ("crack", "dent"):
            write(root / "test" / defect / f"{i:03}.png", gray(20 + i))
    for i in range(2):
        write_mask(root / "ground_truth" / "crack" / f"{i:03}_mask.png")
    return root


def reason(skipped: tuple, path: Path) -> str:
    (found,) = [entry.reason for entry in skipped if entry.path == path]
    return found


# --- layouts ---------------------------------------------------------------------------------------------


def test_an_mvtec_tree(tmp_path):
    root = write_tree(tmp_path / "screw")
    data = load_folder(root)
    assert (data.name, data.layout, data.channels, data.bits, data.skipped) == ("screw", "mvtec", 1, 8, ())
    assert data.train.labels == ("good",) * 5
    assert data.test.labels == ("crack", "crack", "dent", "dent", "good", "good")
    np.testing.assert_array_equal(data.test.is_anomalous, [True, True, True, True, False, False])
    for i in range(5):
        np.testing.assert_array_equal(data.train[i][:, :, 0], gray(i), strict=True)
    expected = np.zeros((6, 9), bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(data.test.mask(1), expected, strict=True)
    assert data.test.mask(2) is None
    np.testing.assert_array_equal(data.test.mask(4), np.zeros((6, 9), bool), strict=True)
    # Nothing is in both splits, although the files of different folders have the same names.
    groups = [file.group for file in (*data.train.files, *data.test.files)]
    assert len(set(groups)) == 11
    with pytest.raises(ValueError, match=r"got test_fraction=0\.5 for .*screw; expected none, since that has a"):
        load_folder(root, test_fraction=0.5)
    assert load_folder(root, fallback_fraction=0.5).split == "as on disk"


def test_an_mvtec_tree_without_a_test_split_or_with_images_in_train_itself(tmp_path):
    for i in range(4):
        write(tmp_path / "Train" / f"{i}.png", gray(i))
    assert len(load_folder(tmp_path).train) == 4
    assert len(load_folder(tmp_path).test) == 0
    assert len(load_folder(tmp_path, test_fraction=0.5).test) == 2
    assert len(load_folder(tmp_path, fallback_fraction=0.5).test) == 2
    assert len(load_folder(tmp_path, test_fraction=0.0, fallback_fraction=0.5).test) == 0
    write(tmp_path / "Train" / "crack" / "0.png", gray(9))
    with pytest.raises(ValueError, match=r"Train/crack is a training folder called 'crack'; expected normal images"):
        load_folder(tmp_path)


def test_what_has_no_place_in_a_tree_is_listed(tmp_path, caplog):
    root = write_tree(tmp_path)
    (root / "readme.txt").write_text("hello")
    (root / "train" / "good" / "Thumbs.db").write_bytes(b"x")
    (root / "train" / "good" / ".hidden.png").write_bytes(b"x")
    (root / "ground_truth" / "crack" / "._000_mask.png").write_bytes(b"x")
    write(root / "test" / "stray.png", gray(0))
    write(root / "test" / "crack" / "deeper" / "0.png", gray(0))
    write(root / "validation" / "good" / "0.png", gray(0))
    write_mask(root / "ground_truth" / "scratch" / "0_mask.png")
    with caplog.at_level(logging.WARNING, logger="jaxunreg.datasets"):
        data = load_folder(root)
    assert (len(data.train), len(data.test)) == (5, 6)
    expected = {
        "readme.txt": "is not an image by its name",
        "test/stray.png": "has no place in the layout mvtec",
        "test/crack/deeper": "has no place",
        "validation": "has no place",
        "ground_truth/scratch": "there is no folder test/scratch",
    }
    listed = {path.relative_to(data.directory).as_posix(): why for path, why in data.skipped}
    assert listed.keys() == expected.keys()
    for name, why in expected.items():
        assert why in listed[name]
        assert name in caplog.text


@pytest.mark.parametrize(("normal", "abnormal"), [("good", "bad"), ("OK", "NG"), ("Normal", "scratched")])
def test_two_folders(tmp_path, normal, abnormal):
    for i in range(8):
        write(tmp_path / normal / f"{i}.png", gray(i, height=6 + i))
    for i in range(3):
        write(tmp_path / abnormal / f"{i}.bmp", gray(20 + i))
    write_mask(tmp_path / abnormal / "1_mask.png", value=1)
    data = load_folder(tmp_path)
    assert (data.layout, data.skipped) == ("normal-abnormal", ())
    assert set(data.train.labels) == {"good"}
    assert sorted(data.test.labels) == sorted(["good"] * 2 + [abnormal] * 3)
    # Every image is in one split, once.
    paths = [file.path.name for file in (*data.train.files, *data.test.files)]
    assert sorted(paths) == sorted([f"{i}.png" for i in range(8)] + [f"{i}.bmp" for i in range(3)])
    (with_mask,) = [i for i, file in enumerate(data.test.files) if file.mask]
    assert data.test.files[with_mask].path.name == "1.bmp"
    assert data.test.mask(with_mask).sum() == 6
    # The choice depends on the seed, and neither on the order nor on the number of the other files.
    chosen = {file.path.name for file in data.test.files if file.label == "good"}
    others = [{f.path.name for f in load_folder(tmp_path, seed=s).test.files if f.label == "good"} for s in range(5)]
    assert others[0] == chosen
    assert any(other != chosen for other in others)
    assert len(load_folder(tmp_path, test_fraction=0.0).train) == 8


def test_a_plain_folder_is_all_normal(tmp_path):
    for i in range(5):
        write(tmp_path / f"{i}.png", gray(i))
    data = load_folder(tmp_path)
    assert (data.layout, len(data.train), len(data.test)) == ("plain", 5, 0)
    assert data.test.nbytes == 0
    half = load_folder(tmp_path, test_fraction=0.4)
    assert (len(half.train), len(half.test)) == (3, 2)
    assert not half.test.is_anomalous.any()
    write_mask(tmp_path / "3_mask.png")
    with pytest.raises(ImageFileError, match=r"3_mask\.png: marks 6 pixels of 3\.png, which is among the normal"):
        load_folder(tmp_path)


def test_folders_without_a_layout_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; expected a folder of images"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no image and no folder; expected images, or `train/good`"):
        load_folder(tmp_path)
    path = write(tmp_path / "lot1" / "0.png", gray(0))
    with pytest.raises(NotADirectoryError, match=r"0\.png is a file; expected a folder"):
        load_folder(path)
    with pytest.raises(ValueError, match=r"holds no image and the folders lot1; expected"):
        load_folder(tmp_path)
    write(tmp_path / "good" / "0.png", gray(0))
    write(tmp_path / "ok" / "0.png", gray(0))
    with pytest.raises(ValueError, match=r"the folders good, ok; expected one folder of normal images"):
        load_folder(tmp_path)
    shutil.rmtree(tmp_path / "ok")
    (tmp_path / "test").mkdir()
    with pytest.raises(ValueError, match=r"the folders good, test; expected `train` beside `test`"):
        load_folder(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match=r"holds no normal image to train on \(layout mvtec\)"):
        load_folder(tmp_path)


# --- pixels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.TIFF"])
@pytest.mark.parametrize("pixels", [gray(0), rgb(0)], ids=["gray", "rgb"])
def test_lossless_formats_arrive_bit_for_bit(tmp_path, name, pixels):
    write(tmp_path / name, pixels)
    np.testing.assert_array_equal(load_files([tmp_path / name])[0], pixels.reshape(6, 9, -1), strict=True)


def test_jpeg_is_what_pillow_decodes(tmp_path):
    for name in ("a.jpg", "a.jpeg"):
        path = write(tmp_path / name, rgb(0, 32, 32))
        with Image.open(path) as image:
            np.testing.assert_array_equal(load_files([path])[0], np.asarray(image), strict=True)


def test_a_telephone_s_picture_is_the_first_of_its_file(tmp_path):
    pictures = [Image.fromarray(rgb(k, 32, 32)) for k in range(2)]
    pictures[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=pictures[1:])
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
        np.testing.assert_array_equal(load_files([tmp_path])[0], np.asarray(image), strict=True)


def color_tiff(pixels: np.ndarray, order: str) -> bytes:
    """An uncompressed 16-bit RGB TIFF in the given byte order, written after the specification."""
    height, width, _ = pixels.shape
    data = pixels.astype(order + "u2").tobytes()
    offset = 8 + 2 + 12 * 9 + 4
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, offset), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, offset + 6), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(data)),
    ]  # fmt: skip
    out = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    for tag, kind, count, value in entries:
        out += struct.pack(order + "HHI", tag, kind, count)
        out += struct.pack(order + "HH", value, 0) if kind == 3 and count == 1 else struct.pack(order + "I", value)
    return out + struct.pack(order + "IHHH", 0, 16, 16, 16) + data


def test_sixteen_bits_become_floating_point_without_loss(tmp_path):
    deep, color = gray(1, dtype=np.uint16), rgb(2, dtype=np.uint16)
    write(tmp_path / "gray.png", deep)
    write(tmp_path / "gray-little.tif", deep)
    write(tmp_path / "gray-big.tif", deep.astype(">u2"))
    (tmp_path / "rgb.png").write_bytes(imagecodecs.png_encode(color))
    for order in "<>":
        (tmp_path / f"rgb-{'little' if order == '<' else 'big'}.tif").write_bytes(color_tiff(color, order))
    write(tmp_path / "shallow.png", gray(3))
    images = load_files([tmp_path], color="rgb")
    assert (images.bits, images.dtype, images.channels) == (16, np.float32, 3)
    by_name = {file.path.stem: images[i] for i, file in enumerate(images.files)}
    for name, array in by_name.items():
        assert array.dtype == np.float32
        stored = {"gray": deep[:, :, None], "rgb": color}.get(name.split("-")[0], gray(3)[:, :, None])
        top = 255 if name == "shallow" else 65535
        np.testing.assert_array_equal(np.rint(array.astype(np.float64) * top), np.broadcast_to(stored, (6, 9, 3)))
    assert images.nbytes == sum(array.nbytes for array in by_name.values())


def test_sixteen_bit_colour_says_what_it_needs(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(rgb(2, dtype=np.uint16)))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageFileError, match=r"a\.png: is a 16-bit colour image, which needs `pip install"):
        load_files([tmp_path])


def test_gray_or_rgb_is_one_choice_and_said(tmp_path, caplog):
    write(tmp_path / "0.png", gray(0))
    write(tmp_path / "1.png", np.repeat(gray(1)[:, :, None], 3, axis=2))
    with caplog.at_level(logging.INFO, logger="jaxunreg.datasets"):
        images = load_folder(tmp_path).train
    assert images.channels == 1
    np.testing.assert_array_equal(images[1][:, :, 0], gray(1), strict=True)
    assert "2 images are used as gray (color='auto'): 0 of them have colours, 1 more are gray but stored" in caplog.text
    write(tmp_path / "2.png", rgb(2))
    data = load_folder(tmp_path)
    assert data.channels == 3
    assert data.describe()["color"] == "rgb"
    np.testing.assert_array_equal(data.train[0], np.repeat(gray(0)[:, :, None], 3, axis=2), strict=True)
    images = load_folder(tmp_path, color="gray").train
    with Image.open(tmp_path / "2.png") as image:
        np.testing.assert_array_equal(images[2][:, :, 0], np.asarray(image.convert("L")), strict=True)


def test_conversion_is_the_same_at_every_depth():
    shallow = rgb(0, 40, 40)
    deep, floating = shallow.astype(np.uint16) * 257, shallow.astype(np.float32) / 255
    exact = shallow @ np.array([0.299, 0.587, 0.114]) / 255
    for pixels, step in ((shallow, 1 / 255), (deep, 1 / 65535), (floating, 1e-6)):
        got = convert(pixels, 1, as_float=True)[:, :, 0]
        assert got.dtype == np.float32
        # Half a step of rounding, and weights that are rounded to 16 bits.
        np.testing.assert_allclose(got, exact, rtol=0, atol=step / 2 + 2**-16)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_other_modes(tmp_path, mode):
    plain = Image.fromarray(gray(5) if mode in ("1", "L", "LA") else rgb(5))
    image = plain.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(gray(6)))
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    expected = np.asarray(image.convert("L") if mode in ("1", "L") else image.convert("RGB"))
    if mode in ("LA", "RGBA"):  # without alpha, which is dropped: the values as they are stored
        expected = np.asarray(plain)
    np.testing.assert_array_equal(load_files([path])[0], expected.reshape(6, 9, -1), strict=True)


def test_a_palette_with_transparent_entries(tmp_path):
    image = Image.fromarray(rgb(5)).quantize(8)
    image.save(tmp_path / "a.png", transparency=bytes([0, 128, *[255] * 6]))
    np.testing.assert_array_equal(load_files([tmp_path])[0], np.asarray(image.convert("RGB")), strict=True)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in (tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "c.tif"):
        write(path, rgb(7, 16, 24), exif=exif)
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        images = load_files([path])
        np.testing.assert_array_equal(images[0], expected, strict=True)
        assert images.sizes.tolist() == [[16, 24] if orientation < 5 else [24, 16]]


def test_masks_of_any_scale(tmp_path):
    expected = np.zeros((6, 9), bool)
    expected[1:3, 2:5] = True
    for value in (1, 128, 255):
        np.testing.assert_array_equal(read_mask(write_mask(tmp_path / "m.png", value=value)), expected, strict=True)
    soft = np.where(expected, 255, 90).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "m.png", soft)), expected, strict=True)
    assert not read_mask(write(tmp_path / "m.png", np.zeros((6, 9), np.uint8))).any()


# --- what cannot be used ---------------------------------------------------------------------------------


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


def test_names_that_say_two_things(tmp_path):
    for i in range(3):
        write(tmp_path / "good" / f"{i}.png", gray(i))
    write(tmp_path / "bad" / "0.jpg", gray(0))
    write_mask(tmp_path / "bad" / "0.png")
    with pytest.raises(ImageFileError, match=r"bad/0\.jpg: shares its name .*0\.jpg, 0\.png\); call a mask NAME_mask"):
        load_folder(tmp_path)
    (tmp_path / "bad" / "0.png").rename(tmp_path / "bad" / "0_mask.png")
    write_mask(tmp_path / "bad" / "7_mask.png")
    data = load_folder(tmp_path)
    assert "no image '7' beside it" in reason(data.skipped, data.directory / "bad" / "7_mask.png")
    write_mask(tmp_path / "ground_truth" / "bad" / "8.png")
    with pytest.raises(ImageFileError, match=r"ground_truth/bad/8\.png: is a mask of an image '8', which does not"):
        load_folder(tmp_path)


def test_an_empty_mask_of_a_defect_is_no_mask(tmp_path):
    root = write_tree(tmp_path).resolve()
    mask = write_mask(root / "ground_truth" / "crack" / "000_mask.png", value=0)
    data = load_folder(root)
    assert "marks nothing of 000.png" in reason(data.skipped, mask)
    assert data.test.labels[0] == "crack"
    assert data.test.mask(0) is None


def test_large_images_are_no_warning(tmp_path, monkeypatch):
    """Between Pillow's limit and twice that limit it only warns, which would be lost in a thread."""
    path = write(tmp_path / "a.png", gray(0, 20, 20))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageFileError, match=r"a\.png: is a decompression bomb, or very large"):
            load_files([path])


def test_a_file_that_changes_later_is_named(tmp_path):
    path = write(tmp_path / "a.png", gray(0))
    images = load_files([path])
    write(path, gray(0, 7, 7))
    with pytest.raises(ImageFileError, match=r"a\.png: has 7x7 pixels; expected 6x9, as it was when it was loaded"):
        images[0]
    path.unlink()
    with pytest.raises(ImageFileError, match=r"a\.png: cannot be opened"):
        images[0]


# --- the sequence ----------------------------------------------------------------------------------------


def test_files_and_folders_to_score(tmp_path):
    one = write(tmp_path / "z.png", gray(0))
    write(tmp_path / "lot" / "b.png", gray(1))
    write(tmp_path / "lot" / "a.png", gray(2))
    write_mask(tmp_path / "lot" / "a_mask.png")
    write(tmp_path / "lot" / "inner" / "c.png", gray(3))
    write(tmp_path / "lot" / ".trash" / "d.png", gray(3))
    (tmp_path / "lot" / "notes.txt").write_text("x")
    images = load_files([one, str(tmp_path / "lot")])
    assert [file.path.name for file in images.files] == ["z.png", "a.png", "b.png", "c.png"]
    assert [entry.path.name for entry in images.skipped] == ["notes.txt", "a_mask.png"]
    assert images.mask(0) is None
    with pytest.raises(ValueError, match="got 4 of 4 images with an unknown label"):
        _ = images.is_anomalous
    with pytest.raises(FileNotFoundError, match=r"x\.png does not exist"):
        load_files([tmp_path / "x.png"])
    with pytest.raises(ValueError, match="got no image"):
        load_files([])


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


def test_images_are_lazy_and_a_sequence(tmp_path, monkeypatch):
    for i in range(6):
        write(tmp_path / f"{i}.png", gray(i, height=5 + i))
    images = load_folder(tmp_path).train
    decoded = []
    monkeypatch.setattr(image_files, "decode", lambda file: decoded.append(file.path) or decode(file))
    assert images.sizes.dtype == np.int64
    assert images.sizes.tolist() == [[5 + i, 9] for i in range(6)]
    assert images.nbytes == sum((5 + i) * 9 for i in range(6))
    chosen = images.select(np.array([4, 0]))
    assert [file.path.name for file in chosen.files] == ["4.png", "0.png"]
    assert [file.path.name for file in images.select(images.sizes[:, 0] > 8).files] == ["4.png", "5.png"]
    assert [file.path.name for file in images[-2:].files] == ["4.png", "5.png"]
    assert decoded == []
    np.testing.assert_array_equal(images[np.int64(-1)][:, :, 0], gray(5, height=10), strict=True)
    assert len(decoded) == 1
    assert [image.shape[0] for image in images] == [5, 6, 7, 8, 9, 10]
    with pytest.raises(IndexError):
        images[6]
    with pytest.raises(IndexError, match=r"got \(2,\) truth values; expected \(6,\)"):
        images.select([True, False])
    with pytest.raises(AttributeError):
        images.files = ()


def test_images_can_be_sent_to_other_processes(tmp_path):
    data = load_folder(write_tree(tmp_path))
    copy = pickle.loads(pickle.dumps(data.test))
    assert copy.files == data.test.files
    np.testing.assert_array_equal(copy[2], data.test[2], strict=True)
    error = pickle.loads(pickle.dumps(ImageFileError(tmp_path, "is odd", "an even one", "halve it")))
    assert str(error) == f"{tmp_path}: is odd; expected an even one; halve it"
    assert (error.path, error.reason) == (tmp_path, "is odd; expected an even one; halve it")


_LISTENERS: list[list[str]] = []


def _note_opened(event: str, arguments: tuple) -> None:
    if event == "open" and _LISTENERS and isinstance(arguments[0], str | Path):
        for names in _LISTENERS:
            names.append(Path(arguments[0]).name)


sys.addaudithook(_note_opened)  # which sees what any library opens, and stays for as long as the process lives


@pytest.fixture
def opened():
    """The names of the files that are opened."""
    names = []
    _LISTENERS.append(names)
    yield names
    _LISTENERS.remove(names)


def test_every_file_is_read_once_for_its_pixels_and_its_hash(tmp_path, opened):
    root = write_tree(tmp_path)
    opened.clear()
    data = load_folder(root)
    masks = ["000_mask.png", "001_mask.png"]
    names = [file.path.name for file in (*data.train.files, *data.test.files)]
    assert sorted(opened) == sorted([*names, *masks])
    opened.clear()
    everything = data.train.joined(data.test)
    assert everything.hashes == data.train.hashes + data.test.hashes
    hashes = list(everything.hashes)
    kept, out = everything.split(0.5)
    for images in (everything[2:5], everything.select([7, 1]), everything.masked(), kept, out):
        assert set(images.hashes) <= set(hashes)
        assert len(images.fingerprint) == 64
    copy = pickle.loads(pickle.dumps(everything))
    assert (copy.hashes, copy.fingerprint) == (everything.hashes, everything.fingerprint)
    assert opened == []
    assert hashes == [hashlib.sha256(file.path.read_bytes()).hexdigest() for file in everything.files]


def test_nothing_is_read_before_it_is_asked_for(tmp_path, opened):
    files = tuple(ImageFile(write(tmp_path / f"{i}.png", gray(i)), group=str(i)) for i in range(3))
    expected = [hashlib.sha256(file.path.read_bytes()).hexdigest() for file in files]
    images = ImageFiles(files, np.array([[6, 9]] * 3), 1)
    opened.clear()
    assert isinstance(images, Sequence)
    assert images != ImageFiles(files, images.sizes, 1)
    assert files[0] == ImageFile(files[0].path, group="0")
    copies = [copy.copy(images), copy.deepcopy(images), pickle.loads(pickle.dumps(images))]
    assert all(repr(each) == repr(images) for each in copies)
    assert opened == []
    # One read gives pixels and hash, whichever of them is asked for first.
    np.testing.assert_array_equal(images[1][:, :, 0], gray(1), strict=True)
    assert opened == ["1.png"]
    assert images[1:2].hashes == (expected[1],)
    assert opened == ["1.png"]
    renamed = dataclasses.replace(files[1], label="crack")
    assert (renamed.content.sha256, opened) == (expected[1], ["1.png"])
    assert dataclasses.replace(files[1], path=files[2].path).content.sha256 == expected[2]


def test_threads_hash_a_file_once(tmp_path, opened):
    file = ImageFile(write(tmp_path / "a.png", gray(0)))
    opened.clear()
    with ThreadPoolExecutor(8) as threads:
        hashes = set(threads.map(lambda _: file.content.sha256, range(64)))
    assert opened == ["a.png"]
    assert hashes == {hashlib.sha256(file.path.read_bytes()).hexdigest()}


def test_the_fingerprint_is_that_of_the_contents(tmp_path):
    root = write_tree(tmp_path / "one")
    before = load_folder(root).test.fingerprint
    moved = shutil.copytree(root, tmp_path / "two")
    assert load_folder(moved).test.fingerprint == before
    write_mask(moved / "ground_truth" / "crack" / "000_mask.png", value=200)
    with_mask = load_folder(moved).test.fingerprint
    write(moved / "test" / "dent" / "000.png", gray(99))
    with_image = load_folder(moved).test.fingerprint
    (moved / "test" / "dent").rename(moved / "test" / "scratch")
    assert len({before, with_mask, with_image, load_folder(moved).test.fingerprint}) == 4


def test_the_description_is_json(tmp_path):
    description = load_folder(write_tree(tmp_path / "tree")).describe()
    assert json.loads(json.dumps(description)) == description
    assert description["test"]["labels"] == {"crack": 2, "dent": 2, "good": 2}
    assert description["test"]["masks"] == 2
    assert description["train"]["smallest"] == [6, 9]
    assert str(tmp_path) not in json.dumps(description)


def test_groups_are_held_out_whole():
    groups = [f"part{i // 3}" for i in range(300)]
    out = held_out(groups, 0.3)
    assert out.sum() == 90
    assert all(len(set(out[3 * i : 3 * i + 3])) == 1 for i in range(100))
    # Neither the order nor a group that goes matters to the others, except at the margin of the share.
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(held_out([groups[i] for i in order], 0.3), out[order])
    assert (held_out(groups[3:], 0.3) != out[3:]).sum() <= 3
    assert (held_out(groups, 0.3, seed=1) != out).any()
    assert held_out(["a", "b"], 0.01).sum() == held_out(["a", "b"], 0.99).sum() == 1
    assert not held_out(["a", "b"], 0.0).any()
    for fraction in (-0.1, 1.0):
        with pytest.raises(ValueError, match="expected at least 0 and less than 1"):
            held_out(groups, fraction)
    with pytest.raises(ValueError, match=r"got 1 group\(s\) of images"):
        held_out(["a", "a"], 0.5)


def test_splitting_keeps_groups_together(tmp_path):
    for i in range(12):
        write(tmp_path / f"{i}.png", gray(i))
    images = load_files([tmp_path], label="good")
    files = tuple(ImageFile(file.path, group=f"part{i // 4}") for i, file in enumerate(images.files))
    images = ImageFiles(files, images.sizes, images.channels)
    kept, out = images.split(0.34, seed=2)
    assert (len(kept), len(out)) == (8, 4)
    assert not {file.group for file in kept.files} & {file.group for file in out.files}


def test_a_bar_is_shown_after_a_few_seconds_only(tmp_path, monkeypatch, capsys):
    for i in range(3):
        write(tmp_path / f"{i}.png", gray(i))
    load_files([tmp_path])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(checking, "_SECONDS_WITHOUT_BAR", 0.0)
    load_files([tmp_path], progress=False)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    load_files([tmp_path])
    assert "reading images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"color": "blue"}, "got color='blue'; expected"), ({"on_error": "ignore"}, "got on_error='ignore'; expected")],
)
def test_bad_arguments_are_refused(tmp_path, no_type_checks, arguments, message):
    write(tmp_path / "0.png", gray(0))
    with pytest.raises(ValueError, match=message):
        load_folder(tmp_path, **arguments)


def test_pillow_still_keeps_eight_bits_of_deep_colour():
    """Why 16-bit colour is decoded by another library; where Pillow can do it, that library can go."""
    with Image.open(io.BytesIO(imagecodecs.png_encode(rgb(2, dtype=np.uint16)))) as image:
        assert pixels_module._bits_stored(image) == 16
        assert np.asarray(image).dtype == np.uint8


@pytest.mark.parametrize("names", [("good", "Good", "crack"), ("good", "crack", "Crack"), ("train", "Train", "test")])
def test_folders_that_differ_in_case_alone_are_not_dropped(names, tmp_path):
    for name in names:
        (tmp_path / name).mkdir()
        Image.new("L", (8, 6)).save(tmp_path / name / "1.png")
    if len({name.lower() for name in (path.name for path in tmp_path.iterdir())}) == len(list(tmp_path.iterdir())):
        pytest.skip("this file system knows no upper and lower case")
    with pytest.raises(ValueError, match="differ in upper and lower case alone; expected one of them"):
        load_folder(tmp_path, progress=False)
