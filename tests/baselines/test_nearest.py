"""The nearest vectors against scikit-learn's."""

import numpy as np
import pytest
import sklearn.neighbors

from jaxunreg.baselines import nearest
from jaxunreg.baselines.nearest import Nearest


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_it_finds_what_scikit_learn_finds_also_far_from_the_origin(
    offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_DISTANCES", 1000)
    rng = np.random.default_rng(0)
    bank, vectors = (offset + rng.normal(size=(n, 7)).astype(np.float32) for n in (300, 50))
    vectors[:5] = bank[100:105]
    distances, numbers = Nearest(bank)(vectors)
    wanted = sklearn.neighbors.NearestNeighbors(algorithm="kd_tree").fit(bank.astype(np.float64))
    other_distances, other_numbers = wanted.kneighbors(vectors.astype(np.float64), 1)
    np.testing.assert_array_equal(numbers, other_numbers[:, 0])
    np.testing.assert_allclose(distances, other_distances[:, 0], rtol=1e-4)
    np.testing.assert_array_equal(distances[:5], 0.0)
