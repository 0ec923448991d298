"""Pixels of image files: what lies on disk arrives bit for bit, at every depth and in every mode."""

import io
import logging
import sys

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from jaxunreg.datasets.folders import ImageFileError, load_files
from jaxunreg.datasets.folders import pixels as pixels_module
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.folders.pixels import convert
from tests.datasets.written_images import gray, rgb, write
from tests.datasets.written_tiffs import TURNED, tiff


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


def test_sixteen_bits_become_floating_point_without_loss(tmp_path):
    deep, color = gray(1, dtype=np.uint16), rgb(2, dtype=np.uint16)
    write(tmp_path / "gray.png", deep)
    write(tmp_path / "gray-little.tif", deep)
    write(tmp_path / "gray-big.tif", deep.astype(">u2"))
    (tmp_path / "rgb.png").write_bytes(imagecodecs.png_encode(color))
    for order in "<>":
        (tmp_path / f"rgb-{'little' if order == '<' else 'big'}.tif").write_bytes(tiff(color, order=order))
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
    stored = {1: gray(7, 16, 24), 2: gray(7, 16, 24, np.uint16), 3: rgb(7, 16, 24)}
    for suffix in ("png", "jpg", "tif"):
        for kind, pixels in stored.items():
            if suffix == "jpg" and kind == 2:
                continue
            expected = pixels
            if suffix == "jpg":
                expected = np.asarray(Image.open(write(tmp_path / "a.jpg", pixels)))
            images = load_files([write(tmp_path / f"a.{suffix}", pixels, exif=exif)])
            expected = TURNED[orientation](expected).reshape(images[0].shape)
            if kind == 2:
                expected = expected.astype(np.float32) / np.float32(65535)
            np.testing.assert_array_equal(images[0], expected, strict=True)
            assert images.sizes.tolist() == [[16, 24] if orientation < 5 else [24, 16]]


def test_pillow_still_keeps_eight_bits_of_deep_colour():
    """Why 16-bit colour is decoded by another library; where Pillow can do it, that library can go."""
    with Image.open(io.BytesIO(imagecodecs.png_encode(rgb(2, dtype=np.uint16)))) as image:
        assert pixels_module._bits_stored(image) == 16
        assert np.asarray(image).dtype == np.uint8
