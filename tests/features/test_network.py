"""The protocol over all feature networks, and functions of a user's own."""

import hashlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from jaxunreg.features.convolutions import Convolution
from jaxunreg.features.efficientnet_lite import EfficientNetLite0
from jaxunreg.features.network import FeatureError, FeatureNetwork, map_shape, wrap
from jaxunreg.features.resnet import Block, ResNet, Weights
from jaxunreg.features.tiles import features_of

pytestmark = pytest.mark.slow


def small_resnet() -> ResNet:
    rng = np.random.default_rng(0)

    def convolution(k: int, c_in: int, c_out: int) -> Convolution:
        return Convolution(jnp.asarray(rng.normal(0, 0.3, (k, k, c_in, c_out)), jnp.float32), jnp.zeros(c_out))

    def layer(c_in: int, c_out: int) -> tuple[Block, ...]:
        return (Block((convolution(3, c_in, c_out), convolution(3, c_out, c_out)), convolution(1, c_in, c_out)),)

    weights = Weights(convolution(7, 3, 4), (layer(4, 4), layer(4, 6), layer(6, 8)))
    return ResNet(weights, "small", hashlib.sha256(b"small").hexdigest())


def own_function(kernel: jax.Array, images: jax.Array) -> jax.Array:
    convolve = lambda x: jax.lax.conv_general_dilated(  # noqa: E731
        x, kernel, (4, 4), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.tanh(convolve(jnp.broadcast_to(images, (*images.shape[:3], 3))))


NETWORKS = {
    "efficientnet-lite0": EfficientNetLite0.pretrained,
    "resnet": small_resnet,
    "wrapped": lambda: wrap(own_function, jax.random.normal(jax.random.key(0), (5, 5, 3, 7)), name="wrapped"),
}


@pytest.fixture(params=NETWORKS)
def network(request) -> FeatureNetwork:
    return NETWORKS[request.param]()


@pytest.fixture
def images() -> jax.Array:
    return jax.random.uniform(jax.random.key(1), (8, 40, 35, 3))


def test_it_says_what_it_is(network):
    assert isinstance(network, FeatureNetwork)
    assert network.name
    assert len(bytes.fromhex(network.sha256)) == 32


@pytest.mark.parametrize("size", [(32, 32), (40, 35), (65, 48)])
def test_the_map_has_the_size_that_stride_and_channels_promise(network, size):
    for channels in (1, 3):
        maps = jax.eval_shape(network, jnp.zeros((2, *size, channels)))
        assert maps.shape == (2, *map_shape(network, *size))


def test_the_weights_are_the_leaves(network, images):
    leaves, structure = jax.tree.flatten(network)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    again = jax.tree.unflatten(structure, leaves)
    assert (again.name, again.stride, again.channels, again.sha256) == (
        network.name,
        network.stride,
        network.channels,
        network.sha256,
    )
    silent = jax.tree.map(jnp.zeros_like, network)
    assert float(jnp.abs(silent(images[:1])).max()) == 0.0


def test_jit_is_no_jit_and_a_network_is_an_argument(network, images):
    passed = jax.jit(lambda own, batch: own(batch))(network, images)
    chex.assert_trees_all_close(passed, network(images), rtol=1e-4, atol=1e-4)


def test_it_compiles_once_for_one_shape(network, images, compiled):
    program = jax.jit(lambda own, batch: own(batch))
    program(network, images)
    count = len(compiled)
    program(jax.tree.map(lambda leaf: leaf + 0.0, network), images)
    assert len(compiled) - count <= len(jax.tree.leaves(network))  # Those of the additions.


def test_vmap_is_a_loop_and_is_the_batch(network, images):
    each = jax.jit(jax.vmap(features_of, in_axes=(None, 0)))(network, images)
    loop = jnp.stack([features_of(network, image) for image in images])
    chex.assert_trees_all_close(each, loop, rtol=1e-4, atol=1e-4)
    chex.assert_trees_all_close(network(images), loop, rtol=1e-4, atol=1e-4)


def test_shard_map_is_one_device(network, images):
    mesh = Mesh(np.array(jax.devices()), ("images",))
    spec = PartitionSpec("images")
    shard = jax.jit(
        jax.shard_map(
            lambda own, batch: own(batch), mesh=mesh, in_specs=(PartitionSpec(), spec), out_specs=spec, check_vma=False
        )
    )
    chex.assert_trees_all_close(shard(network, images), network(images), rtol=1e-4, atol=1e-4)


def test_the_gradient_with_respect_to_the_image_is_the_slope(network, images):
    def loss(image: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(features_of(network, image)))

    direction = jax.random.normal(jax.random.key(2), images[0].shape)
    gradient = jax.jit(jax.grad(loss))(images[0])
    slope = jax.jvp(loss, (images[0],), (direction,))[1]
    np.testing.assert_allclose(jnp.vdot(gradient, direction), slope, rtol=1e-3, atol=1e-3)
    step = 1e-3
    numeric = (loss(images[0] + step * direction) - loss(images[0] - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, numeric, rtol=0.1, atol=0.1)


def test_wrap_hashes_the_weights():
    weights = {"a": jnp.ones((2, 3)), "b": jnp.zeros(4)}
    same, other = dict(weights), {**weights, "b": jnp.ones(4)}
    hashes = [wrap(lambda _, x: x[:, ::2, ::2], tree, name="x").sha256 for tree in (weights, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_wrap_does_not_run_the_function():
    def function(weights: object, images: jax.Array) -> jax.Array:
        assert isinstance(images, jax.core.Tracer)
        return images[:, ::2, ::2]

    assert wrap(function, (), name="x", image_channels=5).channels == 5


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda _, x: x.mean(axis=(1, 2)), r"maps of shape \[2, 3\] from images of shape \[2, 512, 384, 3\]"),
        (lambda _, x: x[:, :-8:8, :-8:8], "a map of 63x47 for an image of 512x384"),
        (
            lambda _, x: x[:, 7::8, 7::8],
            "a map of 64x48 for an image of 513x385; expected 65x49, as from a stride of 8",
        ),
        (lambda _, x: x[:, ::8, ::4], "a map of 64x96 for an image of 512x384; expected 64x48"),
        (lambda _, x: (x, x), "from the function; expected one array of floating-point features"),
        (lambda _, x: x.astype(jnp.int32), "from the function; expected one array of floating-point features"),
    ],
)
def test_wrap_refuses_what_is_no_map(function, message):
    with pytest.raises(FeatureError, match=message):
        wrap(function, (), name="x")
