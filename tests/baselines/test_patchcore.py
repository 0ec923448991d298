"""PatchCore against its paper's equations, in float64 and without any library's neighbours."""

import numpy as np
import pytest
import sklearn.random_projection

from jaxunreg.baselines import PatchCore, PatchCoreConfig, greedy_coreset


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (3 + rng.normal(size=(40, 3, 4, 5)) @ rng.normal(size=(5, 5))).astype(np.float32)


def by_definition(bank: np.ndarray, test: np.ndarray, b: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Distance maps, and scores by equations 6 and 7."""
    bank, test = bank.astype(np.float64), test.astype(np.float64)
    distances = np.linalg.norm(test[..., None, :] - bank, axis=-1)
    maps, scores = distances.min(axis=-1), []
    for of_image, map_ in zip(distances, maps, strict=True):
        place = np.unravel_index(map_.argmax(), map_.shape)
        nearest = of_image[place].argmin()
        score = of_image[place][nearest]
        if b is not None:
            around = np.argsort(np.linalg.norm(bank - bank[nearest], axis=1))[:b]
            score *= 1 - np.exp(of_image[place][nearest]) / np.exp(of_image[place][around]).sum()
        scores.append(score)
    return np.array(scores), maps


@pytest.mark.parametrize("b", [None, 2, 9])
@pytest.mark.parametrize("coreset", [1.0, 0.1])
def test_maps_and_scores_are_those_of_the_equations(features: np.ndarray, coreset: float, b: int | None) -> None:
    baseline = PatchCore(PatchCoreConfig(coreset=coreset, n_neighbors=b)).fit(features[:30])
    test = features[30:] + np.float32(0.5)
    scores, maps = by_definition(baseline.bank_, test, b)
    found = baseline.localize(test)
    np.testing.assert_allclose(found.maps, maps, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.score, scores, rtol=1e-4)
    np.testing.assert_array_equal(baseline.scores(test)["score"], found.score)


def test_the_bank_is_the_greedy_coreset_of_all_places(features: np.ndarray) -> None:
    vectors = features.reshape(-1, 5)
    np.testing.assert_array_equal(PatchCore(PatchCoreConfig(coreset=1.0)).fit(features).bank_, vectors)
    firsts = set()
    for seed in range(3):
        bank = PatchCore(PatchCoreConfig(coreset=0.1, seed=seed)).fit(features).bank_
        assert len(bank) == 48
        first = int(np.flatnonzero((vectors == bank[0]).all(axis=1))[0])
        np.testing.assert_array_equal(bank, vectors[greedy_coreset(vectors, 48, first)])
        np.testing.assert_array_equal(bank, PatchCore(PatchCoreConfig(coreset=0.1, seed=seed)).fit(features).bank_)
        firsts.add(first)
    assert len(firsts) > 1
    assert len(PatchCore(PatchCoreConfig(coreset=1e-9)).fit(features).bank_) == 1


def test_the_coreset_may_be_chosen_in_a_random_projection(features: np.ndarray) -> None:
    vectors = features.reshape(-1, 5)
    bank = PatchCore(PatchCoreConfig(coreset=0.1, projection=2, seed=3)).fit(features).bank_
    projected = sklearn.random_projection.GaussianRandomProjection(2, random_state=3).fit_transform(vectors)
    first = int(np.flatnonzero((vectors == bank[0]).all(axis=1))[0])
    # The bank has the features themselves.
    np.testing.assert_array_equal(bank, vectors[greedy_coreset(projected, 48, first)])


def test_candidates_bound_what_the_coreset_is_chosen_from(features: np.ndarray) -> None:
    bank = PatchCore(PatchCoreConfig(coreset=0.5, candidates=20)).fit(features).bank_
    assert len(bank) == 10
    known = {tuple(vector) for vector in features.reshape(-1, 5)}
    assert {tuple(vector) for vector in bank} <= known


def test_maps_may_have_another_size_than_those_of_the_fit(features: np.ndarray) -> None:
    baseline = PatchCore().fit(features)
    wide = np.concatenate([features[:2], features[2:4]], axis=2)
    np.testing.assert_allclose(
        baseline.localize(wide).maps,
        np.concatenate([baseline.localize(features[:2]).maps, baseline.localize(features[2:4]).maps], axis=2),
        atol=1e-5,
    )


def test_far_away_no_exponential_overflows(features: np.ndarray) -> None:
    baseline = PatchCore().fit(features)
    far = features[:1] + np.float32(1e4)
    score = baseline.localize(far).score
    assert np.isfinite(score).all()
    assert score[0] > 0.0
