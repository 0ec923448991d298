"""Functions of JAX as ONNX graphs: ONNX Runtime computes what JAX computes, operation by operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")

from jaxunreg.errors import ArgumentError
from jaxunreg.export.onnx_tracing import to_onnx
from jaxunreg.features import ResNet
from jaxunreg.features.network import native_of

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0.1, 0.9, (2, 9, 12, 3)).astype(np.float32)
KERNEL = RNG.normal(size=(3, 2, 3, 5)).astype(np.float32)
NHWC = ("NHWC", "HWIO", "NHWC")


def run(function, *arrays: np.ndarray, batch: bool = False, opset: int = 17) -> list[np.ndarray]:
    """What ONNX Runtime computes, with the first axis of the first array of any length on request."""
    names = [f"x{k}" for k in range(len(arrays))]
    structs = {name: jax.ShapeDtypeStruct(one.shape, one.dtype) for name, one in zip(names, arrays, strict=True)}
    if batch:
        (symbol,) = jax.export.symbolic_shape("batch")
        structs["x0"] = jax.ShapeDtypeStruct((symbol, *arrays[0].shape[1:]), arrays[0].dtype)
    model = to_onnx(lambda *x: (function(*x),), structs, ["y"], opset=opset)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], dict(zip(names, arrays, strict=True)))[0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.tanh(x) + jnp.abs(-x) - jnp.log1p(x) * jnp.expm1(x) / jax.nn.sigmoid(x),
        lambda x: lax.rsqrt(x) + x**3 + x**-1 + jnp.square(x) + jnp.sqrt(x) ** x,
        lambda x: jnp.where(x > 0.5, x, -x) + jnp.where((x != 0.5) & ~(x <= 0.2), 1.0, 2.0),
        lambda x: jnp.clip(x, 0.3, 0.6) + jax.nn.relu(x - 0.5) + jnp.minimum(x, x[:, :, ::-1]) + lax.clamp(0.2, x, 0.4),
        # The bound of a bounded tensor that others use as well.
        lambda x: (lambda low: low + jnp.minimum(low, 0.7))(jnp.maximum(x, 0.4)),
        lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)))[:, 1:9:2, ::3],
        lambda x: jnp.concatenate([x[:, :4], jnp.flip(x, axis=1)[:, 2:]], axis=1).transpose(0, 3, 1, 2).max((2, 3)),
        lambda x: x.reshape(-1, 3, 3, 36).sum((1, 2)) - x.mean((1, 2))[:, ::-1].max(axis=1, keepdims=True),
        lambda x: sum(part.min(axis=-1) for part in jnp.split(x, [5, 7], axis=2)[:1]),
        lambda x: jnp.broadcast_to(x.sum(axis=3, keepdims=True), x.shape) * jnp.arange(3.0).reshape(1, 1, 1, 3),
        lambda x: lax.conv_general_dilated(x, KERNEL, (2, 1), "SAME", dimension_numbers=NHWC),
        lambda x: lax.conv_general_dilated(
            x, KERNEL, (1, 1), ((1, 0), (2, 1)), rhs_dilation=(2, 3), dimension_numbers=NHWC
        ),
        lambda x: lax.conv_general_dilated(
            x, KERNEL[:, :, :1, :3], (1, 1), "VALID", dimension_numbers=NHWC, feature_group_count=3
        ),
        lambda x: lax.conv_general_dilated(
            x, KERNEL, (1, 1), ((1, 2), (0, 1)), lhs_dilation=(2, 3), dimension_numbers=NHWC
        ),
        lambda x: x @ KERNEL[0, 0] + jnp.einsum("bijc,cd->bijd", x, KERNEL[1, 1]),
        lambda x: lax.reduce_window(x, -np.inf, lax.max, (1, 3, 2, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 1), (0, 0))),
        lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 2, 1), ((0, 0), (1, 1), (0, 2), (0, 0))),
        lambda x: x.astype(jnp.int32).astype(jnp.float32) + jax.jit(lambda y: jax.checkpoint(jnp.exp)(y))(x),
    ],
)  # fmt: skip
def test_an_operation_is_what_it_is_in_jax_for_a_batch_of_any_size(function):
    want = jax.jit(function)(IMAGES)
    np.testing.assert_allclose(run(function, IMAGES), want, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(run(function, IMAGES, batch=True), want, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(run(function, IMAGES[:1], batch=True, opset=20), want[:1], rtol=2e-5, atol=1e-5)


def test_a_border_that_is_repeated():
    def function(x):
        return jnp.pad(x, ((0, 0), (0, 2), (1, 0), (0, 0)), mode="edge")

    np.testing.assert_array_equal(run(function, IMAGES), function(IMAGES))
    with pytest.raises(ArgumentError, match="a slice along the batch"):
        run(function, IMAGES, batch=True)


def test_a_product_with_shared_axes_and_of_two_inputs():
    a, b = (RNG.normal(size=shape).astype(np.float32) for shape in ((4, 5, 6), (6, 7, 5, 4)))
    got = run(lambda a, b: jnp.einsum("ijc,cdji->ijd", a, b), a, b)
    np.testing.assert_allclose(got, np.einsum("ijc,cdji->ijd", a, b), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_is_written_out(reverse):
    def function(x):
        def step(total, row):
            return total * 0.5 + row, total.sum()

        return jnp.concatenate([lax.scan(step, jnp.zeros((12, 3)), x[0], reverse=reverse)[k].ravel() for k in (0, 1)])

    np.testing.assert_allclose(run(function, IMAGES), jax.jit(function)(IMAGES), rtol=1e-5)


def test_a_constant_is_stored_as_narrow_as_it_was():
    weights = jnp.asarray(RNG.normal(size=(64, 64)), jnp.float16)
    struct = {"x": jax.ShapeDtypeStruct((1, 64), jnp.float32)}
    model = to_onnx(lambda x: (x @ weights.astype(jnp.float32),), struct, ["y"])
    assert weights.nbytes < model.ByteSize() < weights.nbytes + 1000


def test_a_residual_network_with_its_pooling():
    rng = np.random.default_rng(1)

    def norm(name: str, channels: int) -> dict[str, np.ndarray]:
        return {
            f"{name}.{part}": rng.uniform(0.5, 1.5, channels)
            for part in ("weight", "bias", "running_mean", "running_var")
        }

    tensors = {"conv1.weight": rng.normal(size=(4, 3, 7, 7)), **norm("bn1", 4)}
    for number, (before, width) in enumerate([(4, 4), (4, 6), (6, 8)], start=1):
        name = f"layer{number}.0"
        for position, channels in ((1, before), (2, width)):
            tensors[f"{name}.conv{position}.weight"] = rng.normal(size=(width, channels, 3, 3)) / 10
            tensors |= norm(f"{name}.bn{position}", width)
        if width != before:
            tensors[f"{name}.downsample.0.weight"] = rng.normal(size=(width, before, 1, 1))
            tensors |= norm(f"{name}.downsample.1", width)
    network = native_of(ResNet.from_tensors(tensors, name="small", sha256="0" * 64))
    images = rng.random((2, 48, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(run(network, images, batch=True), network(jnp.asarray(images)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: jnp.sort(x, axis=1), "the operation sort of JAX; expected .*; write it as StableHLO"),
        (lambda x: lax.while_loop(lambda y: y.sum() < 1e3, lambda y: 2 * y, x), "the operation while of JAX"),
        (lambda x: lax.fori_loop(0, 600, lambda _, y: 0.5 * y, x), "a loop of 600 steps, more than 512"),
        (lambda x: lax.pad(x, np.float32(0), ((0, 0, 0), (0, 0, 1), (0, 0, 0), (0, 0, 0))), "padding between elements"),
    ],
)
def test_what_has_no_nodes_is_refused_by_its_name(function, message):
    with pytest.raises(ArgumentError, match=message):
        run(function, IMAGES)
