"""Many images on a CPU: each core computes calls of its own, and nothing else changes."""

import os
import threading
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.processor import cores
from jaxunreg.scoring import batched
from jaxunreg.scoring.at_once import at_once

pytestmark = pytest.mark.slow

CORES = 3


@pytest.fixture(scope="module")
def scorer() -> ju.Scorer:
    # The largest of the maps is halved to 8x8, so that one layer of the encoder and one of the decoder work in parts.
    model = ju.VAE(ju.VAEConfig(image_shape=(16, 16, 1), depth=2, base_channels=4, latent_dim=3))
    return ju.make_scorer(model, jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 1))))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(123, 16, 16, 1), dtype=np.uint8)


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """Pretend that there are `CORES` cores, and note how many batches each call on one of them has."""
    batches: list[int] = []
    at_once = batched.at_once

    def noted(function, arguments, workers):
        assert workers == CORES

        def run(argument):
            batches.append(int(argument[-1]))
            return function(argument)

        return at_once(run, arguments, workers)

    monkeypatch.setattr(batched, "cores", lambda: CORES)
    monkeypatch.setattr(batched, "at_once", noted)
    return batches


def test_all_cores_score_equal_shares_and_the_results_are_in_order(scorer, images, calls, monkeypatch):
    found = ju.score_images(scorer, images, batch_size=2), ju.reconstruct_images(scorer, images, batch_size=2)
    # 62 batches; a call takes 16 at most.
    assert sorted(calls) == sorted([10, 10, 10, 10, 11, 11] * 2)
    monkeypatch.setattr(batched, "cores", lambda: 1)
    wanted = ju.score_images(scorer, images, batch_size=2), ju.reconstruct_images(scorer, images, batch_size=2)
    assert len(calls) == 12
    chex.assert_trees_all_close(found, wanted, rtol=1e-5)
    assert len(found[1]) == len(images)


def test_the_calls_of_all_cores_hold_no_more_pixels_than_they_may_together(scorer, images, calls, monkeypatch):
    wanted = ju.score_images(scorer, images, batch_size=2)
    calls.clear()
    batch = 2 * 16 * 16
    monkeypatch.setattr(batched, "_PIXELS_IN_MEMORY", 7 * (CORES + 1) * batch)
    chex.assert_trees_all_close(ju.score_images(scorer, images, batch_size=2), wanted, rtol=1e-5)
    assert sum(calls) == 62
    assert max(calls) == 7


def test_layers_with_large_maps_work_in_parts_and_score_the_same(scorer, images):
    # A part of 128 images does not divide 123 images; one of 41 does.
    model = scorer.model.for_one_core()
    assert (scorer.model.part, model.part) == (None, 128)
    for part, scans in ((128, 0), (41, 2)):
        changed = _in_parts_of(model, part)
        run = jax.jit(lambda variables, images, changed=changed: changed.apply(variables, images, method="all_terms"))
        x = images / np.float32(255)
        assert run.lower(scorer.variables, x).as_text().count("stablehlo.while") == scans
        wanted = jax.jit(lambda variables, images: scorer.model.apply(variables, images, method="all_terms"))
        chex.assert_trees_all_close(run(scorer.variables, x), wanted(scorer.variables, x), rtol=1e-4, atol=1e-5)


def _in_parts_of(model: ju.VAE, part: int) -> ju.VAE:
    class Changed(type(model)):
        @property
        def part(self) -> int:
            return part

    return Changed(model.config, one_core=True)


def test_few_batches_are_shared_by_all_cores(scorer, images, calls):
    few = 2 * batched._BATCHES_A_CORE * CORES - 2
    ju.score_images(scorer, images[:few], batch_size=2)
    assert not calls
    ju.score_images(scorer, images[: few + 1], batch_size=2)
    assert sum(calls) == batched._BATCHES_A_CORE * CORES


def test_settings_of_the_caller_hold_in_all_threads(scorer, images, calls):
    wanted = ju.score_images(scorer, images[:20])
    with jax.enable_x64(True):
        found = ju.score_images(scorer, images.astype(np.float64) / 255, batch_size=2)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[:20], found), wanted, rtol=1e-4)
    last = jax.devices()[-1]
    with jax.default_device(last):
        ju.score_images(scorer, images, batch_size=2)
    ju.score_images(ju.make_scorer(scorer.model, jax.device_put(scorer.variables, last)), images, batch_size=2)
    assert sum(calls) == 3 * 62


@pytest.mark.parametrize("mode", [jax.disable_jit, jax.debug_nans, jax.debug_infs])
def test_modes_for_debugging_keep_to_the_callers_thread(scorer, images, calls, mode):
    few = images[:49]
    wanted = ju.score_images(scorer, few, batch_size=1)
    assert calls
    calls.clear()
    with mode(True):
        chex.assert_trees_all_close(ju.score_images(scorer, few, batch_size=1), wanted, rtol=1e-4)
    assert not calls


def test_variables_on_several_devices_keep_to_one_program(scorer, images, calls):
    if len(jax.devices()) == 1:
        pytest.skip("one device")
    everywhere = jax.sharding.NamedSharding(jax.make_mesh((len(jax.devices()),), ("i",)), jax.sharding.PartitionSpec())
    spread = ju.make_scorer(scorer.model, jax.device_put(scorer.variables, everywhere))
    found = ju.score_images(spread, images, batch_size=2)
    assert not calls
    chex.assert_trees_all_close(found, ju.score_images(scorer, images, batch_size=2), rtol=1e-4)
    assert calls


def test_as_many_work_at_once_as_there_are_threads_and_one_more_waits():
    ahead, running = [], threading.Barrier(2, timeout=20)

    def arguments():
        for k in range(6):
            ahead.append(k)
            yield k

    def double(k: int) -> int:
        running.wait()  # passes only if two work at the same time
        return 2 * k

    results = at_once(double, arguments(), 2)
    assert next(results) == 0
    assert ahead == [0, 1, 2]
    assert list(results) == [2, 4, 6, 8, 10]


def test_an_error_comes_after_the_results_before_it_and_no_thread_is_left():
    before = threading.active_count()

    def divide(k: int) -> int:
        return 6 // k

    results = at_once(divide, iter([3, 2, 0, 1]), 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_an_error_of_the_arguments_comes_after_all_results_before_it():
    results = at_once(lambda k: k, (6 // k for k in (3, 2, 0, 1)), 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_the_cores_are_those_that_the_process_may_use():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(allowed)[:1])
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores() == len(allowed)
