"""PaDiM against scikit-learn's covariance and scipy's Mahalanobis distance, a place at a time."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.spatial.distance
import sklearn.covariance

from jaxunreg.baselines import PaDiM, PaDiMConfig, to_pixels


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Maps `[60, 3, 4, 6]` with a mean, a covariance and a scale of its own at each place, far from zero."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3, 4, 6, 6))
    return (5 + np.einsum("nijc,ijcd->nijd", rng.normal(size=(60, 3, 4, 6)), mixing)).astype(np.float32)


def by_definition(train: np.ndarray, test: np.ndarray, regularization: float) -> np.ndarray:
    maps = np.empty(test.shape[:3])
    for i, j in np.ndindex(train.shape[1:3]):
        place = train[:, i, j].astype(np.float64)
        # Scikit-learn divides by N, the paper by N - 1.
        covariance = sklearn.covariance.EmpiricalCovariance().fit(place).covariance_ * len(place) / (len(place) - 1)
        inverse = np.linalg.inv(covariance + regularization * np.eye(place.shape[1]))
        mean = place.mean(axis=0)
        maps[:, i, j] = [scipy.spatial.distance.mahalanobis(x, mean, inverse) for x in test[:, i, j]]
    return maps


@pytest.mark.parametrize("images", [60, 4], ids=["more images than features", "fewer"])
@pytest.mark.parametrize("regularization", [0.01, 1.0])
def test_each_place_has_its_mahalanobis_distance(features: np.ndarray, images: int, regularization: float) -> None:
    test = features[40:] + np.float32(1)
    score, maps = PaDiM(PaDiMConfig(regularization=regularization)).fit(features[:images]).localize(test)
    expected = by_definition(features[:images], test, regularization)
    np.testing.assert_allclose(maps, expected, rtol=2e-4)
    np.testing.assert_allclose(score, expected.max(axis=(1, 2)), rtol=2e-4)


def test_drawn_features_are_the_same_at_all_places_and_follow_the_seed(features: np.ndarray) -> None:
    fitted = PaDiM(PaDiMConfig(n_features=3, seed=1)).fit(features)
    assert len(set(fitted.features_)) == 3
    expected = by_definition(features[..., fitted.features_], features[:5][..., fitted.features_], 0.01)
    np.testing.assert_allclose(fitted.localize(features[:5]).maps, expected, rtol=2e-4)
    drawn = {tuple(PaDiM(PaDiMConfig(n_features=3, seed=seed)).fit(features).features_) for seed in range(8)}
    assert len(drawn) > 3
    again = PaDiM(PaDiMConfig(n_features=3, seed=1)).fit(features)
    np.testing.assert_array_equal(again.features_, fitted.features_)


def test_all_features_are_kept_unless_fewer_are_asked_for(features: np.ndarray) -> None:
    assert PaDiM().fit(features).features_.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="got n_features=7; expected at most 6"):
        PaDiM(PaDiMConfig(n_features=7)).fit(features)
    with pytest.raises(ValueError, match=r"got 1 image.*at least 2"):
        PaDiM().fit(features[:1])


def test_the_score_is_the_largest_distance_of_the_smoothed_map_in_pixels(features: np.ndarray) -> None:
    score, maps = PaDiM(PaDiMConfig(smoothing=4.0, stride=8)).fit(features).localize(features[:2])
    pixels = to_pixels(maps, 24, 32, sigma=4.0)
    np.testing.assert_allclose(score, pixels.max(axis=(1, 2)))
    assert np.all(score < maps.max(axis=(1, 2)))
    plain = PaDiM().fit(features)
    np.testing.assert_array_equal(plain.localize(features[:2]).maps, maps)


def test_pixels_are_enlarged_between_centres_and_then_smoothed() -> None:
    maps = np.random.default_rng(0).uniform(size=(2, 4, 6)).astype(np.float32)
    # Pixel k of 8 lies at (k + 1/2) / 8 - 1/2 places; outside of the outer centres the map goes on as it ends.
    row, column = ((np.arange(8 * length) + 0.5) / 8 - 0.5 for length in maps.shape[1:])
    grid = np.meshgrid(row, column, indexing="ij")
    enlarged = np.stack([scipy.ndimage.map_coordinates(each, grid, order=1, mode="nearest") for each in maps])
    np.testing.assert_allclose(to_pixels(maps, 32, 48, sigma=0.0), enlarged, atol=1e-5)
    smoothed = np.stack([scipy.ndimage.gaussian_filter(each, 4.0) for each in enlarged])
    np.testing.assert_allclose(to_pixels(maps, 32, 48), smoothed, atol=1e-5)
    with pytest.raises(ValueError, match=r"got sigma=-1.0; expected"):
        to_pixels(maps, 32, 48, sigma=-1.0)
