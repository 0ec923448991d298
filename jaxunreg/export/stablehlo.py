"""The scorer as StableHLO, for any program with JAX."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import jax
from jax import export

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.export.program import describe_export, input_images, program_of
from jaxunreg.files import replacing
from jaxunreg.paths import given_path
from jaxunreg.scoring.map_scorer import MapScorer
from jaxunreg.signatures import checked

Platform = Literal["cpu", "cuda", "rocm", "tpu"]


@checked
def export_scorer(
    scorer: MapScorer,
    path: str | os.PathLike[str] | None = None,
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    dtype: str = "float32",
    vjp_order: int = 0,
) -> export.Exported:
    """Export the scorer as StableHLO with its variables, for batches of any size, by `jax.export`.

    With JAX installed, but without jaxunreg, one call of the file gives scores:

        exported = jax.export.deserialize(bytearray(open("scorer.jaxexport", "rb").read()))
        d, a, m = exported.call(images)

    One program serves all its platforms: matrix products where it runs on a CPU, the native convolution elsewhere.
    By the documentation of `jax.export`, versions of JAX up to six months newer than the one that wrote a file read it.

    Beside the file, `<path>.json` describes it: the model's kind and config, input and outputs, versions, and the
    SHA-256 of the file. Each file is whole or does not exist.

    Args:
      scorer: from `make_scorer`, or a `FeatureScorer`, whose images then have its working size.
      path: the file, which is replaced if it exists. Without it, nothing is written.
      platforms: some of `cpu`, `cuda`, `rocm` and `tpu`.
      dtype: dtype of the images `[batch, height, width, channels]` that the program takes, at least one: `float32` in
        [0, 1] or `uint8`. Their values are not checked.
      vjp_order: how often the file can be differentiated; 1 keeps the gradient with respect to the images, a saliency
        map, at about twice the size.

    Returns:
      The exported program. Its `call` takes images and returns D, A and M, float32 `[batch]`, in nats.

    Raises:
      ArgumentError: there is no platform, a platform or the dtype is unknown, or `vjp_order` is negative.
      OSError: the file cannot be written.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> d, a, m = ju.export_scorer(scorer, platforms=["cpu"]).call(jnp.zeros((5, 8, 8, 1)))
    >>> m.shape
    (5,)
    """
    check_platforms(platforms)
    if vjp_order < 0:
        raise ArgumentError(argument("vjp_order", vjp_order), "at least 0")
    program = program_of(scorer)
    images = input_images(program.shape, dtype)
    with without_folders():
        exported = export.export(jax.jit(program.function), platforms=tuple(platforms))(images)
        if path is not None:
            serialized = exported.serialize(vjp_order=vjp_order)
    if path is not None:
        path = given_path("path", path)
        about = {
            **describe_export(program.made_of, images),
            "platforms": list(platforms),
            "vjp_order": vjp_order,
            "sha256": hashlib.sha256(serialized).hexdigest(),
        }
        with replacing(path.with_name(path.name + ".json")) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        with replacing(path) as temporary:
            temporary.write_bytes(serialized)
    return exported


def check_platforms(platforms: Sequence[str]) -> None:
    """Refuse unknown platforms, or none at all.

    Raises:
      ArgumentError: there is no platform, or an unknown one.
    """
    unknown = [name for name in platforms if name not in get_args(Platform)]
    if unknown or len(platforms) == 0:
        raise ArgumentError(argument("platforms", platforms), f"at least one of {list(get_args(Platform))}")


def runs_here(platforms: Sequence[str]) -> bool:
    """Return whether a program for some platforms runs on this machine's.

    >>> runs_here(["cpu", "cuda", "rocm", "tpu"]), runs_here([])
    (True, False)
    """
    here = jax.default_backend()
    return bool({"gpu": {"cuda", "rocm"}}.get(here, {here}) & set(platforms))


@contextlib.contextmanager
def without_folders() -> Iterator[None]:
    """Keep only the names of source files in a program, without the folders of the machine that made it."""
    option = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, option)
    jax.config.update(option, r".*[/\\]")
    try:
        yield
    finally:
        jax.config.update(option, before)
