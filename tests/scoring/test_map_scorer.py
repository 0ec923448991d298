"""The contract of a scorer, in both spaces: the same transformations, maps and boxes."""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import jaxunreg as ju
from jaxunreg.features import MapVAE, WhiteningConfig, fit_whitening, wrap
from jaxunreg.scoring import FeatureScorer, MapScorer

pytestmark = pytest.mark.slow

SIZE = (16, 16)


def of_pixels() -> MapScorer:
    model = ju.VAE(ju.VAEConfig(image_shape=(*SIZE, 3), depth=2, base_channels=4, latent_dim=3))
    return ju.make_scorer(model, jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *SIZE, 3))))


def seen(kernel: jax.Array, images: jax.Array) -> jax.Array:
    return jnp.tanh(
        jax.lax.conv_general_dilated(images, kernel, (4, 4), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )


def of_features(config: WhiteningConfig) -> FeatureScorer:
    network = wrap(seen, jax.random.normal(jax.random.key(0), (5, 5, 3, 7)), name="seen")
    images = jax.random.uniform(jax.random.key(1), (20, *SIZE, 3))
    return FeatureScorer(network, fit_whitening(jax.jit(network)(images), config), SIZE, channels=3)


def of_features_and_latent_variables() -> FeatureScorer:
    """With a sigma that follows the image."""
    scorer = of_features(WhiteningConfig(per_place=True, shrinkage=0.5))
    keys = jax.random.split(jax.random.key(3), 2)
    components = jnp.linalg.qr(jax.random.normal(keys[0], (4 * 4 * 7, 3)))[0].T.reshape(3, 4, 4, 7)
    log_variance = 0.1 * jax.random.normal(keys[1], (7, 4, 4))
    vae = MapVAE(scorer.density, components.astype(jnp.float16), jnp.array([4.0, 1.0, 0.5]), log_variance)
    return dataclasses.replace(scorer, density=vae)


SCORERS: dict[str, Callable[[], MapScorer]] = {
    "pixels": of_pixels,
    "features, one Gaussian": lambda: of_features(WhiteningConfig(per_place=False)),
    "features, a Gaussian a place": lambda: of_features(WhiteningConfig(per_place=True, shrinkage=0.5)),
    "features, a mean a place": lambda: of_features(WhiteningConfig(per_place=True, shrinkage=1.0)),
    "features, a VAE on the map": of_features_and_latent_variables,
}
STRIDE = 4


@pytest.fixture(scope="module", params=SCORERS)
def scorer(request) -> MapScorer:
    return SCORERS[request.param]()


@pytest.fixture(scope="module")
def images() -> jax.Array:
    return jax.random.uniform(jax.random.key(2), (8, *SIZE, 3))


@pytest.fixture(scope="module")
def terms(scorer, images) -> ju.Decomposition:
    return jax.jit(jax.vmap(scorer))(images)


def close(got, want):
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-3)


def test_it_keeps_the_contract(scorer):
    assert isinstance(scorer, MapScorer)
    assert (scorer.channels, scorer.unit) == (3, "nats")
    assert scorer.space in ("features", "pixels")
    assert scorer.arithmetic == "float32"
    assert jax.tree.leaves(scorer.learned)
    assert scorer.describe()
    assert isinstance(scorer.smallest_image, int)


def test_vmap_is_a_loop_and_jit_is_no_jit(scorer, images, terms):
    loop = [scorer(image) for image in images]
    close(terms, jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop))
    close(jax.jit(lambda own, image: own(image))(scorer, images[0]), loop[0])
    assert np.ptp(np.asarray(terms.m)) > 0


def test_uint8_is_the_same_as_floating_point(scorer):
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    close(scorer(pixels), scorer(jnp.asarray(pixels, jnp.float32) / 255))


def test_several_devices_are_one(scorer, images, terms):
    mesh, spec = Mesh(np.array(jax.devices()), ("images",)), PartitionSpec("images")
    shard = jax.shard_map(
        lambda own, batch: jax.vmap(own)(batch),
        mesh=mesh,
        in_specs=(PartitionSpec(), spec),
        out_specs=spec,
        check_vma=False,
    )
    close(jax.jit(shard)(scorer, images), terms)
    mapped = jax.pmap(lambda own, image: own(image), in_axes=(None, 0))
    close(jax.device_get(mapped(scorer, images)), jax.device_get(terms))


@pytest.mark.parametrize("backend", ["shard_map", "pmap"])
def test_several_devices_are_one_by_name_however_many_images_there_are(scorer, images, terms, backend):
    shard = ju.sharded_scorer(scorer, jax.devices()[:3], backend=backend, batch_size=1)
    for count in (0, 2, 8):
        found = shard(images[:count])
        assert isinstance(found.m, np.ndarray)
        assert found.m.dtype == np.float32
        close(found, jax.tree.map(lambda term, count=count: np.asarray(term[:count]), terms))


def test_the_gradient_with_respect_to_the_image_is_the_slope(scorer, images):
    def score(image: jax.Array) -> jax.Array:
        return scorer(image).m

    image = 0.1 + 0.8 * images[0]
    gradient = jax.jit(jax.grad(score))(image)
    direction = gradient / jnp.linalg.norm(gradient)
    step = 1e-2
    numeric = (score(image + step * direction) - score(image - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(gradient, direction), numeric, rtol=0.1)


def test_it_is_exported_for_any_number_of_images(scorer, images, terms):
    again = jax.export.deserialize(ju.export_scorer(scorer, platforms=["cpu", "cuda"]).serialize())
    close(again.call(images[:5]), jax.tree.map(lambda term: term[:5], tuple(terms)))
    own = jax.export.export(jax.jit(lambda image: tuple(scorer(image))))(jax.ShapeDtypeStruct((*SIZE, 3), np.uint8))
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    close(own.call(pixels), tuple(scorer(pixels)))


def test_maps_of_images_of_the_scorers_own_size_add_up_to_its_terms(scorer, images, terms):
    stride = STRIDE if scorer.space == "features" else SIZE[0]
    for k, maps in enumerate(scorer.maps_each([np.asarray(image) for image in images], stride=stride)):
        for name in ("d", "a", "m"):
            patches, pixels = (np.asarray(getattr(found, name)) for found in (maps.patches, maps.pixels))
            assert patches.shape == maps.grid.shape
            assert (patches.dtype, pixels.dtype, pixels.shape) == (np.float32, np.float64, SIZE)
            np.testing.assert_allclose(patches.sum(), getattr(terms, name)[k], rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(pixels.sum(), getattr(terms, name)[k], rtol=1e-3, atol=1e-3)


def test_images_of_any_sizes_have_maps_and_boxes_of_their_own(scorer, compiled):
    rng = np.random.default_rng(3)
    sizes = [(16, 16), (16, 40), (50, 33), (37, 90), (16, 40)]
    some = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    list(scorer.maps_each(some[:1], stride=STRIDE))
    count = len(compiled)
    taken = []

    def once():
        for image in some:
            taken.append(image)
            yield image

    found = list(scorer.maps_each(once(), stride=STRIDE))
    bare = list(scorer.maps_each(some, stride=STRIDE, pixels=False))
    assert len(taken) == len(found) == len(some)
    if scorer.space == "features":
        assert len(compiled) == count
    for size, maps, other in zip(sizes, found, bare, strict=True):
        assert other.pixels is None
        np.testing.assert_array_equal(maps.patches.m, other.patches.m)
        assert maps.pixels.m.shape == size
        grid = maps.grid
        assert (np.diff(grid.rows) >= 0).all()
        assert (np.diff(grid.columns) >= 0).all()
        assert grid.rows[0] == grid.columns[0] == 0
        assert (grid.rows[-1] + grid.height, grid.columns[-1] + grid.width) == size


def test_what_does_not_fit_is_refused(scorer, no_type_checks):
    for bad, message in (
        (np.zeros((20, 20, 1), np.uint8), "expected .*3"),
        (np.full((20, 20, 3), 2.0), "divide by 255"),
        (np.full((20, 20, 3), np.nan), "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            list(scorer.maps_each([bad], stride=STRIDE))
    with pytest.raises(TypeError, match="expected a NumPy or JAX array"):
        list(scorer.maps_each(["part.png"], stride=STRIDE))
    for stride in (0, 17):
        with pytest.raises(ValueError, match=f"got heat_map_stride={stride}"):
            scorer.check_stride("heat_map_stride", stride)
    scorer.check_stride("heat_map_stride", STRIDE)
