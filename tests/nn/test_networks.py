"""The paper's networks: sizes counted by hand, the layers against PyTorch's definition, and bad configs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.nn.config import NetworkConfig
from jaxunreg.nn.soft_clip import soft_clip, soft_clip_with_inverse

pytestmark = pytest.mark.slow


def count(model: object, config: NetworkConfig) -> int:
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *config.image_shape)))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))


def test_the_toy_vae_has_as_many_parameters_as_counted_by_hand():
    # 32x32x3, depth 4, N_c 32, N_z 500; convolutions of 4x4 = 16 taps without bias, batch norm has scale and bias.
    encoder = 16 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 2 * (32 + 64 + 128 + 256)
    heads = (2 * 2 * 256) * 1000 + 1000
    decoder = 500 * (2 * 2 * 256) + 2 * 256
    decoder += 16 * (256 * 128 + 128 * 64 + 64 * 32 + 32 * 6) + 2 * (128 + 64 + 32) + 6
    assert encoder + heads + decoder == 2_919_790
    config = ju.VAEConfig()
    assert count(ju.VAE(config), config) == 2_919_790


def test_the_large_vae_has_as_many_parameters_as_counted_by_hand():
    # 96x96x1, depth 5, N_c 32, N_z 50.
    encoder = 16 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 2 * (32 + 64 + 128 + 256 + 512)
    heads = (3 * 3 * 512) * 100 + 100
    decoder = 50 * (3 * 3 * 512) + 2 * 512
    decoder += 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 32 + 32 * 2) + 2 * (256 + 128 + 64 + 32) + 2
    config = ju.VAEConfig(image_shape=(96, 96, 1), depth=5, base_channels=32, latent_dim=50)
    assert count(ju.VAE(config), config) == encoder + heads + decoder


def test_the_toy_autoencoder_has_half_the_heads_and_half_the_outputs():
    vae, ae = ju.VAEConfig(), ju.AutoencoderConfig()
    fewer = (2 * 2 * 256 + 1) * 500 + (16 * 32 + 1) * 3
    assert count(ju.VAE(vae), vae) - count(ju.Autoencoder(ae), ae) == fewer


@pytest.mark.parametrize(("shape", "depth"), [((16, 48, 1), 3), ((8, 8, 4), 3), ((32, 64, 3), 5)])
def test_any_shape_that_the_depth_divides_is_encoded_and_decoded(shape, depth):
    config = ju.VAEConfig(image_shape=shape, depth=depth, base_channels=2, latent_dim=3)
    model = ju.VAE(config)
    images = jax.random.uniform(jax.random.key(1), (2, *shape))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    posterior, likelihood = jax.jit(model.apply)(variables, images)
    assert posterior.mean.shape == posterior.log_var.shape == (2, 3)
    assert likelihood.mean.shape == likelihood.log_var.shape == (2, *shape)


def test_the_first_layer_is_the_convolution_of_the_paper():
    # One layer by hand: 4x4 windows, stride 2, padding 1, then batch norm by the batch's own statistics, then ReLU.
    config = NetworkConfig(image_shape=(4, 4, 1), depth=1, base_channels=2, latent_dim=1)
    from jaxunreg.nn.networks import Encoder

    encoder = Encoder(config, features=3)
    images = np.random.default_rng(0).uniform(size=(5, 4, 4, 1)).astype(np.float32)
    variables = jax.jit(encoder.init)(jax.random.key(0), jnp.asarray(images))
    got, _ = encoder.apply(variables, jnp.asarray(images), train=True, mutable=["batch_stats"])
    params = variables["params"]
    kernel = np.asarray(params["Convolution_0"]["kernel"])
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    features = np.stack(
        [
            np.stack([np.einsum("nuvc,uvco->no", padded[:, r : r + 4, c : c + 4], kernel) for c in (0, 2)], 1)
            for r in (0, 2)
        ],
        1,
    )
    mean, var = features.mean((0, 1, 2)), features.var((0, 1, 2))
    hidden = np.maximum((features - mean) / np.sqrt(var + config.batch_norm_epsilon), 0).reshape(5, -1)
    wanted = hidden @ np.asarray(params["Dense_0"]["kernel"]) + np.asarray(params["Dense_0"]["bias"])
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_both_lowerings_give_the_same_network():
    images = jax.random.uniform(jax.random.key(1), (3, 16, 16, 3))
    sizes = {"image_shape": (16, 16, 3), "depth": 3, "base_channels": 4, "latent_dim": 5}
    models = [ju.VAE(ju.VAEConfig(**sizes, lowering=lowering)) for lowering in ("native", "matmul", "auto")]
    variables = jax.jit(models[0].init)(jax.random.key(0), images)
    native, *others = (jax.jit(partial(model.apply, method="terms"))(variables, images) for model in models)
    for other in others:
        for name in ("d", "a", "m"):
            np.testing.assert_allclose(getattr(other, name), getattr(native, name), rtol=2e-4)


def test_activations_keep_their_scale_through_the_starting_network():
    # He et al. (2015): unit second moments in, about unit second moments out, in both directions.
    config = ju.VAEConfig(image_shape=(32, 32, 3), depth=4, base_channels=32, latent_dim=64)
    model = ju.VAE(config)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    kernels = {
        **variables["params"]["encoder"],
        **{f"t_{k}": v for k, v in variables["params"]["decoder"].items()},
    }
    for name in ("Convolution_1", "Convolution_2", "t_Convolution_0", "t_Convolution_1"):
        kernel = np.asarray(kernels[name]["kernel"])
        taps = kernel.shape[2] * (4 if name.startswith("t_") else 16)
        assert taps * kernel.var() == pytest.approx(2.0, rel=0.05)


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image_shape": (30, 32, 3)}, r"\(30, 32, 3\) with depth=4.*multiples of 2\*\*4 = 16"),
        ({"image_shape": (32, 32)}, r"expected \(height, width, channels\)"),
        ({"image_shape": (32, 32, 0)}, "above zero"),
        ({"depth": 0}, "depth=0; expected at least 1"),
        ({"base_channels": 0}, "base_channels=0"),
        ({"latent_dim": -1}, "latent_dim=-1"),
        ({"lowering": "fast"}, "lowering='fast'; expected one of"),
        ({"precision": "float16"}, "precision='float16'; expected one of"),
        ({"initializer": "zeros"}, "initializer='zeros'; expected one of"),
        ({"batch_norm_momentum": 1.0}, "batch_norm_momentum=1.0"),
        ({"batch_norm_epsilon": 0.0}, "batch_norm_epsilon=0.0"),
        ({"x_log_var_min": 1.0}, "expected min < init < max"),
        ({"z_log_var_init": 9.0}, "expected min < init < max"),
        ({"x_log_var_min": -90.0}, "x_log_var_min=-90.0 .*at most 60.0 apart"),
        (
            {"x_log_var_min": -120.0, "x_log_var_init": -100.0, "x_log_var_max": -65.0},
            "x_log_var_min=-120.0 .*between -80.0 and 80.0",
        ),
    ],
)
def test_a_config_that_cannot_be_built_says_why(fields, said):
    with pytest.raises(ValueError, match=said):
        ju.VAEConfig(**fields)


def test_soft_clip_bounds_and_keeps_a_gradient():
    x = jnp.linspace(-30.0, 20.0, 201)
    y = soft_clip(x, -14.0, 2.0)
    # Either end can round to the bound itself.
    assert float(y.min()) >= -14.0
    assert float(y.max()) <= 2.0 + 1e-6
    assert (np.diff(np.asarray(y)) >= 0).all()
    assert float(soft_clip(jnp.array(-6.0), -14.0, 2.0)) == pytest.approx(-6.0, abs=1e-3)
    assert float(jax.grad(lambda v: soft_clip(v, -14.0, 2.0))(jnp.array(-18.0))) == pytest.approx(np.exp(-4), rel=0.05)


def test_soft_clip_is_two_softplus_in_value_and_derivatives():
    def two(x):
        lifted = 2.0 - jax.nn.softplus(2.0 - x)
        return jax.nn.softplus(lifted + 14.0) - 14.0

    with jax.enable_x64(True):
        for x in [-400.0, -20.0, -14.0, -6.0, 1.0, 2.0, 9.0, 30.0, 400.0]:
            point = jnp.array(x)
            got, want = soft_clip(point, -14.0, 2.0), two(point)
            assert float(got) == pytest.approx(float(want), abs=1e-12)
            slope, curvature = jax.grad(soft_clip), jax.grad(jax.grad(soft_clip))
            assert float(slope(point, -14.0, 2.0)) == pytest.approx(float(jax.grad(two)(point)), rel=1e-9, abs=1e-25)
            assert float(curvature(point, -14.0, 2.0)) == pytest.approx(
                float(jax.grad(jax.grad(two))(point)), rel=1e-6, abs=1e-12
            )


@pytest.mark.parametrize(("low", "high"), [(-14.0, 2.0), (-40.0, 20.0)])
def test_higher_derivatives_of_a_soft_clip_are_those_of_two_softplus_in_float32(low, high):
    def two(x):
        return low + jax.nn.softplus(high - jax.nn.softplus(high - x) - low)

    def bounded(x):
        return soft_clip(x, low, high)

    points = np.linspace(-55.0, 50.0, 43)
    for _ in range(3):
        two, bounded = jax.grad(two), jax.grad(bounded)
        with jax.enable_x64(True):
            want = np.asarray(jax.vmap(two)(jnp.asarray(points)))
        np.testing.assert_allclose(jax.vmap(bounded)(jnp.asarray(points, jnp.float32)), want, rtol=1e-4, atol=2e-6)


def test_the_inverse_of_a_soft_clip_is_the_exponential_in_value_and_derivatives():
    def direct(x, low, high):
        return jnp.exp(-soft_clip(x, low, high))

    def inverse(x, low, high):
        return soft_clip_with_inverse(x, low, high)[1]

    with jax.enable_x64(True):
        for low, high in [(-14.0, 2.0), (-100.0, -45.0)]:
            for x in [-400.0, -120.0, -20.0, -6.0, 1.0, 30.0, 400.0]:
                for derivative in (lambda f: f, jax.grad, lambda f: jax.grad(jax.grad(f))):
                    got, want = (derivative(f)(jnp.array(x), low, high) for f in (inverse, direct))
                    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-25)
    # exp(100) is no float32, but exp(45) is.
    y, value = soft_clip_with_inverse(jnp.float32(0.0), -100.0, -45.0)
    np.testing.assert_allclose(value, np.exp(-np.float64(y)), rtol=1e-4)
