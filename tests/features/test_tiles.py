"""Large images tile by tile: the map of the whole image, and how far a place sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxunreg.errors import ArgumentError
from jaxunreg.features import EfficientNetLite0, FeatureNetwork, Tiling, look_at, tiles, wrap
from tests.features.test_network import small_resnet


def convolved(kernels: tuple[jax.Array, jax.Array], images: jax.Array) -> jax.Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(images, kernels[0], (2, 2), "SAME", dimension_numbers=numbers)
    return jax.lax.conv_general_dilated(jnp.tanh(x + 0.5), kernels[1], (2, 2), "SAME", dimension_numbers=numbers)


def own_network(tiling: Tiling | None) -> FeatureNetwork:
    """Two layers of 5x5 at stride 2. A place sees 6 pixels beyond its own 4."""
    keys = jax.random.split(jax.random.key(0), 2)
    kernels = (jax.random.normal(keys[0], (5, 5, 3, 4)), jax.random.normal(keys[1], (5, 5, 4, 6)))
    return wrap(convolved, kernels, name="own", tiling=tiling)


def images(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).random((*shape, 3), np.float32))


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "_MOST_PIXELS", 1)
    monkeypatch.setattr(tiles, "_SIDE", 1)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("size", [(64, 100), (16, 200), (20, 20), (4, 4), (72, 36)])
def test_tiles_with_a_halo_are_the_whole_up_to_the_border(size):
    network = own_network(Tiling(halo=8, multiple=4))
    batch = images(2, *size)
    whole = network(batch)
    np.testing.assert_allclose(jax.jit(look_at)(network, batch), whole, rtol=1e-5, atol=1e-5)
    # The halo is needed.
    if min(size) > 20:
        narrow = own_network(Tiling(halo=4, multiple=4))
        assert float(jnp.max(jnp.abs(look_at(narrow, batch) - whole))) > 1e-2


@pytest.mark.usefixtures("small_tiles")
def test_the_gradient_is_that_of_the_whole():
    network = own_network(Tiling(halo=8, multiple=4))
    batch = images(1, 40, 72)
    weights = jax.random.normal(jax.random.key(1), network(batch).shape)

    def of(function):
        return jax.jit(jax.grad(lambda batch: jnp.sum(weights * function(batch))))(batch)

    np.testing.assert_allclose(of(lambda batch: look_at(network, batch)), of(network), rtol=1e-4, atol=1e-5)


def test_tiles_of_efficientnet_are_the_whole_image(monkeypatch):
    network, batch = EfficientNetLite0.pretrained(), images(1, 768, 64)
    whole = network(batch)
    monkeypatch.setattr(tiles, "_MOST_PIXELS", 768 * 64 - 1)
    monkeypatch.setattr(tiles, "_SIDE", 544)
    in_tiles = jax.jit(look_at)(network, batch)
    scale = float(jnp.std(whole))
    np.testing.assert_allclose(in_tiles, whole, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize(
    ("make", "expected"),
    [(EfficientNetLite0.pretrained, [(186, 193), (178, 201)]), (small_resnet, None)],
    ids=["efficientnet-lite0", "resnet"],
)
def test_a_place_sees_what_the_layers_say_and_nothing_else(make, expected):
    # With weights above zero and no activation that cuts off, a place depends on all that it sees.
    network = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.0 if leaf.ndim == 1 else 1.0 / leaf[..., 0].size), make())
    batch = jnp.full((1, 512, 32, 1), 0.75)

    @jax.jit
    def slope(network: FeatureNetwork, row: int) -> jax.Array:
        return jax.grad(lambda batch: jnp.sum(network(batch)[0, row]))(batch)

    found = []
    for row in (32, 33):
        seen = np.flatnonzero(np.any(np.asarray(slope(network, row)) != 0.0, axis=(0, 2, 3)))
        found.append((8 * row - int(seen[0]), int(seen[-1]) - (8 * row + 7)))
    if expected is not None:
        assert found == expected
    farthest = max(max(sides) for sides in found)
    assert network.tiling == Tiling(halo=-(-farthest // 16) * 16, multiple=16)


def test_a_large_image_takes_no_more_memory_than_its_tiles():
    network = own_network(Tiling(halo=8, multiple=4))
    whole = own_network(None)

    def peak(network: FeatureNetwork) -> int:
        program = jax.jit(lambda kernels, batch: look_at(jax.tree.unflatten(structure, kernels), batch))
        kernels, structure = jax.tree.flatten(network)
        shape = jax.ShapeDtypeStruct((1, 4096, 4096, 3), jnp.float32)
        return int(program.lower(kernels, shape).compile().memory_analysis().temp_size_in_bytes)

    # 64 MB after the first layer, and a tile with its part of it.
    assert peak(whole) > 60e6
    assert peak(network) < 35e6


@pytest.mark.usefixtures("small_tiles")
def test_without_a_tiling_or_at_other_sizes_the_image_is_seen_as_a_whole():
    seen = []

    def noted(weights: tuple[()], images: jax.Array) -> jax.Array:
        seen.append(images.shape)
        return images[:, ::4, ::4]

    for tiling, size in ((None, (64, 64)), (Tiling(8, 8), (64, 60))):
        network = wrap(noted, (), name="noted", tiling=tiling)
        seen.clear()
        look_at(network, images(1, *size))
        assert seen == [(1, *size, 3)]


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        (Tiling(8, 6), "a multiple of the stride 4"),
        (Tiling(-4, 4), "a halo of at least 0"),
        (Tiling(5, 4), "a halo that is a multiple of 4, e.g. 8"),
    ],
)
def test_tiles_that_do_not_begin_at_places_are_refused(tiling, message):
    with pytest.raises(ArgumentError, match=message):
        own_network(tiling)
