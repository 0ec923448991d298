"""The sharded scorer of features: maps and images of other sizes on several devices, without communication."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.features import WhiteningConfig, fit_whitening, wrap
from jaxunreg.scoring import FeatureScorer, ShardedFeatureScorer, sharded_features
from tests.parallel.collectives import COLLECTIVE

NETWORK = wrap(lambda gain, images: gain * images[:, ::8, ::8], jnp.full((1, 1, 1, 1), 2.0), name="thinned")


@pytest.fixture(scope="module")
def scorer() -> FeatureScorer:
    images = jax.random.uniform(jax.random.key(0), (20, 16, 24, 3))
    return FeatureScorer(NETWORK, fit_whitening(NETWORK(images), WhiteningConfig(per_place=True)), (16, 24), channels=3)


@pytest.fixture(scope="module", params=["shard_map", "pmap"])
def shard(request, scorer) -> ShardedFeatureScorer:
    return ju.sharded_scorer(scorer, jax.devices()[2:5], backend=request.param, batch_size=2)


def test_maps_and_images_of_any_size_are_those_of_one_device(shard, scorer, compiled):
    pixels = np.random.default_rng(0).integers(0, 256, (15, 40, 30, 3), np.uint8)
    want = jax.tree.map(lambda *leaves: np.stack(leaves), *[scorer.maps(image) for image in pixels])
    shard.maps(pixels[:1])
    compiled.clear()
    for count in (0, 1, 6, 15):
        maps = shard.maps(pixels[:count])
        assert (maps.m.dtype, maps.m.shape) == (np.float32, (count, 2, 3))
        chex.assert_trees_all_close(
            maps, jax.tree.map(lambda term, count=count: term[:count], want), rtol=1e-4, atol=1e-4
        )
    assert not compiled


def test_it_runs_on_its_devices_and_sends_nothing_between_them(shard):
    pixels = np.zeros((6, 16, 24, 3), np.float32)
    program, arguments = shard._prepare(sharded_features._terms, pixels)
    assert program(*arguments).m.sharding.device_set == set(jax.devices()[2:5])
    text = program.lower(*arguments).compile().as_text()
    assert "ENTRY" in text
    assert not COLLECTIVE.findall(text)


def test_by_default_a_device_takes_what_stays_in_a_cache(scorer):
    assert ju.sharded_scorer(scorer, jax.devices()[:1]).batch_size == 2**17 // (16 * 24)


def test_what_cannot_be_sharded_is_refused(scorer, shard, no_type_checks):
    with pytest.raises(ValueError, match="batch_size=0; expected at least 1"):
        ju.sharded_scorer(scorer, batch_size=0)
    with pytest.raises(ValueError, match="backend='xmap'"):
        ju.sharded_scorer(scorer, backend="xmap")
    images = np.zeros((2, 16, 24, 3), np.uint8)
    for bad, error, said in (
        (images[..., :1], ValueError, r"\[N, N, N, 3\]"),
        (images[:0, ..., :1], ValueError, r"\[N, N, N, 3\]"),
        (images[:0].astype(np.int32), TypeError, "int32"),
        (images + np.float32(2), ValueError, "divide by 255"),
        ([*images], TypeError, "expected a NumPy or JAX array"),
    ):
        with pytest.raises(error, match=said):
            shard(bad)
    with pytest.raises(TypeError, match=r"inside of jit.*jax.vmap\(scorer\)"):
        jax.jit(lambda x: shard(x).m)(images)
