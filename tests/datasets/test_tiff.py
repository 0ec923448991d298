"""TIFF files against their specification: what their tags say of the pixels is applied, or they are refused."""

import itertools

import numpy as np
import pytest

from jaxunreg.datasets.folders import ImageFileError
from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.pixels import decode
from tests.datasets.written_images import gray, rgb
from tests.datasets.written_tiffs import BLACK_IS_ZERO, DEFLATE, LZW, NONE, PACKBITS, RGB, TURNED, WHITE_IS_ZERO, tiff


def decoded(folder, contents):
    path = folder / "a.tif"
    path.write_bytes(contents)
    return decode(HashedFile(path)).pixels


@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO, RGB])
def test_every_orientation_order_and_compression(tmp_path, compression, dtype, photometric):
    stored = rgb(1, dtype=dtype) if photometric == RGB else gray(1, dtype=dtype)
    meant = np.iinfo(dtype).max - stored if photometric == WHITE_IS_ZERO else stored
    for orientation, order in itertools.product(TURNED, "<>"):
        options = {"compression": compression, "photometric": photometric, "orientation": orientation, "order": order}
        file = tiff(stored, **options)
        if photometric == RGB and dtype == np.uint16 and orientation > 1:
            with pytest.raises(ImageFileError, match="with an orientation tag"):
                decoded(tmp_path, file)
            continue
        if photometric == WHITE_IS_ZERO and (dtype, order) == (np.uint16, ">"):
            with pytest.raises(ImageFileError, match="a TIFF of a kind that is not supported"):
                decoded(tmp_path, file)
            continue
        expected = TURNED[orientation](meant)
        expected = expected.reshape(*expected.shape[:2], -1)
        np.testing.assert_array_equal(decoded(tmp_path, file), expected, strict=True)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("compression", [NONE, LZW])
def test_twelve_bits_reach_from_black_to_white(tmp_path, compression, orientation):
    stored = gray(1, dtype=np.uint16) % 4096
    stored[0, :2] = 0, 4095
    got = decoded(tmp_path, tiff(stored, bits=12, compression=compression, orientation=orientation))
    assert (got.min(), got.max(), got.dtype) == (0, 65535, np.uint16)
    # 16 bits hold a 4095th with an error of half a step.
    expected = TURNED[orientation](stored)[:, :, None] / 4095
    np.testing.assert_allclose(got / 65535, expected, rtol=0, atol=0.5 / 65535)


@pytest.mark.parametrize(
    ("pixels", "photometric", "why"),
    [
        (gray(1).astype(np.int8), BLACK_IS_ZERO, "signed values of 8 bits"),
        (gray(1).astype(np.int16), BLACK_IS_ZERO, "of mode I"),
        (gray(1) / np.float32(255), WHITE_IS_ZERO, "floating-point values whose white is zero"),
        (gray(1) / np.float64(255), BLACK_IS_ZERO, "a TIFF of a kind that is not supported"),
        (rgb(1) / np.float32(255), RGB, "a TIFF of a kind that is not supported"),
    ],
)
def test_values_without_a_scale_are_refused(tmp_path, pixels, photometric, why):
    with pytest.raises(ImageFileError, match=why):
        decoded(tmp_path, tiff(pixels, photometric=photometric))
