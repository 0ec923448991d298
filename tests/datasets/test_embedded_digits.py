"""The embedded digits: a function of seed and index, readable, uniform in class, of every complexity."""

import hashlib
import inspect
import math
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from jaxunreg.datasets.digits.embedded import fonts_fingerprint, glyphs, synth_digits

# As users run it, without the run-time type checker in front of its own errors.
unchecked = inspect.unwrap(synth_digits)


@pytest.fixture(scope="module")
def drawn():
    return synth_digits(4000, seed=5)


def luma(images):
    return images.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def test_an_image_depends_on_seed_and_index_alone():
    images, labels = synth_digits(15, seed=3)
    tail = synth_digits(10, seed=3, start=5)
    np.testing.assert_array_equal(tail.images, images[5:], strict=True)
    np.testing.assert_array_equal(tail.labels, labels[5:], strict=True)


def test_an_image_does_not_depend_on_the_others_drawn_with_it(drawn):
    # Single images, among them those on both sides of where a block of work could end.
    for index in (0, 255, 256, 257, 1023, 1024, 3999):
        alone = synth_digits(1, seed=5, start=index)
        np.testing.assert_array_equal(alone.images[0], drawn.images[index])
        assert alone.labels[0] == drawn.labels[index]


@pytest.mark.parametrize("start", [2**40, 10**30])
def test_the_data_set_has_no_end(start):
    far = synth_digits(3, start=start)
    np.testing.assert_array_equal(synth_digits(2, start=start + 1).images, far.images[1:])
    assert len(np.unique(far.images.reshape(3, -1), axis=0)) == 3


def test_the_form_of_the_result(drawn):
    images, labels = drawn
    assert images.shape == (4000, 32, 32, 3)
    assert images.dtype == np.uint8
    assert images.flags.c_contiguous
    assert labels.shape == (4000,)
    assert labels.dtype == np.int64
    # Nothing is drawn twice, and both ends of the gray scale are in use.
    assert len({image.tobytes() for image in images}) == 4000
    assert images.min() < 10
    assert images.max() > 245


def test_two_processes_draw_the_same_bytes():
    program = (
        "import hashlib; from jaxunreg.datasets.digits import synth_digits;"
        "d = synth_digits(300, seed=9, start=7);"
        "print(hashlib.sha256(d.images.tobytes() + d.labels.tobytes()).hexdigest())"
    )
    here = synth_digits(300, seed=9, start=7)
    expected = hashlib.sha256(here.images.tobytes() + here.labels.tobytes()).hexdigest()
    # Another hash seed, and NumPy without the vector instructions that it chose for this processor.
    chosen = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    environment = os.environ | {"PYTHONHASHSEED": "1", "NPY_DISABLE_CPU_FEATURES": " ".join(chosen)}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    environment["PYTHONWARNINGS"] = "ignore"
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment
    )
    assert output.stdout.strip() == expected


def test_seeds_are_independent(drawn):
    other = synth_digits(4000, seed=6)
    # Labels of independent data sets agree in one place of ten.
    agree = (other.labels == drawn.labels).sum()
    assert abs(agree - 400) < 5 * math.sqrt(4000 * 0.1 * 0.9)
    means = np.stack([luma(images).mean(axis=(1, 2)) for images in (other.images, drawn.images)])
    assert abs(np.corrcoef(means)[0, 1]) < 5 / math.sqrt(4000)


def test_labels_are_uniform_and_independent(drawn):
    labels = np.concatenate([drawn.labels, synth_digits(4000, seed=77).labels])
    counts = np.bincount(labels, minlength=10)
    assert counts.size == 10
    chi_square = ((counts - 800.0) ** 2 / 800.0).sum()
    assert abs(chi_square - 9) < 5 * math.sqrt(2 * 9)
    pairs = np.bincount(10 * labels[:-1] + labels[1:], minlength=100)
    expected = (len(labels) - 1) / 100
    chi_square = ((pairs - expected) ** 2 / expected).sum()
    assert abs(chi_square - 99) < 5 * math.sqrt(2 * 99)


def test_the_label_is_the_digit_that_can_be_read(drawn):
    """Neighbours in pixel space, blind to colour and polarity, know the digit far above chance."""
    gray = luma(drawn.images)
    gray -= np.median(gray, axis=(1, 2), keepdims=True)
    gray *= np.where(gray[:, 8:24, 12:20].mean(axis=(1, 2)) > 0, 1, -1)[:, None, None]
    features = gray[:, 2:30, 6:26].reshape(4000, -1)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features = PCA(40, random_state=0).fit_transform(features)
    train, test = slice(0, 3500), slice(3500, 4000)
    right = KNeighborsClassifier(5).fit(features[train], drawn.labels[train]).predict(features[test])
    right = (right == drawn.labels[test]).sum()
    chance, deviation = 500 * 0.1, math.sqrt(500 * 0.1 * 0.9)
    assert right > chance + 20 * deviation
    # The same with labels that belong to other images: the features alone do not know the answer.
    shifted = np.roll(drawn.labels, 1)
    wrong = KNeighborsClassifier(5).fit(features[train], shifted[train]).predict(features[test])
    assert abs((wrong == shifted[test]).sum() - chance) < 5 * deviation


def test_every_digit_stands_out_from_its_background(drawn):
    gray = luma(drawn.images)
    # The middle, where the digit is; percentiles so that noise alone cannot pass.
    middle = np.sort(gray[:, 4:28, 8:24].reshape(4000, -1), axis=1)
    span = middle[:, -12:].mean(axis=1) - middle[:, :12].mean(axis=1)
    assert span.min() > 15
    assert np.median(span) > 60


def test_complexity_differs_from_image_to_image(drawn):
    gray = luma(drawn.images)
    # A plane has no Laplacian: the rest comes from blur, strokes, texture and noise.
    detail = np.stack([np.abs(ndimage.laplace(image)[1:-1, 1:-1]).mean() for image in gray[:1000]])
    low, high = np.percentile(detail, [5, 95])
    assert high > 4 * low
    # Mostly smooth: horizontal and vertical neighbours correlate in nearly every image.
    for axis in (1, 2):
        one, other = (np.delete(gray, end, axis=axis) for end in (0, -1))
        one = (one - one.mean(axis=(1, 2), keepdims=True)).reshape(4000, -1)
        other = (other - other.mean(axis=(1, 2), keepdims=True)).reshape(4000, -1)
        correlation = (one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1))
        assert np.percentile(correlation, 5) > 0.75
    # Both polarities occur about equally often: digits darker and digits brighter than their surroundings.
    brighter = (np.median(gray, axis=(1, 2)) < gray.mean(axis=(1, 2))).mean()
    assert 0.35 < brighter < 0.65


def test_noise_is_white_of_the_stated_strength():
    """A filter that no quadratic surface passes sees the noise, of standard deviation 0.5 to 4."""
    images, _ = synth_digits(400, seed=2, image_size=64)
    planes = images.astype(np.float64)
    # Its weights are [1 -2 1] x [1 -2 1], of squared norm 36.
    difference = np.diff(np.diff(planes, 2, axis=1), 2, axis=2).reshape(400, -1)
    deviation = np.median(np.abs(difference), axis=1) / 0.6745 / 6
    assert 0.3 < deviation.min() < 0.8  # rounding to whole gray levels included
    assert 3 < deviation.max() < 5


@pytest.mark.parametrize("image_size", [8, 17, 48])
def test_other_sizes_show_the_same_scene(image_size):
    images, labels = synth_digits(60, seed=4, image_size=image_size)
    assert images.shape == (60, image_size, image_size, 3)
    reference, reference_labels = synth_digits(60, seed=4)
    np.testing.assert_array_equal(labels, reference_labels)

    def shrink(image):
        return np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX), np.float64).ravel()

    shrunk = np.stack([[shrink(image) for image in drawn] for drawn in (images, reference)])
    shrunk -= shrunk.mean(axis=2, keepdims=True)
    same = (shrunk[0] * shrunk[1]).sum(1) / np.sqrt((shrunk**2).sum(2).prod(0))
    assert np.median(same) > 0.9


def test_the_fingerprint_is_that_of_the_font_files(tmp_path, monkeypatch):
    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    before = fonts_fingerprint()
    assert before == fonts_fingerprint()
    copies = tmp_path / "fonts" / "ttf"
    copies.mkdir(parents=True)
    for path in fonts.glob("*.ttf"):
        (copies / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    assert fonts_fingerprint() == before
    (copies / "cmss10.ttf").write_bytes((copies / "cmr10.ttf").read_bytes())
    assert fonts_fingerprint() != before


def test_missing_fonts_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    glyphs.draw_glyphs.cache_clear()
    for function in (fonts_fingerprint, lambda: synth_digits(1)):
        with pytest.raises(FileNotFoundError, match=r"fonts/.*\.ttf does not exist; .*reinstall matplotlib"):
            function()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "got n=0; expected at least 1; ask for one image or more"),
        ({"n": 2.0}, TypeError, "got n=2.0 of type float; expected an integer"),
        ({"n": True}, TypeError, "got n=True of type bool"),
        ({"n": 1, "seed": -1}, ValueError, "got seed=-1; expected at least 0"),
        (
            {"n": 1, "start": -5},
            ValueError,
            "got start=-5; expected at least 0; the data set begins with image 0",
        ),
        ({"n": 1, "image_size": 7}, ValueError, "got image_size=7; expected at least 8"),
        (
            {"n": 1, "image_size": 257},
            ValueError,
            "got image_size=257; expected at most 256; draw at that size",
        ),
        ({"n": 1, "image_size": "32"}, TypeError, "got image_size='32' of type str"),
    ],
)
def test_bad_arguments_are_refused_with_what_was_got_and_what_to_do(arguments, error, message):
    with pytest.raises(error, match=message):
        unchecked(**arguments)
