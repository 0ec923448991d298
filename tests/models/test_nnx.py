"""A model inside of Flax NNX: its variables go to the scorer and back."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxunreg as ju


def test_the_variables_of_an_nnx_module_score_as_the_module_does():
    model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    module = nnx.bridge.ToNNX(model, rngs=nnx.Rngs(0)).lazy_init(images[:1])
    before = module(images, method="terms")
    # As an optimizer of NNX changes them, in place.
    nnx.update(module, jax.tree.map(lambda leaf: leaf + jnp.float32(0.1), nnx.state(module, nnx.Param)))

    _, params, statistics, _ = nnx.split(module, nnx.Param, nnx.BatchStat, ...)
    variables = {"params": nnx.to_pure_dict(params), "batch_stats": nnx.to_pure_dict(statistics)}
    first = model.init(jax.random.key(0), images[:1])
    assert jax.tree.structure(variables) == jax.tree.structure(first)

    terms = jax.vmap(ju.make_scorer(model, variables))(images)
    np.testing.assert_allclose(terms.m, module(images, method="terms").m, rtol=1e-5)
    assert np.all(np.abs(np.asarray(terms.m) - np.asarray(before.m)) > 1.0)
