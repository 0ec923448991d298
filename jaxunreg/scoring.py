"""Scores at detection time: a trained model taken apart into D, A and M, as a pure function and as a callable."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxunreg.decomposition import Decomposition
from jaxunreg.images import check_images, to_float
from jaxunreg.networks import NetworkConfig
from jaxunreg.patches import PatchGrid, average_patches, extract_patches, map_patches, patch_grid
from jaxunreg.typing import AnyImage, AnyImages, Variables

# More leave the processor's cache: 128 images of 32x32.
_PIXELS_A_BATCH = 2**17
# Positions of the deepest feature map, whatever the above says: 32 images of 96x96. Fewer make thin products.
_FEWEST_POSITIONS_A_BATCH = 2**8
_BATCHES_A_CALL = 16
# Fewer batches where they are large, for each call is filled up to as many images: 100 MB of RGB in float32.
_PIXELS_A_CALL = 2**23

Term = Literal["d", "a", "m", "nelbo"]


@runtime_checkable
class Model(Protocol):
    """What a model must offer to be trained and scored: `VAE` and `Autoencoder` do.

    Methods that take a batch of float images, run through `apply(variables, ..., method=...)`:

    - `terms(images) -> Decomposition`, `[batch]`, deterministic: the score;
    - `pixel_terms(images) -> Decomposition`, `[batch, height, width]`: the score by pixel, whose sum it is;
    - `training_terms(images, key, train=True) -> Decomposition`, `[batch]`: the objective is the mean of `d + a + m`;
    - `reconstruct(images) -> images`.
    """

    @property
    def config(self) -> NetworkConfig:
        """Sizes of the network."""
        ...

    @property
    def init(self) -> Callable[..., Any]:
        """Flax's `init`."""
        ...

    @property
    def apply(self) -> Callable[..., Any]:
        """Flax's `apply`."""
        ...


def decompose(model: Model, variables: Variables, image: AnyImage) -> Decomposition:
    """D, A and M of one image at the posterior mean.

    `L(x) = D(x) + A(x) + M(x)` (eq. 5 and 6 of the paper). A pure, deterministic and differentiable function of its
    arguments; `jax.vmap` makes it a function of a batch.

    Args:
      model: a `VAE` or an `Autoencoder`.
      variables: what `model.init` or `fit` made.
      image: `[height, width, channels]` as the model's config says; uint8, or floating point in [0, 1].

    Returns:
      Float32 scalars, in nats, higher is more anomalous. An autoencoder has its mean squared error as M.

    Raises:
      TypeError: neither uint8 nor floating point.
      ValueError: another shape, or, outside of `jit` and `vmap`, values that are not finite or not in [0, 1].

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> terms = ju.decompose(model, variables, jnp.full((8, 8, 1), 0.5))
    >>> bool(terms.m >= 0), bool(terms.nelbo == terms.d + terms.a + terms.m)
    (True, True)
    """
    check_images(image, model.config.image_shape)
    terms = model.apply(variables, to_float(image)[None], method="terms")
    return jax.tree.map(lambda term: term[0], terms)


@partial(jax.tree_util.register_dataclass, data_fields=["variables"], meta_fields=["model"])
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, as a function is, so that `jit` takes it.
class Scorer:
    """A model and its variables as one callable pytree: image in, `Decomposition` out.

    The variables are the leaves, so a scorer is an argument like any array: give it to `jit`, `vmap`, `grad`, or
    stack several and `vmap` over them. See `make_scorer`.

    Attributes:
      model: the network, static.
      variables: its parameters and batch statistics.
    """

    model: Model
    variables: Variables

    def __call__(self, image: AnyImage) -> Decomposition:
        """D, A and M of one image `[height, width, channels]`; see `decompose`."""
        return decompose(self.model, self.variables, image)


def make_scorer(model: Model, variables: Variables) -> Scorer:
    """A callable pytree that scores one image: `scorer(image)` is `decompose(model, variables, image)`.

    Args:
      model: a `VAE` or an `Autoencoder`.
      variables: what `model.init` or `fit` made.

    Returns:
      The scorer; a pure function of one image `[height, width, channels]`.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), images))
    >>> jax.jit(jax.vmap(scorer))(images).m.shape
    (5,)
    >>> jax.grad(lambda image: scorer(image).m)(images[0]).shape
    (8, 8, 1)
    """
    return Scorer(model, variables)


def fold(model: Model, variables: Variables) -> Variables:
    """Variables that score faster: batch normalisation folded into the weights, and the kernels prepared.

    The scores are the same to rounding. `score_images` does this once for all its images; before a loop of your own,
    do it yourself. The result does not train.

    Args:
      model: a `VAE` or an `Autoencoder`.
      variables: what `model.init` or `fit` made.

    Returns:
      The variables with one more collection, `folded`, which `decompose` and `make_scorer` take in place of them.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> image = jnp.full((8, 8, 1), 0.5)
    >>> terms, same = (ju.decompose(model, v, image) for v in (variables, fold(model, variables)))
    >>> bool(jnp.allclose(terms.nelbo, same.nelbo))
    True
    """
    images = jnp.zeros((1, *model.config.image_shape), jnp.float32)
    _, folded = model.apply(variables, images, method="terms", mutable=["folded"])
    return {**variables, **folded}


def score_images(scorer: Scorer, images: AnyImages, *, batch_size: int | None = None) -> Decomposition:
    """D, A and M of any number of images, by one compiled program whatever their number, and one for a few.

    Args:
      scorer: from `make_scorer`.
      images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].
      batch_size: images at a time; by default as many as stay in a processor's cache, and one where there is at most
        an eighth of that, and at most 16: a camera's one image then need not wait for the rest of a batch. The last
        batch is padded, as is the last call of the program in memory, and what was padded is cut off again.

    Returns:
      NumPy float32 arrays `[N]`, in nats, higher is more anomalous.

    Raises:
      TypeError, ValueError: see `decompose`; also an empty array or a batch size below one.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), images))
    >>> ju.score_images(scorer, images, batch_size=2).m.shape
    (5,)
    """
    return _in_batches("terms", scorer, images, batch_size)


def reconstruct_images(scorer: Scorer, images: AnyImages, *, batch_size: int | None = None) -> np.ndarray:
    """Reconstructions (`mu_x` at the posterior mean) of any number of images.

    Args:
      scorer: from `make_scorer`.
      images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].
      batch_size: see `score_images`.

    Returns:
      NumPy float32 `[N, height, width, channels]`; not clipped to [0, 1].

    Raises:
      TypeError, ValueError: see `score_images`.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), images))
    >>> ju.reconstruct_images(scorer, images, batch_size=2).shape
    (5, 8, 8, 1)
    """
    return _in_batches("reconstruct", scorer, images, batch_size)


def score_image(
    scorer: Scorer, image: AnyImage, *, stride: int, patch: int | None = None, batch_size: int | None = None
) -> Decomposition:
    """D, A and M of every patch of an image of any size, in memory that does not grow with the image.

    Patch `[i, j]` starts at row `i * stride` and column `j * stride`; where that leaves a border, the last row or
    column of patches is aligned to it. A pure function: it composes with `jit`, `vmap` and `grad`.

    Args:
      scorer: from `make_scorer`.
      image: `[height, width, channels]`, at least as large as the model's; uint8, or floating point in [0, 1].
      stride: pixels from one patch to the next.
      patch: size of a patch. It is the model's, and may be given to have it checked.
      batch_size: patches at a time; by default as many as stay in a processor's cache.

    Returns:
      Float32 maps `[rows, columns]`, in nats a patch, higher is more anomalous.

    Raises:
      TypeError, ValueError: see `decompose`; an image smaller than a patch, a patch that is not the model's size, or a
        stride or batch size below one.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> maps = ju.score_image(scorer, jax.random.uniform(jax.random.key(1), (20, 30, 1)), stride=8)
    >>> maps.m.shape, float(ju.image_score(maps.m)) == float(maps.m.max())
    ((3, 4), True)
    """
    checked_grid(scorer, image, patch, stride)
    return _score_image(scorer, image, stride, images_a_batch(scorer, batch_size))


def heat_map(
    scorer: Scorer,
    image: AnyImage,
    *,
    stride: int,
    patch: int | None = None,
    batch_size: int | None = None,
    term: Term = "m",
) -> Float[Array, "height width"]:
    """A term for each pixel of an image of any size: the mean over the patches that cover the pixel.

    A pixel's M is the sum of `1/2 (x - mu)^2 / sigma^2` over its channels, its A that of `1/2 log(2 pi sigma^2)` (eq. 6
    before the sum over pixels), and its D the patch's D divided by the patch's pixels. A pure function, in memory that
    grows by three numbers a pixel.

    Args:
      scorer: from `make_scorer`.
      image: `[height, width, channels]`, at least as large as the model's; uint8, or floating point in [0, 1].
      stride: pixels from one patch to the next, at most the size of a patch.
      patch: see `score_image`.
      batch_size: see `score_image`.
      term: which one; `nelbo` is their sum.

    Returns:
      Float32 `[height, width]`, in nats a pixel, higher is more anomalous.

    Raises:
      TypeError, ValueError: see `score_image`; also a stride that skips pixels, or an unknown term.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> ju.heat_map(scorer, jax.random.uniform(jax.random.key(1), (20, 30, 1)), stride=4).shape
    (20, 30)
    """
    checked_term(term, checked_grid(scorer, image, patch, stride), stride)
    return _heat_map(scorer, image, stride, images_a_batch(scorer, batch_size), term)


def score_each(
    scorer: Scorer, images: Iterable[Array | np.ndarray], *, stride: int, batch_size: int | None = None
) -> Iterator[Decomposition]:
    """D, A and M of every patch of each of many images of any sizes, by one compiled program.

    The maps of `score_image`, which compiles for every new size of image and is for use inside other JAX code; this is
    for a folder of images.

    Args:
      scorer: from `make_scorer`.
      images: `[height, width, channels]` each, at least as large as the model's; uint8, or floating point in [0, 1],
        all in one dtype. Read one after another, so a generator will do.
      stride: pixels from one patch to the next.
      batch_size: patches at a time; by default as many as stay in a processor's cache.

    Yields:
      For each image, in order, NumPy float32 maps `[rows, columns]`, in nats a patch, higher is more anomalous.

    Raises:
      TypeError, ValueError: see `score_image`.

    >>> import jax, jax.numpy as jnp, numpy as np, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> images = [np.zeros((20, 30, 1), np.uint8), np.zeros((8, 9, 1), np.uint8)]
    >>> [maps.m.shape for maps in ju.score_each(scorer, images, stride=8)]
    [(3, 4), (1, 2)]
    """
    return _over_patches(map_patches, "terms", scorer, images, stride, batch_size)


def heat_map_each(
    scorer: Scorer, images: Iterable[Array | np.ndarray], *, stride: int, batch_size: int | None = None
) -> Iterator[Decomposition]:
    """Every term for each pixel of each of many images of any sizes, by one compiled program.

    The maps of `heat_map`, which is for use inside other JAX code; see `score_each`.

    Args:
      scorer: from `make_scorer`.
      images: see `score_each`.
      stride: pixels from one patch to the next, at most the size of a patch.
      batch_size: see `score_each`.

    Yields:
      For each image, in order, NumPy float64 maps `[height, width]`, in nats a pixel, higher is more anomalous.

    Raises:
      TypeError, ValueError: see `heat_map`.

    >>> import jax, jax.numpy as jnp, numpy as np, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> [maps.m.shape for maps in ju.heat_map_each(scorer, [np.zeros((20, 30, 1), np.uint8)], stride=4)]
    [(20, 30)]
    """
    return _over_patches(average_patches, "pixel_terms", scorer, images, stride, batch_size)


def _over_patches(
    mapping: Callable[..., Iterator[Any]],
    method: str,
    scorer: Scorer,
    images: Iterable[Array | np.ndarray],
    stride: int,
    batch_size: int | None,
) -> Iterator[Any]:
    height, width, channels = scorer.model.config.image_shape
    batch_size = images_a_batch(scorer, batch_size)
    folded = fold_scorer(scorer)

    def checked() -> Iterator[Array | np.ndarray]:
        for image in images:
            check_images(image, (None, None, channels))
            yield image

    return mapping(
        lambda patches: _one_call(method, folded, patches, batch_size),
        checked(),
        patch=(height, width),
        stride=stride,
        patches_a_call=batch_size * batches_a_call(scorer, batch_size),
    )


def image_score(scores: Float[Array, "rows columns"], *, top_k: int = 1) -> Float[Array, ""]:
    """An image's score from its patches': the largest, or the mean of the `top_k` largest.

    Args:
      scores: of every patch, `[rows, columns]`.
      top_k: how many.

    Returns:
      A scalar.

    Raises:
      ValueError: fewer patches than `top_k`, or `top_k` below one.

    >>> import jax.numpy as jnp
    >>> scores = jnp.array([[1.0, 5.0], [2.0, 3.0]])
    >>> float(image_score(scores)), float(image_score(scores, top_k=2))
    (5.0, 4.0)
    """
    if not 1 <= top_k <= scores.size:
        raise ValueError(f"got top_k={top_k} with {scores.size} patches; expected 1 to {scores.size}")
    return jnp.mean(jax.lax.top_k(jnp.ravel(scores), top_k)[0])


def highest_scores(scores: np.ndarray, count: int) -> Float[np.ndarray, " count"]:
    """The highest of an image's patch scores, descending, and NaN where there are fewer; in their own dtype.

    Raises:
      ValueError: a score is NaN.

    >>> import numpy as np
    >>> highest_scores(np.array([[1.0, 5.0], [2.0, 3.0]]), 3).tolist()
    [5.0, 3.0, 2.0]
    """
    undefined = int(np.isnan(scores).sum())
    if undefined:
        raise ValueError(
            f"got {undefined} of {np.size(scores)} patch scores that are NaN; expected numbers; look for NaN in the "
            "image, or in the model's variables"
        )
    ordered = np.sort(scores, axis=None)[::-1][:count]
    return np.append(ordered, np.full(count - len(ordered), np.nan, ordered.dtype))


def checked_grid(scorer: Scorer, image: AnyImage, patch: int | None, stride: int) -> PatchGrid:
    """The grid that `score_image` and `heat_map` take, which see for what is raised."""
    height, width, channels = scorer.model.config.image_shape
    if patch is not None and (patch, patch) != (height, width):
        raise ValueError(
            f"got patch={patch} with a model of {height}x{width}; expected the model's own size, since its last layer "
            "is fully connected; leave patch out, or train a model of that size"
        )
    check_images(image, (None, None, channels))
    return patch_grid(*image.shape[:2], patch=(height, width), stride=stride)


def checked_term(term: Term, grid: PatchGrid, stride: int) -> None:
    """What is particular to `heat_map`, which see for what is raised."""
    if term not in get_args(Term):
        raise ValueError(f"got term={term!r}; expected one of {list(get_args(Term))}")
    if stride > min(grid.height, grid.width):
        raise ValueError(
            f"got stride={stride}; expected at most {min(grid.height, grid.width)}, the size of a patch, since a "
            "longer one leaves pixels without a value"
        )


def images_a_batch(scorer: Scorer, batch_size: int | None) -> int:
    """The batch size that is given, or else as many images as stay in a processor's cache."""
    if batch_size is None:
        config = scorer.model.config
        pixels, positions = (math.prod(shape[:2]) for shape in (config.image_shape, config.bottom_shape))
        images = max(_PIXELS_A_BATCH / pixels, _FEWEST_POSITIONS_A_BATCH / positions)
        return 2 ** max(0, round(math.log2(images)))
    if batch_size < 1:
        raise ValueError(f"got batch_size={batch_size}; expected at least 1")
    return batch_size


def batches_a_call(scorer: Scorer, batch_size: int, most: int = _BATCHES_A_CALL) -> int:
    """How many batches of whole images or patches one call of the program takes."""
    return max(1, min(most, _PIXELS_A_CALL // (batch_size * math.prod(scorer.model.config.image_shape[:2]))))


def batched_corners(grid: PatchGrid, batch_size: int, devices: int = 1) -> Int[np.ndarray, "batches batch 2"]:
    """The corners in batches of one size, as many for each device; the last are filled up with the last patch."""
    corners = grid.corners
    batch_size = min(batch_size, -(-len(corners) // devices))
    missing = -len(corners) % (batch_size * devices)
    return np.concatenate([corners, np.repeat(corners[-1:], missing, axis=0)]).reshape(-1, batch_size, 2)


def patch_terms(scorer: Scorer, image: AnyImage, corners: Int[Array, "batches batch 2"]) -> Decomposition:
    """D, A and M of the patches at these corners, `[batches, batch]`, a batch at a time."""
    size = scorer.model.config.image_shape[:2]

    # Checkpointed, so that a gradient keeps one batch of activations and not all of them.
    @jax.checkpoint
    def terms(corners: jax.Array) -> Decomposition:
        patches = to_float(extract_patches(image, corners, size))
        return scorer.model.apply(scorer.variables, patches, method="terms")

    return jax.lax.map(terms, corners)


def sum_patches(
    scorer: Scorer,
    image: AnyImage,
    corners: Int[Array, "batches batch 2"],
    weights: Float[Array, "batches batch"],
    term: Term,
) -> Float[Array, "height width"]:
    """A term of the pixels of the patches at these corners, times their weights, added where they overlap."""
    size = scorer.model.config.image_shape[:2]

    @jax.checkpoint
    def add(total: jax.Array, batch: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        corners, weight = batch
        patches = to_float(extract_patches(image, corners, size))
        terms = getattr(scorer.model.apply(scorer.variables, patches, method="pixel_terms"), term)
        rows = corners[:, :1] + jnp.arange(size[0], dtype=corners.dtype).reshape(1, -1)
        columns = corners[:, 1:] + jnp.arange(size[1], dtype=corners.dtype).reshape(1, -1)
        terms = terms * weight.reshape(-1, 1, 1)
        return total.at[rows[:, :, None], columns[:, None, :]].add(terms), None

    return jax.lax.scan(add, jnp.zeros(image.shape[:2], jnp.float32), (corners, weights))[0]


@partial(jax.jit, static_argnums=(2, 3))
def _score_image(scorer: Scorer, image: jax.Array, stride: int, batch_size: int) -> Decomposition:
    grid = patch_grid(*image.shape[:2], patch=scorer.model.config.image_shape[:2], stride=stride)
    maps = patch_terms(fold_scorer(scorer), image, jnp.asarray(batched_corners(grid, batch_size)))
    return jax.tree.map(lambda leaf: leaf.reshape(-1)[: math.prod(grid.shape)].reshape(grid.shape), maps)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _heat_map(scorer: Scorer, image: jax.Array, stride: int, batch_size: int, term: Term) -> jax.Array:
    height, width = image.shape[:2]
    grid = patch_grid(height, width, patch=scorer.model.config.image_shape[:2], stride=stride)
    batches = batched_corners(grid, batch_size)
    # What fills up the last batch counts for nothing.
    weights = (np.arange(batches.shape[0] * batches.shape[1]) < math.prod(grid.shape)).astype(np.float32)
    weights = weights.reshape(batches.shape[:2])
    total = sum_patches(fold_scorer(scorer), image, jnp.asarray(batches), jnp.asarray(weights), term)
    return total / jnp.asarray(grid.coverage(height, width), jnp.float32)


def filled(rows: np.ndarray, length: int, axis: int = 0) -> np.ndarray:
    """As many rows as every call has, so that one program serves all.

    Zeros are a valid image, so what is filled up can neither fail nor make a NaN.

    >>> import numpy as np
    >>> filled(np.ones(2), 3).tolist()
    [1.0, 1.0, 0.0]
    """
    missing = (*rows.shape[:axis], length - rows.shape[axis], *rows.shape[axis + 1 :])
    return np.concatenate([rows, np.zeros(missing, rows.dtype)], axis=axis) if missing[axis] else rows


@jax.jit
def fold_scorer(scorer: Scorer) -> Scorer:
    """A scorer of folded variables; see `fold`."""
    return Scorer(scorer.model, fold(scorer.model, scorer.variables))


@partial(jax.jit, static_argnums=0)
def apply_in_batches(method: str, scorer: Scorer, images: jax.Array, count: jax.Array) -> Any:
    """Results for the first `count` batches of `images`, `[batches, batch, height, width, channels]`, in a row."""

    def apply(batch: jax.Array) -> Any:
        return scorer.model.apply(scorer.variables, to_float(batch), method=method)

    shapes = jax.eval_shape(apply, images[0])
    results = jax.tree.map(lambda leaf: jnp.zeros((len(images), *leaf.shape), leaf.dtype), shapes)

    def body(k: jax.Array, results: Any) -> Any:
        return jax.tree.map(lambda past, new: past.at[k].set(new), results, apply(images[k]))

    results = jax.lax.fori_loop(0, count, body, results)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), results)


def _in_batches(method: str, scorer: Scorer, images: AnyImages, batch_size: int | None) -> Any:
    """Results of a method of the model for any number of images, as a NumPy tree, without the padding."""
    height, width, channels = scorer.model.config.image_shape
    check_images(images, (None, height, width, channels))
    batch = images_a_batch(scorer, batch_size)
    if batch_size is None and len(images) <= min(batch // 8, _BATCHES_A_CALL):
        batch = 1  # With weights as they are: preparing them takes longer than such a call.
    else:
        scorer = fold_scorer(scorer)
    call = batch * batches_a_call(scorer, batch)
    results: list[Any] = []
    waiting = None
    for start in range(0, len(images), call):
        result = _one_call(method, scorer, np.asarray(images[start : start + call]), batch)
        # One call is prepared while the one before it runs, and no more, so that memory does not grow.
        if waiting is not None:
            results.append(jax.tree.map(np.asarray, waiting))
        waiting = result
    results.append(jax.tree.map(np.asarray, waiting))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(images)], *results)


def _one_call(method: str, scorer: Scorer, images: np.ndarray, batch_size: int) -> Any:
    """Results for at most `batches_a_call` batches; after them, those of what fills the call up."""
    count = np.int32(-(-len(images) // batch_size))
    batches = batches_a_call(scorer, batch_size)
    images = filled(images, batch_size * batches)
    batched = jnp.asarray(images.reshape(batches, batch_size, *images.shape[1:]))
    return apply_in_batches(method, scorer, batched, count)
