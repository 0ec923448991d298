"""The scorer as a portable artifact: StableHLO for any program that has JAX, ONNX for any that has an ONNX runtime.

Both have the model's variables in them, take a batch of any size, and need nothing of this package.
"""

import contextlib
import hashlib
import importlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxunreg.checkpoint import build_model, describe_model
from jaxunreg.files import replacing
from jaxunreg.images import to_float
from jaxunreg.scoring import Model, Scorer, fold
from jaxunreg.typing import Variables

Pixels = Literal["float32", "uint8"]
Platform = Literal["cpu", "cuda", "rocm", "tpu"]

FORMAT = 1
OUTPUTS = ("d", "a", "m")


def export_scorer(
    scorer: Scorer,
    path: str | os.PathLike[str] | None = None,
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    dtype: str = "float32",
    vjp_order: int = 0,
) -> export.Exported:
    """The scorer as StableHLO with its variables in it, for batches of any size, by `jax.export`.

    Where JAX is installed, and jaxunreg need not be, the file is one call away from scores:

        exported = jax.export.deserialize(bytearray(open("scorer.jaxexport", "rb").read()))
        d, a, m = exported.call(images)

    One program serves all its platforms: matrix products where it runs on a CPU, the native convolution elsewhere.
    By the documentation of `jax.export`, versions of JAX up to six months newer than the one that wrote a file read it.

    Beside the file, `<path>.json` says what is in it: the model's kind and config, input and outputs, versions, and the
    SHA-256 of the file. Each is whole or not there.

    Args:
      scorer: from `make_scorer`.
      path: where to write it; a file that is there is replaced. Without it, nothing is written.
      platforms: some of `cpu`, `cuda`, `rocm` and `tpu`.
      dtype: of the images `[batch, height, width, channels]` that the program takes, at least one: `float32` in [0, 1]
        or `uint8`. Their values are not checked.
      vjp_order: how often the file can be differentiated; 1 keeps the gradient with respect to the images, a saliency
        map, at about twice the size.

    Returns:
      What was written; its `call` takes images and returns D, A and M, float32 `[batch]`, in nats.

    Raises:
      ValueError: no platform or an unknown one, an unknown dtype, or a negative `vjp_order`.
      OSError: the file cannot be written.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> d, a, m = ju.export_scorer(scorer, platforms=["cpu"]).call(jnp.zeros((5, 8, 8, 1)))
    >>> m.shape
    (5,)
    """
    unknown = [name for name in platforms if name not in get_args(Platform)]
    if unknown or not platforms:
        raise ValueError(f"got platforms={platforms!r}; expected at least one of {list(get_args(Platform))}")
    if vjp_order < 0:
        raise ValueError(f"got vjp_order={vjp_order}; expected at least 0")
    images = _images(scorer, dtype)
    program = _program(scorer.model, _folded(scorer))
    with _without_folders():
        exported = export.export(jax.jit(program), platforms=tuple(platforms))(images)
        if path is not None:
            serialized = exported.serialize(vjp_order=vjp_order)
    if path is not None:
        path = Path(path)
        about = {
            **_describe(scorer.model, images),
            "platforms": list(platforms),
            "vjp_order": vjp_order,
            "sha256": hashlib.sha256(serialized).hexdigest(),
        }
        with replacing(path.with_name(path.name + ".json")) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        with replacing(path) as temporary:
            temporary.write_bytes(serialized)
    return exported


def export_onnx(
    scorer: Scorer, path: str | os.PathLike[str], *, dtype: str = "float32", opset: int = 17
) -> dict[str, float]:
    """Write the scorer as an ONNX model with its variables in it, for batches of any size.

    The graph has `Conv` and `ConvTranspose` nodes with the batch normalisation folded into them, in float32 whatever
    the model's precision. Its input is `images`, its outputs are `d`, `a` and `m`; its metadata holds the model's kind
    and config. Before the file is there, ONNX Runtime has scored random images with it, and the scores agreed with
    JAX's to rounding.

        session = onnxruntime.InferenceSession("scorer.onnx")
        d, a, m = session.run(["d", "a", "m"], {"images": images})

    Needs the extra `export`: `pip install 'jaxunreg[export]'`.

    Args:
      scorer: from `make_scorer`.
      path: where to write it; a file that is there is replaced.
      dtype: of the images `[batch, height, width, channels]` that the model takes: `float32` in [0, 1] or `uint8`.
      opset: version of ONNX's operators, 13 or later; 17 is read by runtimes since 2022.

    Returns:
      For `d`, `a` and `m` the largest difference between ONNX Runtime and JAX that was seen, in nats.

    Raises:
      ImportError: jax2onnx, onnx or onnxruntime is not installed.
      ValueError: an unknown dtype.
      RuntimeError: the scores differ by more than rounding; nothing is written.
      OSError: the file cannot be written.
    """
    jax2onnx, onnx, onnxruntime = (_import(name) for name in ("jax2onnx", "onnx", "onnxruntime"))
    images = _images(scorer, dtype)
    native = _with(scorer.model, lowering="native", precision="float32")
    program = _program(native, _folded(Scorer(native, scorer.variables)))
    # Importing its plugins computes small arrays with promotions of their own.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), _errors_only("onnx_ir"):
        proto = jax2onnx.to_onnx(
            program, [images], model_name="jaxunreg", opset=opset, input_names=["images"], output_names=list(OUTPUTS)
        )
    onnx.helper.set_model_props(proto, {"jaxunreg": json.dumps(_describe(scorer.model, images))})
    onnx.checker.check_model(proto, full_check=True)
    serialized = proto.SerializeToString()
    differences = _compare(onnxruntime, serialized, program, images)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(serialized)
    return differences


def _program(model: Model, variables: Variables) -> Any:
    """Images to D, A and M, a tuple, which needs no registration to be read without this package."""

    def score(images: Any) -> tuple[jax.Array, ...]:
        return tuple(model.apply(variables, to_float(images), method="terms"))

    return score


def _folded(scorer: Scorer) -> Variables:
    """Variables with batch normalisation folded in, and the kernels as they are.

    Prepared kernels (`jaxunreg.scoring.fold`) would be there beside those for the native convolution: 114 MB and not
    25 for the paper's network for 96x96x1, and no faster, since the compiler does the same once with a constant.
    """
    native = _with(scorer.model, lowering="native")
    variables = jax.jit(lambda variables: fold(native, variables))(scorer.variables)
    # By way of the host, so that what was spread over devices is on one.
    return jax.tree.map(jnp.asarray, jax.device_get(variables))


def _with(model: Model, **changes: Any) -> Model:
    description = describe_model(model)
    return build_model({**description, "config": {**description["config"], **changes}})


def _images(scorer: Scorer, dtype: str) -> jax.ShapeDtypeStruct:
    if dtype not in get_args(Pixels):
        raise ValueError(f"got dtype={dtype!r}; expected one of {list(get_args(Pixels))}")
    (batch,) = export.symbolic_shape("batch")
    return jax.ShapeDtypeStruct((batch, *scorer.model.config.image_shape), dtype)


def _describe(model: Model, images: jax.ShapeDtypeStruct) -> dict[str, Any]:
    from jaxunreg import __version__

    return {
        "format": FORMAT,
        "model": describe_model(model),
        "input": {
            "shape": ["batch", *images.shape[1:]],
            "dtype": str(images.dtype),
            "range": [0, 255] if images.dtype == np.uint8 else [0.0, 1.0],
        },
        "outputs": list(OUTPUTS),
        "versions": {"jaxunreg": __version__, "jax": jax.__version__},
    }


@contextlib.contextmanager
def _without_folders() -> Iterator[None]:
    """Of source files a program then has the names, and not the folders of the machine that it was made on."""
    option = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, option)
    jax.config.update(option, r".*[/\\]")
    try:
        yield
    finally:
        jax.config.update(option, before)


@contextlib.contextmanager
def _errors_only(logger: str) -> Iterator[None]:
    """The converter warns of each shape constant of a graph that is fine."""
    before = logging.getLogger(logger).level
    logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger(logger).setLevel(before)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"got no usable {name} ({error}); expected the packages of the extra 'export'; "
            "install them with: pip install 'jaxunreg[export]'"
        ) from error


def _compare(onnxruntime: Any, serialized: bytes, program: Any, images: jax.ShapeDtypeStruct) -> dict[str, float]:
    """Largest difference of each term over three random images, which is checked to be rounding."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (3, *images.shape[1:]), dtype=np.uint8)
    batch = pixels if images.dtype == np.uint8 else (pixels / 255).astype(np.float32)
    got = session.run(list(OUTPUTS), {"images": batch})
    # A GPU or TPU would otherwise multiply with fewer bits.
    with jax.default_matmul_precision("highest"):
        want = jax.jit(program)(batch)
    differences = {}
    for name, ours, theirs in zip(OUTPUTS, want, got, strict=True):
        differences[name] = float(np.max(np.abs(np.asarray(ours) - theirs)))
        # Of a sum over pixels that can cancel, so its parts count as well.
        if not np.allclose(theirs, ours, rtol=1e-3, atol=1e-5 * batch[0].size):
            raise RuntimeError(
                f"got {name} = {theirs} from ONNX Runtime {onnxruntime.__version__} where JAX has {np.asarray(ours)}; "
                "expected the same to rounding; nothing was written; try another opset, or another version of jax2onnx"
            )
    return differences
