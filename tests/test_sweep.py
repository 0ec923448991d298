"""Sweeps: a member is the small model trained alone, in gradients, weights and scores, whatever stands beside it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg import sweep, training
from jaxunreg.sweep import member_bytes, sweep_steps
from jaxunreg.training import Hyperparameters, init_state, train_step, train_steps

SIZES = {"image_shape": (8, 8, 1), "depth": 2, "base_channels": 4}
LARGE = ju.VAE(ju.VAEConfig(**SIZES, latent_dim=5))
CONFIG = ju.TrainConfig(
    steps=10, batch_size=4, steps_per_dispatch=4, evaluate_every=5, checkpoint_every=6, warmup_steps=2
)
MEMBERS = [
    ju.Member(seed=0, latent_dim=2, learning_rate=3e-3, weight_decay=0.1),
    ju.Member(seed=1),
    ju.Member(seed=2, latent_dim=2, kl_weight=0.3),
]


def images(n: int = 10) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(n, 8, 8, 1), dtype=np.uint8)


def fit_sweep(members=MEMBERS, config: ju.TrainConfig = CONFIG, model: ju.VAE = LARGE, **options) -> ju.SweepResult:
    return ju.fit_sweep(model, images(), config, members, progress=False, **options)


def small_model(model, latent_dim: int):
    return type(model)(dataclasses.replace(model.config, latent_dim=latent_dim))


@pytest.fixture(scope="module")
def swept() -> ju.SweepResult:
    """Three members in three slots of three devices."""
    return fit_sweep(held_out=images(7), evaluate=lambda variables: {"used": variables["latent"]["size"].item()})


def alone(member: ju.Member, model=LARGE, config: ju.TrainConfig = CONFIG, **options) -> tuple:
    """The member as `fit` trains it."""
    member = member.resolve(model, config)
    model = small_model(model, member.latent_dim)
    fields = {name: getattr(member, name) for name in ("learning_rate", "weight_decay", "kl_weight")}
    config = dataclasses.replace(config, **fields)
    key = jax.random.key(member.seed)
    return model, ju.fit(model, images(), config, key=key, progress=False, **options).variables


def test_a_member_is_the_small_model_trained_alone(swept, tmp_path):
    for k, member in enumerate(MEMBERS):
        model, variables = swept.variables(k)
        wanted_model, wanted = alone(member, directory=tmp_path / str(k), held_out=images(7))
        assert model == wanted_model
        chex.assert_trees_all_close(variables, wanted, rtol=1e-3, atol=2e-5)
        log = [json.loads(line) for line in (tmp_path / str(k) / "metrics.jsonl").read_text().splitlines()]
        for name, curve in {"loss": swept.history.loss, **swept.history.terms._asdict()}.items():
            np.testing.assert_allclose(curve[k], [line[name] for line in log if name in line], rtol=1e-4)
        evaluated = [line for line in log if "held_out" in line]
        assert [record["step"] for record in swept.evaluations[k]] == [5, 10]
        for record, line in zip(swept.evaluations[k], evaluated, strict=True):
            assert record["held_out"] == pytest.approx(line["held_out"], rel=1e-4)
    assert [records[0]["used"] for records in swept.evaluations] == [2, 5, 2]
    assert swept.failures == {}
    # The members do differ, or none of this says much.
    assert np.ptp(swept.history.loss[:, -1]) > 1.0


def padded(model, latent_dim: int) -> tuple:
    """The small model, its variables, and these with zeros beside them, from the indices of encoder and decoder."""
    small = small_model(model, latent_dim)
    variables = init_state(small, CONFIG, jax.random.key(3)).variables
    # Weights that are not those of a start, with every bias off zero.
    leaves, tree = jax.tree.flatten(variables)
    rng = np.random.default_rng(4)
    variables = jax.tree.unflatten(tree, [leaf + 0.1 * rng.random(leaf.shape, np.float32) for leaf in leaves])
    columns = np.arange(latent_dim)
    if isinstance(model, ju.VAE):
        columns = np.concatenate([columns, model.config.latent_dim + columns])
    large = jax.tree.map(np.asarray, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    wide = jax.tree.map(np.array, variables)
    for name in ("kernel", "bias"):
        out = np.zeros_like(large["params"]["encoder"]["Dense_0"][name])
        out[..., columns] = variables["params"]["encoder"]["Dense_0"][name]
        wide["params"]["encoder"]["Dense_0"][name] = out
    out = np.zeros_like(large["params"]["decoder"]["Dense_0"]["kernel"])
    out[:latent_dim] = variables["params"]["decoder"]["Dense_0"]["kernel"]
    wide["params"]["decoder"]["Dense_0"]["kernel"] = out
    return small, variables, {**wide, "latent": {"size": jnp.asarray(latent_dim, jnp.int32)}}, columns


MODELS = [LARGE, ju.Autoencoder(ju.AutoencoderConfig(**SIZES, latent_dim=5))]


@pytest.mark.parametrize("model", MODELS, ids=["vae", "autoencoder"])
def test_a_padded_model_has_the_gradients_of_the_small_one_and_none_in_the_padding(model):
    small, variables, wide, columns = padded(model, 2)
    batch = jnp.asarray(images(4) / np.float32(255))

    def gradients(model, variables):
        def loss(params):
            terms, _ = model.apply(
                {**variables, "params": params},
                batch,
                jax.random.key(9),
                method="training_terms",
                mutable=["batch_stats"],
            )
            return (terms.d * 0.7 + terms.a + terms.m).mean(), terms

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])

    (value, terms), wanted = gradients(small, variables)
    (padded_value, padded_terms), found = jax.tree.map(np.array, gradients(model, wide))
    chex.assert_trees_all_close(padded_terms, terms, rtol=1e-5)
    assert padded_value == pytest.approx(float(value), rel=1e-6)
    encoder, decoder = found["encoder"]["Dense_0"], found["decoder"]["Dense_0"]
    # Exactly none, so that neither weight decay nor Adam moves the zeros.
    for name in ("kernel", "bias"):
        assert not np.delete(encoder[name], columns, axis=-1).any()
        encoder[name] = encoder[name][..., columns]
    assert not decoder["kernel"][2:].any()
    decoder["kernel"] = decoder["kernel"][:2]
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.abs(want).max() > 0
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("model", MODELS, ids=["vae", "autoencoder"])
def test_a_padded_model_scores_as_the_small_one(model):
    small, variables, wide, _ = padded(model, 2)
    want = ju.score_images(ju.make_scorer(small, variables), images())
    chex.assert_trees_all_close(ju.score_images(ju.make_scorer(model, wide), images()), want, rtol=1e-5, atol=1e-6)
    image, pixel = images()[0], jax.jit(ju.heat_map, static_argnames=("stride", "term"))
    found = pixel(ju.make_scorer(model, wide), image, stride=4, term="nelbo")
    np.testing.assert_allclose(
        found, pixel(ju.make_scorer(small, variables), image, stride=4, term="nelbo"), rtol=1e-4, atol=1e-5
    )


def test_the_padding_stays_zero_under_weight_decay_and_adam(swept):
    # After ten steps; the noise would have moved the decoder's rows had they had a gradient once.
    for k, member in enumerate(swept.members):
        kernel = swept.stacked["params"]["decoder"]["Dense_0"]["kernel"][k]
        assert kernel[: member.latent_dim].any(axis=1).all()
        assert not kernel[member.latent_dim :].any()
        bias = swept.stacked["params"]["encoder"]["Dense_0"]["bias"][k].reshape(2, 5)
        assert bias[:, : member.latent_dim].all()
        assert not bias[:, member.latent_dim :].any()


def test_traced_hyperparameters_are_the_numbers_of_the_config():
    config = dataclasses.replace(CONFIG, learning_rate=0.02, weight_decay=0.3, kl_weight=0.4, kl_warmup_steps=3)
    state = init_state(LARGE, config, jax.random.key(0))._replace(step=jnp.asarray(1, jnp.int32))
    state = state._replace(opt_state=jax.tree.map(lambda x: x + 1 if x.dtype == jnp.int32 else x, state.opt_state))
    hyper = Hyperparameters(*(jnp.float32(x) for x in (0.02, 0.3, 0.4)))
    batch = jnp.asarray(images(4))
    step = jax.jit(train_step, static_argnums=(0, 1))
    want, metrics = step(LARGE, config, state, batch)
    found, metrics_found = step(LARGE, CONFIG_WITH_WARMUP, state, batch, hyper)
    chex.assert_trees_all_close(found.variables, want.variables, rtol=1e-5, atol=1e-7)
    d, a, m = (float(term) for term in metrics.terms)
    assert float(metrics.loss) == pytest.approx(0.4 * 2 / 3 * d + a + m, rel=1e-5)
    assert float(metrics_found.loss) == pytest.approx(float(metrics.loss), rel=1e-5)


CONFIG_WITH_WARMUP = dataclasses.replace(CONFIG, kl_warmup_steps=3)


def test_members_of_an_ensemble_score_as_one_program(swept):
    scorer = ju.make_scorer(swept.model, swept.stacked)
    image = images()[0]
    terms = jax.jit(jax.vmap(lambda scorer: scorer(image)))(scorer)
    for k in range(3):
        wanted = ju.decompose(*swept.variables(k), image)
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, k=k: leaf[k], terms), wanted, rtol=1e-4)


def test_a_members_own_model_is_saved_and_loaded(swept, tmp_path):
    model, variables = swept.variables(0)
    ju.save_model(tmp_path, model, variables)
    loaded, again = ju.load_model(tmp_path)
    assert loaded == model
    chex.assert_trees_all_equal(again, variables)


def test_the_program_has_no_collective_and_is_traced_once():
    """Eight members on four devices in parts of two and three: one program, and no device waits for another."""
    sweep_steps.clear_cache()
    step = chex.assert_max_traces(training.train_step, n=1)
    original, sweep.train_step = sweep.train_step, step
    lowered = []
    run = sweep.sweep_steps
    try:

        def spy(*arguments):
            lowered.append(lowered or run.lower(*arguments))
            return run(*arguments)

        sweep.sweep_steps = spy
        result = fit_sweep(
            [ju.Member(seed=k) for k in range(5)],
            dataclasses.replace(CONFIG, steps=4, warmup_steps=0),
            devices=jax.devices()[:2],
            members_at_once=3,
        )
    finally:
        sweep.train_step, sweep.sweep_steps = original, run
        sweep_steps.clear_cache()
    assert result.history.loss.shape == (5, 4)
    assert len(np.unique(result.history.loss)) == 20
    hlo = lowered[0].compile().as_text()
    assert not [name for name in ("all-reduce", "all-gather", "collective", "all-to-all") if name in hlo]
