"""The contract of a model: every registered model keeps it, and a model that keeps it is used without an edit."""

import dataclasses
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import linen as nn

import jaxunreg as ju
from jaxunreg.decomposition import Decomposition, half_squared_distance, log_normalizer
from jaxunreg.errors import ArgumentError
from jaxunreg.models import BaseModel, Model, apply, register_model, registered_models
from jaxunreg.models.base import variables_like
from jaxunreg.models.latent_space import LatentSpace
from jaxunreg.models.registry import build_model, describe_model

pytestmark = pytest.mark.slow

SHAPE = (8, 8, 1)


@dataclass(frozen=True, kw_only=True)
class PixelGaussianConfig:
    """One field of a kind that JSON does not have, and one of its own."""

    image_shape: tuple[int, int, int] = SHAPE
    log_var_init: float = -2.0


class PixelGaussian(BaseModel):
    """A Gaussian for each pixel, the same for all images: no network, no latent variables, no batch statistics."""

    config: PixelGaussianConfig

    def setup(self) -> None:
        self.mean = self.param("mean", nn.initializers.constant(0.5), self.config.image_shape)
        self.log_var = self.param(
            "log_var", nn.initializers.constant(self.config.log_var_init), self.config.image_shape
        )

    def __call__(self, images):
        return self.terms(images)

    def terms(self, images):
        return jax.tree.map(lambda term: term.sum((1, 2)), self.pixel_terms(images))

    def pixel_terms(self, images):
        mean, log_var = (jnp.broadcast_to(part[None], images.shape) for part in (self.mean, self.log_var))
        a, m = log_normalizer(log_var).sum(-1), half_squared_distance(images, mean, log_var).sum(-1)
        return Decomposition(d=jnp.zeros_like(a), a=a, m=m)

    def training_terms(self, images, key, *, train=True):
        del key, train
        return self.terms(images)

    def reconstruct(self, images):
        return jnp.broadcast_to(self.mean[None], images.shape)


register_model("pixel-gaussian", PixelGaussian, PixelGaussianConfig)

SIZES = {"image_shape": SHAPE, "depth": 2, "base_channels": 4, "latent_dim": 3}
MODELS = {
    "vae": ju.VAE(ju.VAEConfig(**SIZES)),
    "autoencoder": ju.Autoencoder(ju.AutoencoderConfig(**SIZES)),
    "pixel-gaussian": PixelGaussian(PixelGaussianConfig()),
}


def images(n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).random((n, *SHAPE), dtype=np.float32)


def with_variables(kind: str):
    """A model, and variables that are neither zero nor at their starting values."""
    model = MODELS[kind]
    variables = jax.jit(model.init)(jax.random.key(0), jnp.asarray(images()))
    rng = np.random.default_rng(1)
    return model, jax.tree.map(lambda leaf: leaf + 0.1 * rng.random(leaf.shape, np.float32), variables)


def test_every_registered_model_is_tested_here():
    assert set(registered_models()) == set(MODELS)


@pytest.mark.parametrize("kind", MODELS)
def test_every_method_keeps_its_shapes_and_its_sums(kind):
    model, variables = with_variables(kind)
    assert isinstance(model, Model)
    assert hash(model) == hash(dataclasses.replace(model))
    batch = jnp.asarray(images())

    def everything(batch):
        return {
            "terms": apply.terms(model, variables, batch),
            "pixel_terms": apply.pixel_terms(model, variables, batch),
            "all_terms": apply.all_terms(model, variables, batch),
            "training_terms": apply.training_terms(model, variables, batch, jax.random.key(1), train=False)[0],
            "reconstruct": apply.reconstruct(model, variables, batch),
        }

    found = everything(batch)
    chex.assert_shape([*found["terms"], *found["training_terms"], *found["all_terms"].images], (5,))
    chex.assert_shape([*found["pixel_terms"], *found["all_terms"].pixels], (5, 8, 8))
    chex.assert_shape(found["reconstruct"], (5, *SHAPE))
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    close = {"rtol": 1e-4, "atol": 1e-4}
    sums = jax.tree.map(lambda term: term.sum((1, 2)), found["pixel_terms"])
    chex.assert_trees_all_close(sums, found["terms"], **close)
    chex.assert_trees_all_close(tuple(found["all_terms"]), (found["terms"], found["pixel_terms"]), **close)
    assert np.ptp(found["terms"].m) > 0
    chex.assert_trees_all_close(jax.jit(everything)(batch), found, **close)
    # The noise of training is drawn for a batch, so its rows are not those of single images.
    for name in ("terms", "pixel_terms", "reconstruct"):
        method = getattr(apply, name)
        alone = jax.jit(lambda image, method=method: method(model, variables, image[None]))
        rows = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *map(alone, batch))
        mapped = jax.vmap(alone)(batch)
        chex.assert_trees_all_close(rows, found[name], **close)
        chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[:, 0], mapped), found[name], **close)


@pytest.mark.parametrize("kind", MODELS)
def test_training_changes_only_batch_statistics_and_only_where_there_are_some(kind):
    model, variables = with_variables(kind)
    _, updated = apply.training_terms(model, variables, jnp.asarray(images()), jax.random.key(1))
    assert set(updated) == set(variables) - {"params"}
    _, same = apply.training_terms(model, variables, jnp.asarray(images()), jax.random.key(1), train=False)
    chex.assert_trees_all_equal(same, {name: variables[name] for name in same})


@pytest.mark.parametrize("kind", MODELS)
def test_another_way_of_computing_has_the_same_weights_and_scores(kind):
    model, variables = with_variables(kind)
    terms = apply.terms(model, variables, jnp.asarray(images()))
    others = model.for_platform("cpu"), model.for_platform("tpu"), model.native("float32"), model.for_one_core()
    for other in others:
        chex.assert_trees_all_equal_shapes(variables_like(other), variables)
        chex.assert_trees_all_close(apply.terms(other, variables, jnp.asarray(images())), terms, rtol=1e-3)


@pytest.mark.parametrize("kind", MODELS)
def test_what_a_model_says_of_itself(kind):
    model = MODELS[kind]
    assert model.unit == {"autoencoder": ""}.get(kind, "nats")
    assert build_model(describe_model(model)) == model
    assert describe_model(model)["kind"] == kind
    assert model.with_latent_dim(model.latent_dim) == model
    assert model.with_latent_space(LatentSpace()) == model
    assert model.scoring_batch == 2**11
    if kind == "pixel-gaussian":
        with pytest.raises(ArgumentError, match="latent_dim=2 for a PixelGaussian; expected no latent dim"):
            model.with_latent_dim(2)
        with pytest.raises(ArgumentError, match="start='linear' with a PixelGaussian"):
            model.linear_start(images(), jax.random.key(0))


def test_a_model_that_is_not_registered_is_named():
    class Stranger(PixelGaussian):
        pass

    with pytest.raises(TypeError, match="not registered, Stranger; expected one of .*pixel-gaussian"):
        describe_model(Stranger(PixelGaussianConfig()))
    with pytest.raises(ValueError, match="kind='pixel-gaussian'; expected a name that no other model has"):
        register_model("pixel-gaussian", Stranger, PixelGaussianConfig)


def test_a_model_in_another_latent_space_is_not_saved_as_if_it_were_not():
    class Elsewhere(LatentSpace):
        pass

    with pytest.raises(TypeError, match="VAE; expected one of .* made of its config alone"):
        describe_model(MODELS["vae"].with_latent_space(Elsewhere()))


@pytest.fixture(scope="module")
def trained():
    """Images around 0.3 with a sigma of 0.1, and a `PixelGaussian` that was trained on them."""
    rng = np.random.default_rng(3)
    data = np.clip(rng.normal(0.3, 0.1, (400, *SHAPE)), 0.0, 1.0).astype(np.float32)
    model = MODELS["pixel-gaussian"]
    config = ju.TrainConfig(steps=300, batch_size=100, learning_rate=0.05, weight_decay=0.0)
    state = ju.fit(model, data, config, key=jax.random.key(0), held_out=data[:20], progress=False)
    return data, ju.make_scorer(model, state.variables)


def test_a_third_model_is_trained_to_the_maximum_of_its_likelihood(trained):
    data, scorer = trained
    params = scorer.variables["params"]
    np.testing.assert_allclose(params["mean"], data.mean(0), atol=0.01)
    np.testing.assert_allclose(np.exp(0.5 * np.asarray(params["log_var"])), data.std(0), rtol=0.05)


def test_a_third_model_scores_and_maps(trained):
    data, scorer = trained
    params = {name: np.asarray(leaf, np.float64) for name, leaf in scorer.variables["params"].items()}
    density = scipy.stats.norm.logpdf(data, params["mean"], np.exp(0.5 * params["log_var"]))
    np.testing.assert_allclose(ju.score_images(scorer, data).nelbo, -density.sum((1, 2, 3)), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        ju.decompose(scorer.model, scorer.variables, data[0]).nelbo, -density[0].sum(), rtol=1e-4
    )
    large = np.concatenate([data[0], data[1]], axis=1)
    maps = ju.score_image(scorer, large, stride=8)
    np.testing.assert_allclose(maps.nelbo, -density[:2].sum((1, 2, 3))[None], rtol=1e-4, atol=1e-3)
    heat = ju.heat_map(scorer, large, stride=8, term="nelbo")
    np.testing.assert_allclose(heat, -np.concatenate([density[0], density[1]], axis=1)[..., 0], rtol=1e-3, atol=1e-3)
    sharded = ju.sharded_scorer(scorer, devices=jax.devices()[:2])(data[:7])
    np.testing.assert_allclose(sharded.m, ju.score_images(scorer, data[:7]).m, rtol=1e-5)


def test_a_third_model_is_saved_and_a_run_of_it_goes_on(trained, tmp_path):
    data, scorer = trained
    ju.save_model(tmp_path / "saved", scorer.model, scorer.variables)
    model, variables = ju.load_model(tmp_path / "saved")
    assert model == scorer.model
    chex.assert_trees_all_equal(variables, jax.tree.map(np.asarray, scorer.variables))
    config = ju.TrainConfig(steps=4, batch_size=10, checkpoint_every=2)
    run = {"key": jax.random.key(0), "directory": tmp_path / "run", "progress": False}
    first = ju.fit(model, data, config, **run)
    again = ju.fit(model, data, config, **run)
    chex.assert_trees_all_equal(again.variables, first.variables)
    chex.assert_trees_all_equal(ju.load_model(tmp_path / "run" / "checkpoints")[1], first.variables)


def test_a_third_model_is_a_detector(trained, tmp_path):
    data, scorer = trained
    detector = ju.calibrate_detector(scorer, list(data[:100]), stride=8)
    assert "nats" in detector.summary()
    detector.save(tmp_path / "detector")
    again = ju.AnomalyDetector.load(tmp_path / "detector")
    assert again.threshold == detector.threshold
    odd = data[0].copy()
    odd[2:5, 2:5] = 1.0
    normal, anomalous = again.scores([data[0], odd])
    assert anomalous.is_anomalous
    assert anomalous.score > normal.score


def test_a_third_model_is_exported(trained, tmp_path):
    data, scorer = trained
    exported = ju.export_scorer(scorer, tmp_path / "scorer.jaxexport", platforms=["cpu"])
    _, a, m = exported.call(data[:3])
    terms = ju.score_images(scorer, data[:3])
    np.testing.assert_allclose(a, terms.a, rtol=1e-5)
    np.testing.assert_allclose(m, terms.m, rtol=1e-5)


def test_a_third_model_is_swept(trained):
    data, scorer = trained
    config = ju.TrainConfig(steps=5, batch_size=50)
    result = ju.fit_sweep(scorer.model, data, config, [ju.Member(learning_rate=r) for r in (0.1, 0.01)], progress=False)
    model, variables = result.variables(1)
    alone = ju.fit(model, data, dataclasses.replace(config, learning_rate=0.01), key=jax.random.key(0), progress=False)
    chex.assert_trees_all_close(variables, alone.variables, rtol=1e-5)
    assert len(ju.group_members([model] * 2, result.members)) == 1
