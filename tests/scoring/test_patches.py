"""Patches, and maps over an image of any size: against slow loops that crop one patch after another."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.errors import ArgumentError
from jaxunreg.models import apply
from jaxunreg.models.base import Model
from jaxunreg.scoring import batched, each
from jaxunreg.scoring.each import maps_each
from jaxunreg.scoring.patch_stream import average_patches, map_patches
from jaxunreg.scoring.patches import extract_patches, patch_grid

pytestmark = pytest.mark.slow

SIZES = {"image_shape": (8, 8, 2), "depth": 2, "base_channels": 4, "latent_dim": 3}
SHAPES = [(8, 8), (8, 21), (19, 14), (24, 16)]


def make(model: Model) -> ju.Scorer:
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *SIZES["image_shape"])))
    return ju.make_scorer(
        model, {**variables, "batch_stats": jax.tree.map(lambda a: a + 0.3, variables["batch_stats"])}
    )


@pytest.fixture(scope="module", params=["vae", "ae"])
def scorer(request) -> ju.Scorer:
    if request.param == "vae":
        return make(ju.VAE(ju.VAEConfig(**SIZES)))
    return make(ju.Autoencoder(ju.AutoencoderConfig(**SIZES)))


def picture(height: int, width: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).uniform(size=(height, width, 2)), jnp.float32)


def starts(length: int, stride: int) -> list[int]:
    """Every `stride` pixels, and once more at the border: written down by hand, pixel by pixel."""
    return [start for start in range(length - 7) if start % stride == 0 or start == length - 8]


@pytest.mark.parametrize("stride", [1, 3, 4, 8, 11])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_the_grid_and_its_coverage_are_those_of_a_loop(height, width, stride):
    grid = patch_grid(height, width, patch=(8, 8), stride=stride)
    assert grid.rows.tolist() == starts(height, stride)
    assert grid.columns.tolist() == starts(width, stride)
    count = np.zeros((height, width), int)
    for row, column in grid.corners:
        count[row : row + 8, column : column + 8] += 1
    np.testing.assert_array_equal(grid.coverage(height, width), count)
    assert (count > 0).all() or stride > 8


def test_maps_are_the_same_where_64_bits_are_on():
    scorer = make(ju.VAE(ju.VAEConfig(**SIZES)))
    image = np.asarray(picture(19, 14))
    shard = ju.sharded_scorer(scorer, jax.devices()[:2], batch_size=3)

    def all_of() -> list:
        return [
            ju.score_image(scorer, image, stride=5),
            ju.heat_map(scorer, image, stride=5),
            shard.score_image(image, stride=5),
            shard.heat_map(image, stride=5),
        ]

    wanted = all_of()
    with jax.enable_x64(True):
        found = all_of()
    chex.assert_trees_all_equal_shapes_and_dtypes(found, wanted)
    chex.assert_trees_all_close(found, wanted, rtol=1e-5)


def test_patches_are_crops():
    image = picture(19, 14)
    corners = np.array([[0, 0], [11, 6], [3, 2]], np.int32)
    for patch, (row, column) in zip(extract_patches(image, corners, (8, 8)), corners, strict=True):
        np.testing.assert_array_equal(patch, image[row : row + 8, column : column + 8])


@pytest.mark.parametrize("stride", [3, 8])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_score_image_is_a_loop_over_crops(scorer, height, width, stride):
    image = picture(height, width)
    maps = ju.score_image(scorer, image, patch=8, stride=stride, batch_size=5)
    chex.assert_shape(maps.m, (len(starts(height, stride)), len(starts(width, stride))))
    one = jax.jit(scorer)
    for i, row in enumerate(starts(height, stride)):
        for j, column in enumerate(starts(width, stride)):
            want = one(image[row : row + 8, column : column + 8])
            chex.assert_trees_all_close(jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j], maps), want, rtol=1e-3)


@pytest.mark.parametrize("term", ["d", "a", "m", "nelbo"])
def test_heat_map_is_the_mean_over_the_patches_that_cover_a_pixel(scorer, term):
    image = picture(19, 14)
    total, count = np.zeros((19, 14)), np.zeros((19, 14))
    one = jax.jit(lambda crop: scorer.model.apply(scorer.variables, crop, method="pixel_terms"))
    for row in starts(19, 3):
        for column in starts(14, 3):
            crop = image[None, row : row + 8, column : column + 8]
            total[row : row + 8, column : column + 8] += getattr(one(crop), term)[0]
            count[row : row + 8, column : column + 8] += 1
    got = ju.heat_map(scorer, image, patch=8, stride=3, batch_size=4, term=term)
    np.testing.assert_allclose(got, total / count, rtol=1e-3, atol=1e-5)


def test_the_terms_of_pixels_add_up_to_the_terms(scorer):
    image = picture(8, 8)
    pixels = jax.jit(lambda image: scorer.model.apply(scorer.variables, image[None], method="pixel_terms"))(image)
    terms = jax.jit(lambda image: scorer(image))(image)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: jnp.sum(leaf[0]), pixels), terms, rtol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_all_terms_are_the_terms_and_the_terms_of_pixels(scorer, batch):
    images = jnp.stack([picture(8, 8) * scale for scale in (1.0, 0.5, 0.2)][:batch])

    def run(method):
        return jax.jit(lambda images: method(scorer.model, scorer.variables, images))(images)

    found = run(apply.all_terms)
    chex.assert_trees_all_close(found.images, run(apply.terms), rtol=1e-6)
    chex.assert_trees_all_close(found.pixels, run(apply.pixel_terms), rtol=1e-5, atol=1e-6)


def test_maps_compose_with_jit_vmap_and_grad(scorer):
    images = jnp.stack([picture(12, 10), 1.0 - picture(12, 10)])

    def score(image):
        return ju.image_score(ju.score_image(scorer, image, stride=4).nelbo, top_k=2)

    def heat(image):
        return ju.heat_map(scorer, image, stride=4)

    for function in (score, heat):
        want = jnp.stack([function(image) for image in images])
        chex.assert_trees_all_close(jax.jit(jax.vmap(function))(images), want, rtol=1e-4, atol=1e-6)
    direction = jnp.asarray(np.random.default_rng(1).normal(size=(12, 10, 2)), jnp.float32)
    for function in (
        lambda image: jnp.sum(ju.score_image(scorer, image, stride=4).nelbo),
        lambda im: jnp.sum(heat(im)),
    ):
        slope = jnp.vdot(jax.grad(function)(images[0]), direction)
        jvp = jax.jvp(function, (images[0],), (direction,))[1]
        assert float(slope) == pytest.approx(float(jvp), rel=1e-3, abs=1e-4)


def test_uint8_and_the_mean_of_the_largest():
    scorer = make(ju.VAE(ju.VAEConfig(**SIZES)))
    image = np.random.default_rng(0).integers(0, 256, (19, 14, 2), np.uint8)
    maps = ju.score_image(scorer, image, stride=4)
    chex.assert_trees_all_close(maps, ju.score_image(scorer, image / np.float32(255), stride=4), rtol=1e-4)
    largest = np.sort(np.asarray(maps.m).ravel())[::-1]
    assert float(ju.image_score(maps.m)) == largest[0]
    assert float(ju.image_score(maps.m, top_k=3)) == pytest.approx(largest[:3].mean())


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        ((7, 9, 2), {"stride": 2}, "got an image of 7x9; expected at least a patch of 8x8"),
        ((9, 9, 3), {"stride": 2}, r"got images of shape \[9, 9, 3\]"),
        ((9, 9), {"stride": 2}, r"got images of shape \[9, 9\]"),
        ((9, 9, 2), {"stride": 0}, "got stride=0; expected at least 1"),
        ((9, 9, 2), {"stride": 2, "patch": 16}, "got patch=16 with a model of 8x8"),
        ((9, 9, 2), {"stride": 2, "batch_size": 0}, "got batch_size=0"),
    ],
)
def test_what_cannot_be_scored_is_refused(image, options, said):
    scorer = make(ju.VAE(ju.VAEConfig(**SIZES)))
    for function in (ju.score_image, ju.heat_map):
        with pytest.raises(ValueError, match=said):
            function(scorer, np.zeros(image, np.float32), **options)


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize("value", [2.5, 2.0, True, np.inf, np.nan, np.float32(2), "2"])
def test_only_whole_numbers_are_steps(value):
    scorer = make(ju.VAE(ju.VAEConfig(**SIZES)))
    image = np.zeros((9, 9, 2), np.float32)
    said = "of type .*; expected an integer; pass int"
    for function in (ju.score_image, ju.heat_map):
        with pytest.raises(TypeError, match=f"got stride=.* {said}"):
            function(scorer, image, stride=value)
        with pytest.raises(TypeError, match=f"got batch_size=.* {said}"):
            function(scorer, image, stride=2, batch_size=value)
    for options in ({"stride": value}, {"stride": 2, "pixel_stride": value}):
        with pytest.raises(TypeError, match=f"stride=.* {said}"):
            list(maps_each(scorer, [image], **options))
    with pytest.raises(TypeError, match=f"got stride=.* {said}"):
        scorer.check_stride("stride", value)
    with pytest.raises(TypeError, match=f"got top_k=.* {said}"):
        ju.image_score(np.zeros((2, 2), np.float32), top_k=value)
    assert patch_grid(9, 9, patch=(8, 8), stride=np.int64(1)).shape == (2, 2)


@pytest.mark.usefixtures("no_type_checks")
def test_what_is_particular_to_one_is_refused():
    scorer = make(ju.VAE(ju.VAEConfig(**SIZES)))
    image = np.zeros((20, 20, 2), np.float32)
    with pytest.raises(ValueError, match="stride=9; expected 1 to 8"):
        ju.heat_map(scorer, image, stride=9)
    with pytest.raises(ValueError, match="term='l'"):
        ju.heat_map(scorer, image, stride=4, term="l")


def test_memory_does_not_grow_with_the_image():
    """Temporaries of the compiled program, by the compiler's own count, beside what is as large as the image."""
    scorer = make(ju.VAE(ju.VAEConfig(**SIZES)))

    def temporaries(size: int) -> int:
        program = jax.jit(lambda scorer, image: ju.score_image(scorer, image, stride=4, batch_size=16))
        analysis = program.lower(scorer, jax.ShapeDtypeStruct((size, size, 2), jnp.uint8)).compile().memory_analysis()
        return analysis.temp_size_in_bytes

    small, large = temporaries(64), temporaries(512)
    assert large - small < 64 * 512 * 512 * 2 / 16


@pytest.fixture(scope="module")
def many() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 2), dtype=np.uint8) for size in SHAPES]


@pytest.fixture(scope="module")
def vae() -> ju.Scorer:
    return make(ju.VAE(ju.VAEConfig(**SIZES)))


def test_images_of_any_sizes_score_as_a_loop_and_compile_once(vae, many):
    before = batched.apply_in_batches._cache_size()
    maps = list(ju.score_each(vae, iter(many), stride=5, batch_size=3))
    assert batched.apply_in_batches._cache_size() <= before + 1
    assert [found.m.shape for found in maps] == [(len(starts(h, 5)), len(starts(w, 5))) for h, w in SHAPES]
    crops = [
        image[r : r + 8, c : c + 8]
        for image, (h, w) in zip(many, SHAPES, strict=True)
        for r in starts(h, 5)
        for c in starts(w, 5)
    ]
    expected = ju.score_images(vae, np.stack(crops))
    found = jax.tree.map(lambda *leaves: np.concatenate([leaf.ravel() for leaf in leaves]), *maps)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-4)


def test_pixel_maps_of_images_of_any_sizes_are_those_of_one_by_one(vae, many):
    maps = list(ju.heat_map_each(vae, iter(many), stride=3, batch_size=2))
    assert [found.m.shape for found in maps] == SHAPES
    for k, term in ((2, "m"), (2, "a"), (3, "d")):
        expected = ju.heat_map(vae, many[k], stride=3, term=term)
        np.testing.assert_allclose(getattr(maps[k], term), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_both_kinds_of_maps_from_one_pass_are_those_of_two(scorer, many, batch_size):
    patches = list(ju.score_each(scorer, many, stride=5, batch_size=batch_size))
    pixels = list(ju.heat_map_each(scorer, many, stride=5, batch_size=batch_size))
    together = list(maps_each(scorer, iter(many), stride=5, batch_size=batch_size))
    chex.assert_trees_all_close([maps.patches for maps in together], patches, rtol=1e-6)
    chex.assert_trees_all_close([maps.pixels for maps in together], pixels, rtol=1e-5, atol=1e-6)
    for maps, (height, width) in zip(together, SHAPES, strict=True):
        assert maps.grid.rows.tolist() == starts(height, 5)
        assert maps.grid.columns.tolist() == starts(width, 5)
    alone = list(maps_each(scorer, iter(many), stride=5, pixels=False, batch_size=batch_size))
    chex.assert_trees_all_equal([maps.patches for maps in alone], patches)
    assert [maps.pixels for maps in alone] == [None] * len(many)


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_the_scores_of_patches_do_not_depend_on_whether_pixels_are_asked_for(vae, many, batch_size):
    """To the bit: a threshold that was set in one way holds in the other."""
    both, one = (
        [maps.patches for maps in maps_each(vae, many, stride=5, pixels=pixels, batch_size=batch_size)]
        for pixels in (True, False)
    )
    chex.assert_trees_all_equal(both, one)


def test_pixels_may_have_a_stride_of_their_own_from_one_reading(vae, many):
    read = []

    def images():
        for k, image in enumerate(many):
            read.append(k)
            yield image

    together = list(maps_each(vae, images(), stride=7, pixel_stride=3, batch_size=2))
    assert read == list(range(len(many)))
    chex.assert_trees_all_equal(
        [(maps.patches, maps.pixels) for maps in together],
        list(
            zip(
                ju.score_each(vae, many, stride=7, batch_size=2),
                ju.heat_map_each(vae, many, stride=3, batch_size=2),
                strict=True,
            )
        ),
    )


def test_one_pass_runs_the_network_once_on_each_patch(vae, many, monkeypatch):
    calls = []
    one_call = each.one_call

    def recorded(method, scorer, patches, batch_size):
        calls.append((method, len(patches)))
        return one_call(method, scorer, patches, batch_size)

    monkeypatch.setattr(each, "one_call", recorded)
    list(maps_each(vae, many, stride=5))
    assert {method for method, _ in calls} == {apply.all_terms}
    assert sum(count for _, count in calls) == sum(len(starts(h, 5)) * len(starts(w, 5)) for h, w in SHAPES)


@pytest.mark.usefixtures("no_type_checks")
def test_maps_of_pixels_need_a_stride_that_leaves_none_out(vae, many):
    for strides in ({"stride": 9}, {"stride": 4, "pixel_stride": 9}, {"stride": 4, "pixel_stride": 0}):
        with pytest.raises(ArgumentError, match="expected 1 to 8, the size of a patch"):
            list(maps_each(vae, many, **strides))
    # Without maps of pixels there is nothing to leave out.
    assert [maps.patches.m.shape for maps in maps_each(vae, many[:1], stride=9, pixels=False)] == [(1, 1)]


def test_patches_are_given_a_few_at_a_time_and_lazily(many):
    sizes, read = [], []

    def images():
        for k, image in enumerate(many):
            read.append(k)
            yield image

    def count(patches):
        sizes.append(len(patches))
        return patches[:, 0, 0, 0]

    corners = map_patches(count, images(), patch=(8, 8), stride=1, patches_a_call=7)
    first = next(corners)
    np.testing.assert_array_equal(first, many[0][:1, :1, 0])
    # The first image's only patch, and the six that fill the call; the next call is cut while that one runs.
    assert read == [0, 1]
    rest = list(corners)
    np.testing.assert_array_equal(rest[1], many[2][:12, :7, 0])
    assert sum(sizes) == 1 + 14 + 12 * 7 + 17 * 9
    assert set(sizes[:-1]) == {7}
    assert 1 <= sizes[-1] <= 7


def test_one_kind_of_image_is_asked_for(many):
    two = [many[0], many[1].astype(np.float32)]
    # Also where the first image fills a call, so that none of its patches waits for the next.
    for patches_a_call in (100, len(patch_grid(*many[0].shape[:2], patch=(8, 8), stride=4).corners)):
        with pytest.raises(ValueError, match=r"got image 1 of dtype float32"):
            list(
                map_patches(
                    lambda patches: np.zeros(len(patches)), two, patch=(8, 8), stride=4, patches_a_call=patches_a_call
                )
            )
    with pytest.raises(ValueError, match="leaves pixels unseen"):
        list(average_patches(len, many, patch=(8, 8), stride=9, patches_a_call=10))
