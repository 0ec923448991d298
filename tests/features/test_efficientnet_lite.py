"""EfficientNet-Lite0 against the PyTorch package at every level, and its own laws."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxunreg.errors import ArgumentError
from jaxunreg.features.efficientnet_layers import STAGES
from jaxunreg.features.efficientnet_lite import EfficientNetLite0
from jaxunreg.features.levels import join_levels
from jaxunreg.features.weights import efficientnet_lite0_tensors, weights_path
from jaxunreg.features.weights_file import WeightsError


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return EfficientNetLite0.pretrained()


def images(*shape: int) -> jax.Array:
    """Smooth colours with noise, which reach the network's activations as photographs do."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(size=(shape[0], 4, 4, shape[3]))
    smooth = jax.image.resize(jnp.asarray(coarse, jnp.float32), shape, "linear")
    return jnp.clip(smooth + jnp.asarray(rng.normal(0, 0.1, shape), jnp.float32), 0.0, 1.0)


def of_pytorch(batch: jax.Array) -> list[np.ndarray]:
    """What each stage of `efficientnet-lite-pytorch` returns, with the padding of TensorFlow for this size of image."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("efficientnet_lite_pytorch")
    size = tuple(batch.shape[1:3])
    model = package.EfficientNet.from_name("efficientnet-lite0", image_size=size)
    model.load_state_dict(torch.load(weights_path(), weights_only=True))
    model.eval()
    ends = np.cumsum([stage.repeats for stage in STAGES])
    outputs = []
    with torch.no_grad():
        pixels = np.asarray(batch, np.float64) * 255.0
        x = torch.tensor(((pixels - 127.0) / 128.0).astype(np.float32)).permute(0, 3, 1, 2)
        x = model._swish(model._bn0(model._conv_stem(x)))
        for number, block in enumerate(model._blocks[: ends[-1]], start=1):
            x = block(x)
            if number in ends:
                outputs.append(x.permute(0, 2, 3, 1).numpy())
    return outputs


@pytest.mark.parametrize("size", [(64, 96), (71, 50)])
def test_every_level_is_that_of_the_pytorch_package(network, size):
    batch = images(2, *size, 3)
    wanted = of_pytorch(batch)
    own = jax.jit(network.levels)(batch)
    assert [level.shape[3] for level in own] == [16, 24, 40, 80, 112]
    for level, other in zip(own, wanted, strict=True):
        assert np.abs(other).max() > 1.0  # The levels are far from zero, so that 1e-4 means something.
        np.testing.assert_allclose(level, other, rtol=0, atol=1e-4)


def test_the_weights_were_trained_on_pixels_minus_127_over_128():
    """The stem's batch norm remembers the mean colour of ImageNet, which tells how its images were normalised."""
    tensors = efficientnet_lite0_tensors()
    sums = tensors["_conv_stem.weight"].sum(axis=(2, 3))
    colour, *_ = np.linalg.lstsq(sums, tensors["_bn0.running_mean"], rcond=None)
    imagenet = (np.array([0.485, 0.456, 0.406]) * 255 - 127) / 128
    np.testing.assert_allclose(colour, imagenet, atol=0.08)
    assert np.all(colour < -0.04)  # Normalised by ImageNet's own mean, it would be zero.


def test_the_map_joins_stride_8_and_stride_16(network):
    batch = images(2, 64, 72, 3)
    levels = network.levels(batch)
    maps = network(batch)
    assert maps.shape == (2, 8, 9, network.channels)
    chex.assert_trees_all_close(maps, join_levels([levels[2], levels[4]]), rtol=1e-4, atol=1e-4)


def test_gray_images_are_repeated_to_three_channels(network):
    gray = images(1, 40, 32, 1)
    chex.assert_trees_all_equal(network(gray), network(jnp.tile(gray, (1, 1, 1, 3))))


def test_groups_of_images_are_the_same_as_all_at_once(network):
    # Two images of 256x256 fill a group, so a batch of four is two groups.
    batch = images(4, 256, 256, 3)
    whole = jax.jit(network)(batch)
    alone = jnp.concatenate([jax.jit(network)(batch[k : k + 1]) for k in range(4)])
    chex.assert_trees_all_close(whole, alone, rtol=1e-4, atol=1e-4)


def test_bfloat16_images_have_bfloat16_features_near_those_of_float32(network):
    batch = images(1, 64, 64, 3)
    narrow, wide = network(batch.astype(jnp.bfloat16)), network(batch)
    assert narrow.dtype == jnp.bfloat16
    error = jnp.linalg.norm(narrow.astype(jnp.float32) - wide) / jnp.linalg.norm(wide)
    assert float(error) < 0.05


def test_products_of_bfloat16_are_added_up_in_float32(network):
    narrow = EfficientNetLite0.pretrained(precision="bfloat16")
    batch = images(1, 64, 64, 3)
    wanted = network(batch)
    maps = narrow(batch)
    assert maps.dtype == jnp.float32
    error = float(jnp.linalg.norm(maps - wanted) / jnp.linalg.norm(wanted))
    assert 1e-3 < error < 0.02
    text = jax.jit(lambda own, batch: own(batch)).lower(narrow, batch).as_text()
    # A stem, eleven projections, and ten expansions, for each of two platforms or for the one in use.
    products = re.findall(r"(?:dot_general|convolution).*-> tensor<[0-9x]*(\w+)>", text)
    assert set(products) == {"f32"}
    assert len(re.findall(r"(?:dot_general|convolution).*: \(tensor<[0-9x]*bf16>", text)) >= 22
    assert (narrow.arithmetic, network.arithmetic) == ("bfloat16", "float32")


def test_its_native_form_is_in_float32_and_has_grouped_convolutions_on_every_platform(network):
    native = EfficientNetLite0.pretrained(precision="bfloat16").native()
    batch = images(1, 64, 64, 3)
    chex.assert_trees_all_close(native(batch), network(batch), rtol=1e-3, atol=1e-3)
    text = jax.jit(lambda own, batch: own(batch)).lower(native, batch).as_text()
    assert text.count("feature_group_count") - text.count("feature_group_count = 1 ") == 11
    assert "bf16" not in text


def test_an_unknown_precision_is_refused(no_type_checks):
    with pytest.raises(ArgumentError, match=r"precision='float16'; expected one of \['float32', 'bfloat16'\]"):
        EfficientNetLite0.pretrained(precision="float16")


def test_another_platform_gets_grouped_convolutions(network):
    export = jax.export.export(jax.jit(lambda own, batch: own(batch)), platforms=["cuda"])
    module = export(network, images(1, 64, 64, 3)).mlir_module()
    assert module.count("feature_group_count") - module.count("feature_group_count = 1 ") == 11


def test_images_that_do_not_fit_are_refused(network, no_type_checks):
    with pytest.raises(ArgumentError, match=r"images of 2 channels; expected 1 \(gray\) or 3"):
        network(images(1, 64, 64, 2))
    with pytest.raises(ArgumentError, match="images of 31x64; expected at least 32x32; enlarge or pad"):
        network(images(1, 31, 64, 3))


def test_weights_of_another_network_are_refused():
    tensors = dict(efficientnet_lite0_tensors())
    with pytest.raises(WeightsError, match=r"weights without _conv_stem.weight; expected an array of that name"):
        EfficientNetLite0.from_tensors({}, "0" * 64)
    wrong = {**tensors, "_blocks.3._depthwise_conv.weight": np.ones((144, 1, 3, 3), np.float32)}
    with pytest.raises(
        WeightsError, match=r"of shape \[144, 1, 3, 3\]; expected \[144, 1, 5, 5\]; the file is of anot"
    ):
        EfficientNetLite0.from_tensors(wrong, "0" * 64)
    damaged = {**tensors, "_bn0.weight": np.full(32, np.nan, np.float32)}
    with pytest.raises(WeightsError, match="_bn0.weight with NaN or infinity; expected finite weights"):
        EfficientNetLite0.from_tensors(damaged, "0" * 64)
    damaged = {**tensors, "_bn0.running_var": np.full(32, -1, np.float32)}
    with pytest.raises(WeightsError, match="_bn0.running_var below zero"):
        EfficientNetLite0.from_tensors(damaged, "0" * 64)
