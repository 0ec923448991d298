"""The generated part: the defect is in the mask and nowhere else, and the thread is the complex region."""

import inspect
import io
import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.generated_parts import synth_parts, write_parts, writing
from jaxunreg.datasets.generated_parts.geometry import Part
from jaxunreg.datasets.generated_parts.random_bits import STYLE_STREAM, Uniforms

# As users run it, without the run-time type checker in front of its own errors.
unchecked = inspect.unwrap(synth_parts)


@pytest.fixture(scope="module")
def good():
    return synth_parts(40, seed=5).images[:, :, :, 0]


@pytest.fixture(scope="module")
def defective():
    return {defect: synth_parts(40, seed=5, defect=defect) for defect in ("crack", "blowhole")}


@pytest.fixture(scope="module")
def geometry():
    """Where the hole is in each image."""
    return [Part.draw(Uniforms(5, STYLE_STREAM, k), 256, 256) for k in range(40)]


def distance_from_hole(part) -> np.ndarray:
    y, x = np.mgrid[:256, :256]
    return np.hypot(y - part.center[0], x - part.center[1])


@pytest.mark.parametrize("defect", ["crack", "blowhole"])
def test_the_defect_is_in_the_mask_and_nowhere_else(good, defective, defect):
    images, masks, labels = defective[defect]
    assert labels == (defect,) * 40
    difference = images[:, :, :, 0].astype(int) - good
    assert not difference[~masks].any()
    # Rounding, and clipping at white, hide the change of single pixels at most.
    assert (difference[masks] != 0).mean() > 0.98
    assert (masks.sum(axis=(1, 2)) >= 15).all()
    assert masks.mean() < 0.01
    # In every image it stands out from the noise, whose standard deviation is at most 2.5.
    strength = np.array([np.abs(d[mask]).mean() for d, mask in zip(difference, masks, strict=True)])
    assert strength.min() > 4
    if defect == "crack":
        assert (difference[masks] <= 0).all()
    else:
        assert (difference[masks] < -20).any()
        assert (difference[masks] > 20).any()


@pytest.mark.parametrize("image_size", [(64, 64), (320, 300)])
def test_cracks_are_whole_at_other_sizes(image_size):
    for mask in synth_parts(12, image_size=image_size, defect="crack").masks:
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1


def test_defects_look_like_what_they_are(defective):
    for mask in defective["crack"].masks:
        # One thin line: opened with a square of 4 pixels nothing is left.
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
        assert not ndimage.binary_opening(mask, np.ones((4, 4))).any()
    extent = [np.ptp(np.argwhere(mask), axis=0).max() for mask in defective["crack"].masks]
    assert 20 < np.median(extent) < 70
    spots = [ndimage.label(mask, np.ones((3, 3)))[1] for mask in defective["blowhole"].masks]
    assert set(spots) >= {1, 2}
    assert max(spots) <= 8


@pytest.mark.parametrize("defect", ["crack", "blowhole"])
def test_defects_lie_on_both_regions(defective, geometry, defect):
    on_thread = 0
    for part, mask in zip(geometry, defective[defect].masks, strict=True):
        on_thread += distance_from_hole(part)[mask].mean() < part.rim
    # As likely on one as on the other.
    assert abs(on_thread - 20) < 4 * math.sqrt(40 / 4)


def test_an_image_depends_on_seed_index_and_defect_alone(good, defective):
    tail = synth_parts(3, seed=5, start=30)
    np.testing.assert_array_equal(tail.images[:, :, :, 0], good[30:33], strict=True)
    mixed = synth_parts(40, seed=5, defect="mixed")
    counts = {label: mixed.labels.count(label) for label in ("crack", "blowhole")}
    assert sum(counts.values()) == 40
    assert abs(counts["crack"] - 20) < 4 * math.sqrt(40 / 4)
    for k, label in enumerate(mixed.labels):
        np.testing.assert_array_equal(mixed.images[k], defective[label].images[k])
        np.testing.assert_array_equal(mixed.masks[k], defective[label].masks[k])
    far = synth_parts(2, start=10**30, image_size=(64, 64))
    np.testing.assert_array_equal(synth_parts(1, start=10**30 + 1, image_size=(64, 64)).images[0], far.images[1])
    assert (synth_parts(1, seed=6).images[0, :, :, 0] != good[0]).mean() > 0.5
    assert len({image.tobytes() for image in good}) == 40


def test_the_form_of_the_result(good):
    images, masks, labels = synth_parts(2, image_size=(96, 160))
    assert (images.shape, images.dtype) == ((2, 96, 160, 1), np.uint8)
    assert (masks.shape, masks.dtype) == ((2, 96, 160), np.bool_)
    assert labels == ("good", "good")
    assert not masks.any()
    # Neither end of the gray scale is cut off.
    assert (good == 0).mean() < 0.01
    assert (good == 255).mean() < 0.01


def test_the_thread_is_more_complex_than_the_face(good, geometry):
    def bits(crop: np.ndarray) -> int:
        buffer = io.BytesIO()
        Image.fromarray(crop).save(buffer, "PNG")
        return len(buffer.getvalue())

    thread, face, spread = [], [], {"thread": [], "face": []}
    for image, part in zip(good, geometry, strict=True):
        y, x = int(part.center[0] - 0.95 * part.rim), int(part.center[1]) - 16
        # Smoothed, since noise is as complex everywhere.
        smooth = np.rint(ndimage.gaussian_filter(image.astype(float), 1.5)).astype(np.uint8)
        thread.append(bits(smooth[y : y + 32, x : x + 32]))
        corner = 0 if part.center[0] > 128 else 224
        face.append(bits(smooth[corner : corner + 32, x : x + 32]))
        spread["thread"].append(smooth[y : y + 32, x : x + 32])
        spread["face"].append(smooth[corner : corner + 32, x : x + 32])
    assert np.min(thread) > np.max(face)
    assert np.mean(thread) > 1.3 * np.mean(face)
    # And the same place of the thread differs more from part to part, apart from how bright the whole is.
    deviation = {
        name: np.stack([crop - crop.mean() for crop in crops]).std(axis=0).mean() for name, crops in spread.items()
    }
    assert deviation["thread"] > 3 * deviation["face"]


def test_the_thread_is_a_helix(good, geometry):
    """Once around the hole, the grooves go on one pitch deeper, where rings would close."""
    for image, part in zip(good[:8], geometry, strict=False):
        depth = np.linspace(0.1, 0.6, 100)
        angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
        radius = part.rim / (1 + (part.rim / part.bottom - 1) * depth)
        y, x = (
            part.center[i] + part.tilt[i] * depth[None] + radius[None] * wave(angle)[:, None]
            for i, wave in enumerate((np.sin, np.cos))
        )
        unrolled = ndimage.map_coordinates(image.astype(float), [y, x], order=1)
        unrolled -= unrolled.mean(axis=1, keepdims=True)
        wave = unrolled @ np.exp(-2j * np.pi * part.turns * depth)
        winding = np.unwrap(np.angle(wave), period=2 * np.pi)
        around = (winding[-1] - winding[0]) / (angle[-1] - angle[0])
        # Light from one side moves the grooves a little, but not the number of turns.
        assert around == pytest.approx(1.0, abs=0.1)


def test_noise_is_white_of_the_stated_strength(good, geometry):
    for image, part in zip(good, geometry, strict=True):
        # A filter of squared norm 36 that no quadratic surface passes, along and across the streaks.
        difference = np.diff(np.diff(image[:20].astype(float), 2, axis=0), 2, axis=1)
        deviation = np.median(np.abs(difference)) / 0.6745 / 6
        assert deviation == pytest.approx(math.hypot(part.noise, 0.29), rel=0.25)


def test_a_tree_is_written_and_read_back(tmp_path):
    tree = write_parts(tmp_path / "deep" / "part", train=5, test=2, seed=3, image_size=(64, 80))
    data = load_folder(tree)
    assert (data.layout, data.channels, data.skipped) == ("mvtec", 1, ())
    assert data.train.labels == ("good",) * 5
    assert data.test.labels == ("blowhole", "blowhole", "crack", "crack", "good", "good")
    np.testing.assert_array_equal(np.stack(list(data.train)), synth_parts(5, seed=3, image_size=(64, 80)).images)
    masks = [data.test.mask(i) for i in range(6)]
    assert all(mask.any() == (i < 4) for i, mask in enumerate(masks))
    expected = synth_parts(2, seed=3, image_size=(64, 80), defect="crack", start=writing.STARTS["crack"])
    np.testing.assert_array_equal(np.stack(masks[2:4]), expected.masks)
    np.testing.assert_array_equal(data.test[2], expected.images[0])
    # No part is drawn twice.
    assert len({image.tobytes() for split in (data.train, data.test) for image in split}) == 11


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="kept exists and is not empty; give another directory"):
        write_parts(tmp_path / "kept", train=1, test=1, image_size=(64, 64))
    (tmp_path / "empty").mkdir()
    drawn = []

    def interrupted(*arguments, **options):
        drawn.append(options)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return synth_parts(*arguments, **options)

    monkeypatch.setattr(writing, "synth_parts", interrupted)
    for name in ("empty", "new"):
        drawn.clear()
        with pytest.raises(KeyboardInterrupt):
            write_parts(tmp_path / name, train=5, test=1, image_size=(64, 64))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "empty",
        "kept",
        "kept/notes.txt",
    ]
    monkeypatch.undo()
    assert len(load_folder(write_parts(tmp_path / "empty", train=2, test=1, image_size=(64, 64))).train) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "got n=0; expected at least 1; ask for one image or more"),
        ({"n": 1.0}, TypeError, "got n=1.0 of type float; expected an integer"),
        ({"n": 1, "seed": -1}, ValueError, "got seed=-1; expected at least 0"),
        ({"n": 1, "start": -1}, ValueError, "got start=-1; expected at least 0"),
        ({"n": 1, "defect": "dent"}, ValueError, "got defect='dent'; expected 'none', 'crack'"),
        ({"n": 1, "image_size": (64, 63)}, ValueError, "got image_size=63; expected at least 64"),
        ({"n": 1, "image_size": (64, 1025)}, ValueError, r"got image_size=\(64, 1025\); expected at most 1024"),
        ({"n": 1, "image_size": (64,)}, ValueError, r"got image_size=\(64,\); expected \(height, width\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        unchecked(**arguments)
