"""A scorer of features: the working size, images at it, and pixels and boxes of places."""

import errno
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxunreg.features import EfficientNetLite0, FeatureError, WhiteningConfig, fit_whitening, wrap
from jaxunreg.scoring import FeatureScorer
from jaxunreg.scoring.feature_stream import check_network, feature_maps
from jaxunreg.scoring.working_size import resized, shrunk, working_size


def averaged(weights: object, images: jax.Array) -> jax.Array:
    batch, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    return padded.reshape(batch, -(-height // 8), 8, -(-width // 8), 8, channels).mean(axis=(2, 4))


NETWORK = wrap(averaged, (), name="averaged")


def scorer(size: tuple[int, int] = (32, 48)) -> FeatureScorer:
    images = jax.random.uniform(jax.random.key(0), (30, *size, 3))
    whitening = fit_whitening(NETWORK(images), WhiteningConfig(per_place=True, shrinkage=0.4))
    return FeatureScorer(NETWORK, whitening, size, channels=3)


@pytest.mark.parametrize(
    ("sizes", "resolution", "size"),
    [
        ([(900, 900)], None, (384, 384)),
        ([(1250, 500), (1260, 500), (1240, 500)], None, (608, 240)),
        # Their own size at most, down to a multiple of 16.
        ([(300, 300)], None, (288, 288)),
        ([(300, 200), (300, 200), (5000, 5000)], None, (288, 192)),
        # Enlarged where the map would be smaller than four places.
        ([(20, 20)], None, (32, 32)),
        ([(16, 400)], None, (32, 400)),
        # Enlarged where that is asked for.
        ([(256, 256)], 384, (384, 384)),
    ],
)
def test_the_working_size_keeps_the_aspect_and_enlarges_nothing_unasked(sizes, resolution, size):
    assert working_size(np.array(sizes), resolution, stride=8) == size


@pytest.mark.parametrize("size", [(300, 200), (33, 90), (16, 16), (64, 32)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_resized_on_the_host_as_in_jax(size, dtype):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    image = image if dtype == np.uint8 else image.astype(np.float32) / 255
    one = shrunk(image, (64, 32), 3)
    assert (one.size, one.pixels.dtype) == (size, np.float32)
    unit = jnp.asarray(image, jnp.float32) / (255 if dtype == np.uint8 else 1)
    np.testing.assert_allclose(one.pixels, resized(unit, (64, 32)), atol=2e-6)


def test_m_is_half_the_squared_mahalanobis_distance_and_l_the_negative_log_density():
    own = scorer()
    image = jax.random.uniform(jax.random.key(5), (32, 48, 3))
    maps = own.maps(image)
    features = np.asarray(NETWORK(image[None])[0], np.float64)
    whitening = own.density
    for place in ((0, 0), (2, 5)):
        factor = np.asarray(whitening.factor[place], np.float64)
        covariance = np.linalg.inv(factor @ factor.T)
        density = scipy.stats.multivariate_normal(np.asarray(whitening.mean[place]), covariance)
        np.testing.assert_allclose(maps.nelbo[place], -density.logpdf(features[place]), rtol=1e-4)
    assert not np.asarray(maps.d).any()


def test_an_image_of_another_size_is_the_resized_one_to_the_host_and_to_jax():
    own = scorer()
    image = np.random.default_rng(1).integers(0, 256, (61, 77, 3), np.uint8)
    [found] = own.maps_each([image], stride=8)
    np.testing.assert_allclose(found.patches.m, own.maps(image).m, rtol=1e-3)
    np.testing.assert_allclose(own(image).m, found.patches.m.sum(), rtol=1e-4)


def test_a_bright_spot_lies_in_the_box_and_under_the_peak_of_the_heat_map():
    own = scorer()
    rng = np.random.default_rng(2)
    for row, column in ((3, 3), (30, 60), (63, 95), (10, 80)):
        image = rng.integers(100, 150, (64, 96, 3), np.uint8)
        image[max(0, row - 6) : row + 6, max(0, column - 6) : column + 6] = 255
        [maps] = own.maps_each([image], stride=8)
        i, j = np.unravel_index(int(maps.patches.m.argmax()), maps.patches.m.shape)
        top, left = maps.grid.rows[i], maps.grid.columns[j]
        assert (maps.grid.height, maps.grid.width) == (64, 64)  # Four places of sixteen pixels.
        assert top <= row < top + 64
        assert left <= column < left + 64
        peak = np.unravel_index(int(maps.pixels.m.argmax()), maps.pixels.m.shape)
        assert np.hypot(peak[0] - row, peak[1] - column) < 16


def test_pixels_are_interpolated_between_places_and_keep_the_mean():
    own = scorer()
    for size in ((320, 480), (33, 50), (20, 17)):
        [maps] = own.maps_each([np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)], stride=8)
        for name in ("a", "m"):
            pixels, places = (np.asarray(getattr(found, name)) for found in (maps.pixels, maps.patches))
            np.testing.assert_allclose(pixels.mean() * 32 * 48, places.sum(dtype=np.float64), rtol=1e-6)
        assert (np.asarray(maps.pixels.m) >= 0).all()
    image = np.random.default_rng(3).integers(0, 256, (320, 480, 3), np.uint8)
    [maps] = own.maps_each([image], stride=8)
    # Between the centres of two places, in an image ten times as large as the map's places are wide.
    np.testing.assert_allclose(maps.pixels.m[119:121, 199:201].mean() * 8 * 8, maps.patches.m[1, 2], rtol=0.05)


def test_features_are_those_of_the_network_in_memory_or_in_a_file(monkeypatch):
    rng = np.random.default_rng(4)
    images = [rng.integers(0, 256, (40 + k, 50, 3), np.uint8) for k in range(5)]
    unit = [jnp.asarray(image, jnp.float32) / 255 for image in images]
    want = jnp.concatenate([NETWORK(resized(image, (32, 48))[None]) for image in unit])
    kept = feature_maps(NETWORK, iter(images), 5, (32, 48), 3)
    monkeypatch.setattr("jaxunreg.scoring.feature_stream._BYTES_IN_MEMORY", 0)
    mapped = feature_maps(NETWORK, iter(images), 5, (32, 48), 3)
    assert not isinstance(kept, np.memmap)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(kept, mapped)
    np.testing.assert_allclose(kept, want, atol=1e-3)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system does not reserve space on a disk")
def test_a_disk_without_space_for_the_features_is_told_before_any_is_computed(monkeypatch):
    monkeypatch.setattr("jaxunreg.scoring.feature_stream._BYTES_IN_MEMORY", 0)
    looked_at = iter([np.zeros((40, 50, 3), np.uint8)])
    with pytest.raises(OSError, match=f"{os.strerror(errno.EFBIG)}|{os.strerror(errno.ENOSPC)}"):
        feature_maps(NETWORK, looked_at, 2**50, (32, 48), 3)
    assert len(list(looked_at)) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_features_that_are_not_finite_or_too_large_are_named(value):
    network = wrap(lambda weights, images: weights * images[:, ::8, ::8], jnp.full((1, 1, 1, 1), value), name="bad")
    images = [np.full((32, 48, 3), 255, np.uint8), np.full((32, 48, 3), 200, np.uint8)]
    with pytest.raises(FeatureError, match=r"beyond 65504, first in image 0; .*look at that image and at the feature"):
        feature_maps(network, images, 2, (32, 48), 3)


def test_a_network_that_does_not_take_the_size_is_refused_before_it_runs():
    with pytest.raises(ValueError, match="got images of 32x16; expected at least 32x32"):
        check_network(EfficientNetLite0.pretrained(), (32, 16), channels=3)
