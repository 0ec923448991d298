"""Residual networks with random weights against one written with PyTorch's functions, and files that do not fit."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxunreg.features.levels import join_levels
from jaxunreg.features.resnet import ResNet
from jaxunreg.features.weights_file import WeightsError

# Blocks a layer, channels a layer, and width of a bottleneck's 3x3 convolution relative to its planes.
RESNET18 = {"blocks": (2, 2, 2), "bottleneck": False}
WIDE_RESNET50 = {"blocks": (3, 4, 6), "bottleneck": True}


def random_tensors(blocks: tuple[int, ...], bottleneck: bool, planes: int) -> dict[str, np.ndarray]:
    """Weights in torchvision's layout. The real networks have `planes=64`."""
    rng = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}

    def convolution(name: str, norm: str, c_out: int, c_in: int, k: int) -> None:
        tensors[f"{name}.weight"] = rng.normal(0, (2 / (c_in * k * k)) ** 0.5, (c_out, c_in, k, k))
        tensors[f"{norm}.weight"] = rng.uniform(0.5, 1.0, c_out)
        tensors[f"{norm}.bias"] = rng.normal(0, 0.2, c_out)
        tensors[f"{norm}.running_mean"] = rng.normal(0, 0.2, c_out)
        tensors[f"{norm}.running_var"] = rng.uniform(0.5, 2.0, c_out)
        tensors[f"{norm}.num_batches_tracked"] = np.array(1)

    convolution("conv1", "bn1", planes, 3, 7)
    channels = planes
    for number, repeats in enumerate(blocks, start=1):
        narrow = planes * 2 ** (number - 1)
        wide = 4 * narrow if bottleneck else narrow
        for position in range(repeats):
            name = f"layer{number}.{position}"
            # A wide ResNet-50-2 has twice the planes in the middle of a bottleneck.
            sizes = [(2 * narrow, 1), (2 * narrow, 3), (wide, 1)] if bottleneck else [(narrow, 3), (narrow, 3)]
            c_in = channels
            for k, (c_out, size) in enumerate(sizes, start=1):
                convolution(f"{name}.conv{k}", f"{name}.bn{k}", c_out, c_in, size)
                c_in = c_out
            if position == 0 and (number > 1 or bottleneck):
                convolution(f"{name}.downsample.0", f"{name}.downsample.1", wide, channels, 1)
            channels = wide
    return {name: np.asarray(array, np.float32) for name, array in tensors.items()}


def of_pytorch(tensors: dict[str, np.ndarray], images: np.ndarray) -> list[np.ndarray]:
    """Layers 1 to 3 with nothing but PyTorch's functions."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    state = {name: torch.tensor(array) for name, array in tensors.items()}

    def convolution(x, name, norm, stride=1):
        weight = state[f"{name}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        names = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(state[f"{norm}.{part}"] for part in names))

    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x = (torch.tensor(images).permute(0, 3, 1, 2) - mean) / std
    x = functional.max_pool2d(functional.relu(convolution(x, "conv1", "bn1", 2)), 3, 2, 1)
    outputs = []
    for number in (1, 2, 3):
        position = 0
        while f"layer{number}.{position}.conv1.weight" in state:
            name = f"layer{number}.{position}"
            stride = 2 if number > 1 and position == 0 else 1
            if f"{name}.conv3.weight" in state:
                y = functional.relu(convolution(x, f"{name}.conv1", f"{name}.bn1"))
                y = functional.relu(convolution(y, f"{name}.conv2", f"{name}.bn2", stride))
                y = convolution(y, f"{name}.conv3", f"{name}.bn3")
            else:
                y = functional.relu(convolution(x, f"{name}.conv1", f"{name}.bn1", stride))
                y = convolution(y, f"{name}.conv2", f"{name}.bn2")
            if f"{name}.downsample.0.weight" in state:
                x = convolution(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = functional.relu(x + y)
            position += 1
        outputs.append(x.permute(0, 2, 3, 1).numpy())
    return outputs


def saved(folder: Path, tensors: dict[str, np.ndarray]) -> Path:
    path = folder / "resnet.safetensors"
    safetensors.numpy.save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("kind", "planes", "size", "channels"),
    [(RESNET18, 64, (64, 48), 384), (RESNET18, 8, (50, 37), 48), (WIDE_RESNET50, 8, (40, 64), 192)],
)
def test_every_layer_is_that_of_pytorch(kind, planes, size, channels, tmp_path):
    tensors = random_tensors(**kind, planes=planes)
    network = ResNet.from_file(saved(tmp_path, tensors))
    assert (network.name, network.stride, network.channels) == ("resnet", 8, channels)
    images = np.random.default_rng(1).uniform(size=(2, *size, 3)).astype(np.float32)
    wanted = of_pytorch(tensors, images)
    own = jax.jit(network.levels)(jnp.asarray(images))
    for level, other in zip(own, wanted, strict=True):
        np.testing.assert_allclose(level, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
    joined = join_levels([jnp.asarray(level) for level in wanted[1:]])
    np.testing.assert_allclose(network(jnp.asarray(images)), joined, rtol=1e-3, atol=1e-3)


def test_gray_images_are_repeated_to_three_channels(tmp_path):
    network = ResNet.from_file(saved(tmp_path, random_tensors(**RESNET18, planes=4)))
    gray = jnp.linspace(0.0, 1.0, 32 * 32).reshape(1, 32, 32, 1)
    np.testing.assert_array_equal(network(gray), network(jnp.tile(gray, (1, 1, 1, 3))))


def test_files_that_do_not_fit_end_in_a_sentence(tmp_path):
    with pytest.raises(
        WeightsError, match="no readable file of weights at .*none.safetensors .*; pass the path of one"
    ):
        ResNet.from_file(tmp_path / "none.safetensors")
    tensors = random_tensors(**RESNET18, planes=4)
    path = saved(tmp_path, tensors)
    with pytest.raises(WeightsError, match="expected the SHA-256 0000"):
        ResNet.from_file(path, sha256="0" * 64)
    content = path.read_bytes()
    for length in (0, 4, 100, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="cannot be read .* expected a .safetensors file; the file is cut short"):
            ResNet.from_file(path)
    del tensors["layer3.0.conv1.weight"]
    with pytest.raises(WeightsError, match="weights without layer3.0.conv1.weight"):
        ResNet.from_file(saved(tmp_path, tensors))
    grouped = random_tensors(**WIDE_RESNET50, planes=4)
    grouped["layer1.0.conv2.weight"] = grouped["layer1.0.conv2.weight"][:, :2]
    with pytest.raises(WeightsError, match=r"layer1.0.conv2.weight of shape \[8, 2, 3, 3\]; expected \[N, 8, 3, 3\]"):
        ResNet.from_file(saved(tmp_path, grouped))
