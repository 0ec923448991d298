"""The strided convolution and its transpose: against scipy, their definition, JAX's own, and each other."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import PartitionSpec as P
from scipy.signal import correlate2d

from jaxunreg.nn.convolution import conv, conv_transpose, prepare
from jaxunreg.nn.planes import to_planes

pytestmark = pytest.mark.slow

FUNCTIONS = {"conv": conv, "conv_transpose": conv_transpose}
FORMS = {**FUNCTIONS, "planes": partial(conv_transpose, planes=True)}
LOWERINGS = ("auto", "native", "matmul")

# Height, width, channels in and out of every layer of the 32x32 and of the 96x96 network, and two that are not square.
LAYERS = [
    *[("conv", 32, 32, 3, 32), ("conv", 16, 16, 32, 64), ("conv", 8, 8, 64, 128), ("conv", 4, 4, 128, 256)],
    *[("conv", 96, 96, 1, 32), ("conv", 48, 48, 32, 64), ("conv", 24, 24, 64, 128), ("conv", 12, 12, 128, 256)],
    *[("conv", 6, 6, 256, 512), ("conv", 10, 4, 5, 7)],
    *[("conv_transpose", 2, 2, 256, 128), ("conv_transpose", 4, 4, 128, 64), ("conv_transpose", 8, 8, 64, 32)],
    *[("conv_transpose", 16, 16, 32, 6), ("conv_transpose", 3, 3, 512, 256), ("conv_transpose", 6, 6, 256, 128)],
    *[("conv_transpose", 12, 12, 128, 64), ("conv_transpose", 24, 24, 64, 32), ("conv_transpose", 48, 48, 32, 2)],
    ("conv_transpose", 5, 2, 5, 7),
    *[("planes", 16, 16, 32, 6), ("planes", 48, 48, 32, 2), ("planes", 8, 8, 64, 32), ("planes", 5, 2, 5, 7)],
]


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def small(name: str, n: int = 3) -> tuple[jax.Array, jax.Array]:
    """A small batch that is not square and has an odd size, and its kernel."""
    return normal(0, n, 6, 10, 5), normal(1, 4, 4, 5, 7)


def assert_close(got, want, roundings: float = 8.0, dtype=jnp.float32) -> None:
    """The norm of the difference is at most a few units of rounding of the norm."""
    got, want = (np.asarray(a, np.float64) for a in (got, want))
    assert got.shape == want.shape
    assert np.linalg.norm(got - want) <= roundings * float(jnp.finfo(dtype).eps) * np.linalg.norm(want)


def compiled(function, *args) -> str:
    return jax.jit(function).lower(*args).compile().as_text()


def count(operation: str, hlo: str) -> int:
    return len(re.findall(rf" {operation}\(", hlo))


# ------------------------------------------------------------------------------------------------ what they compute


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_conv_is_the_correlation_of_scipy(lowering):
    x, k = small("conv")
    want = np.zeros((3, 3, 5, 7))
    for image in range(3):
        for c in range(5):
            for o in range(7):
                padded = np.pad(np.asarray(x[image, :, :, c], np.float64), 1)
                taps = np.asarray(k[:, :, c, o], np.float64)
                want[image, :, :, o] += correlate2d(padded, taps, mode="valid")[::2, ::2]
    assert_close(conv(x, k, lowering=lowering), want)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_conv_transpose_scatters_each_pixel_through_the_kernel(lowering):
    x, k = small("conv_transpose")
    pixels, taps = np.asarray(x, np.float64), np.asarray(k, np.float64)
    bordered = np.zeros((3, 14, 22, 7))
    for i in range(6):
        for j in range(10):
            bordered[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("nc,uvco->nuvo", pixels[:, i, j], taps)
    assert_close(conv_transpose(x, k, lowering=lowering), bordered[:, 1:-1, 1:-1])


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize(("channels", "features"), [(5, 7), (32, 2), (16, 16)])
def test_planes_are_the_channels_by_parity_of_row_and_column(lowering, channels, features):
    x, k = normal(0, 3, 4, 6, channels), normal(1, 4, 4, channels, features)
    images = np.asarray(conv_transpose(x, k, lowering=lowering))
    planes = conv_transpose(x, k, lowering=lowering, planes=True)
    assert planes.shape == (features, 4, 3, 24)
    for part in range(4):
        row, column = divmod(part, 2)
        want = np.moveaxis(images[:, row::2, column::2], 3, 0).reshape(features, 3, 24)
        np.testing.assert_allclose(planes[:, part], want, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(to_planes(jnp.asarray(images))[:, 3], want)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_both_equal_the_operations_of_jax(lowering):
    x, k = small("conv")
    numbers = ("NHWC", "HWIO", "NHWC")
    want = jax.lax.conv_general_dilated(x, k, (2, 2), ((1, 1), (1, 1)), dimension_numbers=numbers)
    assert_close(conv(x, k, lowering=lowering), want)
    want = jax.lax.conv_transpose(x, k[::-1, ::-1], (2, 2), "SAME", dimension_numbers=numbers)
    assert_close(conv_transpose(x, k, lowering=lowering), want)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_conv_transpose_is_the_adjoint_of_conv(lowering):
    a, k = normal(0, 3, 6, 10, 5), normal(1, 4, 4, 5, 7)
    b = normal(2, 3, 3, 5, 7)
    exchanged = k.transpose(0, 1, 3, 2)
    y = conv(a, k, lowering=lowering)
    left = jnp.vdot(y, b)
    right = jnp.vdot(a, conv_transpose(b, exchanged, lowering=lowering))
    # An inner product cancels, so its rounding is counted against the norms of its factors.
    assert abs(left - right) <= 8 * jnp.finfo(jnp.float32).eps * jnp.linalg.norm(y) * jnp.linalg.norm(b)
    _, pull = jax.vjp(lambda a: conv(a, k, lowering=lowering), a)
    assert_close(pull(b)[0], conv_transpose(b, exchanged, lowering=lowering))


# ------------------------------------------------------------------------------------- two lowerings, one function


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "-".join(map(str, layer)))
def test_value_and_gradients_of_the_lowerings_agree(layer):
    name, height, width, c_in, c_out = layer
    result = {
        "conv": (3, height // 2, width // 2, c_out),
        "conv_transpose": (3, 2 * height, 2 * width, c_out),
        "planes": (c_out, 4, 3, height * width),
    }
    shapes = (3, height, width, c_in), (4, 4, c_in, c_out), result[name]
    # Numbers that bfloat16 can hold, so that both dtypes have one reference.
    narrow = [normal(seed, *shape).astype(jnp.bfloat16) for seed, shape in enumerate(shapes)]
    wide = [a.astype(jnp.float32) for a in narrow]

    @partial(jax.jit, static_argnums=3)
    def value_and_gradients(x, k, cotangent, lowering):
        y, pull = jax.vjp(partial(FORMS[name], lowering=lowering), x, k)
        return y, *pull(cotangent)

    want = value_and_gradients(*wide, "native")
    # The last is a kernel narrower than what it is applied to, as a network of bfloat16 precision has it.
    for arguments, roundings in ((wide, 16.0), (narrow, 1.0), ((wide[0], narrow[1], wide[2]), 1.0)):
        got = value_and_gradients(*arguments, "matmul")
        x, k, _ = arguments
        for g, w, dtype in zip(got, want, (x.dtype, x.dtype, k.dtype), strict=True):
            assert g.dtype == dtype
            assert_close(g, w, roundings=roundings, dtype=k.dtype)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_bfloat16_is_accumulated_in_float32(name, lowering):
    # A bfloat16 sum of ones stops at 256.
    ones = jnp.ones((1, 6, 6, 256), jnp.bfloat16)
    kernel = jnp.ones((4, 4, 256, 2), jnp.bfloat16)
    y = FUNCTIONS[name](ones, kernel, lowering=lowering)
    assert y.dtype == jnp.bfloat16
    # Taps that fall on the image: all 16 at an inner pixel of `conv` and 4 of its transpose, fewer at the corner.
    inner, corner = (16, 9) if name == "conv" else (4, 1)
    middle = {"conv": 1, "conv_transpose": 4}[name]
    assert float(y[0, middle, middle, 0]) == inner * 256
    assert float(y[0, 0, 0, 0]) == corner * 256


@pytest.mark.parametrize(("name", "features"), [("conv", 16), ("conv_transpose", 16), ("planes", 2), ("planes", 16)])
def test_a_narrower_kernel_narrows_the_products(name, features):
    x, k = normal(0, 2, 8, 12, 32), normal(1, 4, 4, 32, features).astype(jnp.bfloat16)
    hlo = jax.jit(partial(FORMS[name], lowering="matmul")).lower(x, k).as_text()
    products = re.findall(r"dot_general .* : \(tensor<[\dx]*(\w+)>, tensor<[\dx]*(\w+)>\) -> tensor<[\dx]*(\w+)>", hlo)
    assert set(products) == {("bf16", "bf16", "f32")}


@pytest.mark.parametrize(("name", "features"), [("conv", 16), ("conv_transpose", 16), ("planes", 2), ("planes", 16)])
def test_a_dtype_narrows_the_products_of_a_wider_kernel(name, features):
    x, k = normal(0, 2, 8, 12, 32), normal(1, 4, 4, 32, features)
    for lowering, operation in (("matmul", "dot_general"), ("native", "convolution")):
        function = partial(FORMS[name], lowering=lowering, dtype=jnp.bfloat16)
        hlo = jax.jit(function).lower(x, k).as_text()
        operands = re.findall(rf"{operation}.* : \(tensor<[\dx]*(\w+)>, tensor<[\dx]*(\w+)>\) ->", hlo)
        assert set(operands) == {("bf16", "bf16")}
        assert function(x, k).dtype == jnp.float32


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wider_kernel_is_rounded_once(name):
    x, k = normal(0, 8, 12, 12, 16), normal(1, 4, 4, 16, 16)
    outputs = (6, 6) if name == "conv" else (12, 12)
    prepared = jax.tree.map(lambda part: part.astype(jnp.bfloat16), prepare(k, outputs, transpose=name != "conv"))
    function = jax.jit(partial(FUNCTIONS[name], lowering="matmul", dtype=jnp.bfloat16))
    np.testing.assert_array_equal(function(x, k), function(x, prepared))
    assert not np.array_equal(function(x, k), function(x, k.astype(jnp.bfloat16)))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_an_empty_batch_stays_empty(name, lowering):
    x, k = small(name, n=0)
    assert FUNCTIONS[name](x, k, lowering=lowering).shape[0] == 0


# ----------------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_forward_mode_is_linear_in_each_argument(name, lowering):
    function = jax.jit(partial(FORMS[name], lowering=lowering))
    (x, k), (x_dot, k_dot) = small(name), (normal(2, 3, 6, 10, 5), normal(3, 4, 4, 5, 7))
    y, y_dot = jax.jvp(function, (x, k), (x_dot, k_dot))
    assert_close(y, function(x, k))
    assert_close(y_dot, function(x_dot, k) + function(x, k_dot))


@pytest.mark.parametrize("name", FORMS)
def test_second_derivatives_agree_with_the_native_ones(name):
    x, k = normal(0, 1, 4, 2, 2), normal(1, 4, 4, 2, 2)

    def loss(lowering, x, k):
        return jnp.sum(jnp.tanh(0.1 * FORMS[name](x, k, lowering=lowering)))

    got = jax.jit(jax.hessian(partial(loss, "auto"), argnums=(0, 1)))(x, k)
    want = jax.jit(jax.hessian(partial(loss, "native"), argnums=(0, 1)))(x, k)
    jax.tree.map(lambda g, w: assert_close(g, w, roundings=32), got, want)

    def slope(lowering, k):
        return jnp.sum(jnp.square(jax.grad(partial(loss, lowering))(x, k)))

    reverse = jax.jit(jax.grad(partial(slope, "auto")))(k)
    assert_close(reverse, jax.jit(jax.grad(partial(slope, "native")))(k), roundings=32)


# ------------------------------------------------------------------------------------------------- transformations


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("lowering", ["auto", "native"])
def test_vmap_over_images_is_the_batch(name, lowering):
    function = partial(FUNCTIONS[name], lowering=lowering)
    x, k = small(name)

    def one(image):
        return function(image[None], k)[0]

    assert_close(jax.vmap(one)(x), function(x, k))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_over_images_is_one_matrix_product(name):
    # A product of one fusion per matrix shows as one `dot`, here of all 3 x h x w rows at once.
    def one(image, k):
        return FUNCTIONS[name](image[None], k)[0]

    x, k = small(name)
    hlo = compiled(jax.vmap(one, (0, None)), x, k)
    rows = 3 * (15 if name == "conv" else 66)  # 3x5 outputs; 6 x 11 pairs of columns
    assert count("dot", hlo) == 1
    assert re.search(rf"f32\[{rows},\d+\]\S* dot\(", hlo)
    assert count("while", hlo) == count("convolution", hlo) == 0


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("lowering", ["auto", "native"])
def test_vmap_over_weights_is_the_loop_over_members(name, lowering):
    function = partial(FUNCTIONS[name], lowering=lowering)
    x = jnp.stack([small(name)[0], normal(5, 3, 6, 10, 5)])
    k = jnp.stack([small(name)[1], normal(6, 4, 4, 5, 7)])

    def value_and_gradients(x, k):
        y, pull = jax.vjp(function, x, k)
        return y, *pull(jnp.sin(y))

    got = jax.jit(jax.vmap(value_and_gradients))(x, k)
    for member in range(2):
        want = jax.jit(value_and_gradients)(x[member], k[member])
        jax.tree.map(lambda g, w, member=member: assert_close(g[member], w, roundings=32), got, want)
    shared = jax.vmap(function, (None, 0))(x[0], k)
    assert_close(shared[1], function(x[0], k[1]))
    if lowering != "native":
        hlo = compiled(jax.vmap(value_and_gradients), x, k)
        assert count("dot", hlo) == 3
        assert count("while", hlo) == count("convolution", hlo) == 0


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("lowering", ["auto", "native"])
def test_scan_map_and_checkpoint_change_nothing(name, lowering):
    function = partial(FUNCTIONS[name], lowering=lowering)
    x, k = small(name, n=4)
    want = function(x, k)
    mapped = jax.lax.map(lambda image: function(image[None], k)[0], x, batch_size=2)
    assert_close(mapped, want)
    _, scanned = jax.lax.scan(lambda carry, pair: (carry, function(pair, k)), None, x.reshape(2, 2, 6, 10, 5))
    assert_close(scanned.reshape(want.shape), want)

    def loss(function, x, k):
        return jnp.sum(jnp.square(function(x, k)))

    got = jax.grad(partial(loss, jax.checkpoint(function)), (0, 1))(x, k)
    jax.tree.map(assert_close, got, jax.grad(partial(loss, function), (0, 1))(x, k))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("lowering", ["auto", "native"])
def test_shard_map_over_devices_is_one_device(name, lowering):
    function = partial(FUNCTIONS[name], lowering=lowering)
    x, k = small(name, n=8)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    assert mesh.size == 8

    def gradient(x, k):
        return jax.grad(lambda k: jnp.sum(jnp.square(function(x, k))))(k)

    def step(x, k):
        # The kernel is the same on every device, so its gradient is summed over them.
        return function(x, k), gradient(x, k)

    sharded = jax.shard_map(step, mesh=mesh, in_specs=(P("data"), P()), out_specs=(P("data"), P()))
    y, k_bar = jax.jit(sharded)(x, k)
    assert_close(y, function(x, k))
    assert_close(k_bar, gradient(x, k))


# ------------------------------------------------------------------------------------------ which lowering runs where


def value_and_gradient(name, lowering, x, k):
    return jax.value_and_grad(lambda k: jnp.sum(jnp.square(FUNCTIONS[name](x, k, lowering=lowering))))(k)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_auto_takes_matrix_products_on_a_cpu(name):
    x, k = small(name)
    for lowering in ("auto", "matmul"):
        hlo = compiled(partial(value_and_gradient, name, lowering), x, k)
        assert count("convolution", hlo) == 0
        assert count("dot", hlo) == 2
    assert count("convolution", compiled(partial(value_and_gradient, name, "native"), x, k)) > 0


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_auto_takes_the_native_convolution_elsewhere(name, platform):
    traced = jax.jit(partial(value_and_gradient, name, "auto")).trace(*small(name))
    accelerator = traced.lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.convolution" in accelerator
    assert "stablehlo.dot_general" not in accelerator
    assert "stablehlo.convolution" not in traced.lower(lowering_platforms=("cpu",)).as_text()


@pytest.mark.parametrize("name", FORMS)
def test_an_exported_program_carries_both(name):
    x, k = small(name)
    exported = export.export(jax.jit(FORMS[name]), platforms=("cpu", "cuda"))(x, k)
    text = exported.mlir_module()
    assert "stablehlo.convolution" in text
    assert "stablehlo.dot_general" in text
    assert_close(exported.call(x, k), FORMS[name](x, k, lowering="native"))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("side", [2, 8])
def test_an_exported_program_takes_batches_of_any_size(name, side):
    # At side 2 the number of tiles of a batch would decide about Winograd's filtering, and of an unknown batch cannot.
    k = normal(1, 4, 4, 16, 16)
    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, side, side, 16), jnp.float32)
    exported = export.export(jax.jit(lambda x: FORMS[name](x, k)), platforms=("cpu",))(shape)
    for n in (1, 128):
        x = normal(0, n, side, side, 16)
        assert_close(exported.call(x), FORMS[name](x, k, lowering="native"))


# ---------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("x", "k", "options", "error", "message"),
    [
        ((6, 10, 5), (4, 4, 5, 7), {}, ValueError, r"got x of shape \(6, 10, 5\)"),
        ((1, 6, 10, 5), (4, 4, 7, 5), {}, ValueError, r"\(4, 4, 7, 5\).*expected a kernel \[4, 4, 5, c_out\]"),
        ((1, 6, 10, 5), (3, 3, 5, 7), {}, ValueError, r"\(3, 3, 5, 7\)"),
        ((1, 6, 10, 5), (4, 4, 5), {}, ValueError, r"\(4, 4, 5\)"),
        ((1, 6, 10, 5), (4, 4, 5, 7), {"lowering": "im2col"}, ValueError, "'im2col'.*'auto', 'native', 'matmul'"),
    ],
)
def test_what_does_not_fit_is_refused(name, x, k, options, error, message):
    with pytest.raises(error, match=message) as raised:
        FUNCTIONS[name](jnp.zeros(x), jnp.zeros(k), **options)
    assert f" for {name}; expected" in str(raised.value)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("x", "k"),
    [(jnp.bfloat16, jnp.float32), (jnp.bfloat16, jnp.float16), (jnp.int32, jnp.int32), (jnp.float32, jnp.int32)],
)
def test_a_wider_kernel_and_what_is_not_floating_are_refused(name, x, k):
    with pytest.raises(TypeError, match=f"got x of {jnp.dtype(x)} and a kernel of {jnp.dtype(k)} for {name};"):
        FUNCTIONS[name](jnp.zeros((1, 4, 4, 2), x), jnp.zeros((4, 4, 2, 2), k))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("k", "dtype"), [(jnp.bfloat16, jnp.float32), (jnp.bfloat16, jnp.float16), (jnp.float32, jnp.int16)]
)
def test_a_dtype_wider_than_the_kernel_and_one_that_is_not_floating_are_refused(name, k, dtype):
    message = f"got dtype='{jnp.dtype(dtype)}' and a kernel of {jnp.dtype(k)} for {name}; expected .*; cast the kernel"
    with pytest.raises(TypeError, match=message):
        FUNCTIONS[name](jnp.zeros((1, 4, 4, 2)), jnp.zeros((4, 4, 2, 2), k), dtype=dtype)


@pytest.mark.parametrize("shape", [(1, 5, 4, 2), (1, 4, 5, 2)])
def test_an_odd_side_cannot_be_halved(shape):
    with pytest.raises(ValueError, match="even height and width"):
        conv(jnp.zeros(shape), jnp.zeros((4, 4, 2, 2)))
