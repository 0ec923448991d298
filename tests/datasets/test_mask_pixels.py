"""Masks of any program and format mark what they mean, or are refused."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from jaxunreg.datasets.folders import ImageFileError, load_files
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.mask_pixels import decode_mask
from tests.datasets.written_images import gray, reason, write, write_mask, write_tree

SHAPE = (40, 50)
FIRST, SECOND = np.zeros((2, *SHAPE), bool)
FIRST[5:20, 5:20] = True
SECOND[30:38, 30:38] = True
BOTH = FIRST | SECOND


def marked_of(folder, image, name="m.png", **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(folder / name, **options)
    return decode_mask(HashedFile(folder / name))


def of_classes(first, second, dtype=np.uint8):
    return (first * FIRST + second * SECOND).astype(dtype)


def test_masks_of_any_scale(tmp_path):
    expected = np.zeros((6, 9), bool)
    expected[1:3, 2:5] = True
    for value in (1, 128, 255):
        mask = HashedFile(write_mask(tmp_path / "m.png", value=value))
        np.testing.assert_array_equal(decode_mask(mask), expected, strict=True)
    soft = np.where(expected, 255, 90).astype(np.uint8)
    np.testing.assert_array_equal(decode_mask(HashedFile(write(tmp_path / "m.png", soft))), expected, strict=True)
    assert not decode_mask(HashedFile(write(tmp_path / "m.png", np.zeros((6, 9), np.uint8)))).any()
    assert decode_mask(HashedFile(write(tmp_path / "m.png", np.full((6, 9), 255, np.uint8)))).all()
    floats = HashedFile(write(tmp_path / "m.tif", expected.astype(np.float32)))
    np.testing.assert_array_equal(decode_mask(floats), expected, strict=True)


@pytest.mark.parametrize("classes", [(1, 2), (1, 3), (2, 1), (1, 13), (127, 255), (85, 255), (40, 90), (1, 255)])
def test_every_class_is_marked(tmp_path, classes):
    np.testing.assert_array_equal(marked_of(tmp_path, of_classes(*classes)), BOTH, strict=True)
    deep = of_classes(*classes, dtype=np.uint16)
    np.testing.assert_array_equal(marked_of(tmp_path, deep), BOTH, strict=True)
    colored = np.stack([of_classes(classes[0], 0), of_classes(0, classes[1]), of_classes(0, 0)], axis=2)
    np.testing.assert_array_equal(marked_of(tmp_path, colored), BOTH, strict=True)


def test_a_thin_class_is_marked(tmp_path):
    line = np.zeros(SHAPE, bool)
    line[28, 3:20] = True
    mask = np.where(line, 100, of_classes(0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(marked_of(tmp_path, mask), line | SECOND, strict=True)


@pytest.mark.parametrize("colors", [((128, 0, 0), (192, 128, 128)), ((64, 0, 0), (0, 255, 0)), ((90,) * 3, (200,) * 3)])
def test_every_class_of_a_palette_is_marked(tmp_path, colors):
    image = Image.fromarray(of_classes(1, 2))
    image.putpalette([0, 0, 0, *colors[0], *colors[1]])
    assert image.mode == "P"
    np.testing.assert_array_equal(marked_of(tmp_path, image), BOTH, strict=True)
    np.testing.assert_array_equal(marked_of(tmp_path, image, transparency=0), BOTH, strict=True)


def smoothed():
    """A disc whose edge is smoothed, drawn at four times its size: 17 shades at most, and 5 at twice its size."""
    rows, columns = np.mgrid[:160, :200]
    return Image.fromarray((((rows - 80.5) ** 2 + (columns - 90.5) ** 2 < 50**2) * 255).astype(np.uint8))


@pytest.mark.parametrize("factor", [2, 4])
def test_soft_edges_end_at_half(tmp_path, factor):
    small = smoothed().reduce(factor)
    assert 3 <= len(np.unique(small)) <= 17
    np.testing.assert_array_equal(marked_of(tmp_path, small), np.asarray(small) > 127, strict=True)
    blurred = smoothed().filter(ImageFilter.GaussianBlur(4))
    np.testing.assert_array_equal(marked_of(tmp_path, blurred), np.asarray(blurred) > 127, strict=True)
    shades = np.asarray(small, np.float32) / 255
    np.testing.assert_array_equal(marked_of(tmp_path, shades, "m.tif"), np.asarray(small) > 127, strict=True)


@pytest.mark.parametrize("quality", [30, 75, 95, 100])
def test_a_jpeg_is_what_was_compressed(tmp_path, quality):
    buffer = io.BytesIO()
    Image.fromarray(of_classes(255, 255)).save(buffer, "JPEG", quality=quality)
    assert len(np.unique(np.asarray(Image.open(buffer)))) > 2
    for name in ("m.png", "m.jpg"):
        got = marked_of(tmp_path, Image.open(buffer), name, **({"quality": quality} if name == "m.jpg" else {}))
        np.testing.assert_array_equal(got, BOTH, strict=True)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(
    ("background", "defect", "around", "of_defect"),
    [(255, 255, 0, 255), (0, 0, 0, 255), (255, 0, 0, 255), (0, 255, 0, 255), (0, 255, 255, 255), (0, 255, 10, 250)],
)
def test_the_alpha_channel_counts(tmp_path, mode, background, defect, around, of_defect):
    image = Image.fromarray(np.where(BOTH, defect, background).astype(np.uint8)).convert(mode)
    image.putalpha(Image.fromarray(np.where(BOTH, of_defect, around).astype(np.uint8)))
    np.testing.assert_array_equal(marked_of(tmp_path, image), BOTH, strict=True)


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (of_classes(1, 2) + 1, "the values 1, 2, 3, none of which is 0"),
        (np.where(FIRST[..., None], [0, 255, 0], [255, 0, 0]).astype(np.uint8), "equally bright, none of which"),
        (np.where(FIRST, gray(0, *SHAPE) % 20 + 80, SECOND * 255).astype(np.uint8), "reach 99, beside .* reach 255"),
    ],
)
def test_masks_that_say_two_things_are_refused(tmp_path, mask, why):
    with pytest.raises(ImageFileError, match=rf"m\.png: is a mask with .*{why}.*expected 0 for the background and 255"):
        marked_of(tmp_path, mask)


def test_inverted_masks_are_told(tmp_path, caplog):
    root = write_tree(tmp_path).resolve()
    inverted = np.full((6, 9), 255, np.uint8)
    inverted[1:3, 2:5] = 0
    first = write(root / "ground_truth" / "crack" / "000_mask.png", inverted)
    assert load_folder(root).skipped == ()
    assert "000_mask.png: marks most pixels and most of the border" in caplog.text
    write(root / "ground_truth" / "crack" / "001_mask.png", inverted)
    with pytest.raises(ImageFileError, match=r"000_mask\.png: marks most .* as 2 of 2 masks do \(and 1 more"):
        load_folder(root)
    data = load_folder(root, on_error="skip")
    assert "invert the masks" in reason(data.skipped, first)
    assert len(data.test) == 4
    # A defect may be the whole image.
    for i in range(2):
        write(root / "ground_truth" / "crack" / f"00{i}_mask.png", np.full((6, 9), 255, np.uint8))
    assert load_folder(root).test.mask(0).all()


@pytest.mark.parametrize("name", ["Ground_Truth", "ground truth", "groundtruth", "GT"])
@pytest.mark.parametrize("kind", ["crack", "Crack"])
def test_folders_of_masks_by_other_names(tmp_path, name, kind):
    root = write_tree(tmp_path)
    (root / "ground_truth" / "crack").rename(root / "ground_truth" / kind)
    (root / "ground_truth").rename(root / name)
    data = load_folder(root)
    assert data.skipped == ()
    assert [data.test.mask(i).sum() for i in (0, 1)] == [6, 6]
    # To be scored are the images, and no masks.
    assert len(load_files([root])) == 11
    (root / "train" / "good").rename(root / "good")
    (root / "test" / "crack").rename(root / "crack")
    for folder in (root / "train", *(root / "test").iterdir(), root / "test"):
        for file in folder.glob("*"):
            file.unlink()
        folder.rmdir()
    data = load_folder(root)
    assert (data.layout, data.skipped) == ("normal-abnormal", ())
    assert data.describe()["test"]["masks"] == 2


@pytest.mark.parametrize("name", ["masks", "Mask", "labels", "annotations", "crack_masks", "crack_mask", "crack-gt"])
def test_folders_of_masks_are_no_kinds_of_defects(tmp_path, name):
    for folder in ("good", "crack"):
        write(tmp_path / folder / "0.png", gray(0))
    write_mask(tmp_path / name / "0.png")
    with pytest.raises(ValueError, match=rf"holds the folders {name}; expected masks beside their images"):
        load_folder(tmp_path)
    images = load_files([tmp_path])
    assert {file.path.parent.name for file in images.files} == {"good", "crack"}
    assert f"lies in `{name}`" in reason(images.skipped, tmp_path / name / "0.png")
    # Given by itself, a folder of any name holds images.
    assert len(load_files([tmp_path / name])) == 1
    (tmp_path / "good").rename(tmp_path / "train")
    with pytest.raises(ValueError, match=f"holds the folders {name}; expected"):
        load_folder(tmp_path)
    (tmp_path / "test").mkdir()
    for folder in ("crack", name):
        (tmp_path / folder).rename(tmp_path / "test" / folder)
    with pytest.raises(ValueError, match=rf"test holds the folders {name}; expected"):
        load_folder(tmp_path)


def test_a_ground_truth_of_which_nothing_fits_is_refused(tmp_path):
    root = write_tree(tmp_path)
    (root / "ground_truth" / "crack").rename(root / "ground_truth" / "cracks")
    with pytest.raises(ValueError, match=r"none in a folder that is named as one of images; expected .* crack, dent"):
        load_folder(root)
    (root / "gt").mkdir()
    with pytest.raises(ValueError, match=r"the folders ground_truth, gt; expected one folder of masks"):
        load_folder(root)
