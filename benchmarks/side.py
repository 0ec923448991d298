"""One side of the benchmark: its work as a function, also in a separate process.

    python -m benchmarks.side --network toy --phase train --dtype float32 --name jaxunreg

prints the compile time and the peak memory of that one side as a line of JSON.
"""

import functools
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

import jaxunreg as ju
from benchmarks import torch_device
from benchmarks.float32 import multiplied_as
from benchmarks.fresh_process import measured
from benchmarks.speed import Runner
from jaxunreg.models import apply
from jaxunreg.provenance import device
from jaxunreg.scoring.batched import apply_in_batches
from jaxunreg.scoring.scorer import fold_scorer
from jaxunreg.training.state import init_state
from jaxunreg.training.step import train_steps

Network = Literal["toy", "large"]
Phase = Literal["train", "score", "score_on_device"]
"""Training from images on the device; scores from the host's images to the host's scores; the same on the device."""
Dtype = Literal["float32", "bfloat16"]
Name = Literal["jaxunreg", "eager", "compile"]

CONFIGS: dict[Network, dict[str, Any]] = {
    "toy": {"image_shape": (32, 32, 3), "depth": 4, "base_channels": 32, "latent_dim": 500},
    "large": {"image_shape": (96, 96, 1), "depth": 5, "base_channels": 32, "latent_dim": 50},
}
BATCH_SIZE: dict[Network, int] = {"toy": 256, "large": 64}
# Updates in one call, on both sides. `fit` dispatches twenty by default.
STEPS = 16
# Calls of the network to score all images on the device. On an accelerator, larger batches are faster.
_BATCHES_ON_DEVICE = 4


def model(network: Network, dtype: Dtype = "float32") -> ju.VAE:
    """Return the paper's network for 32x32 or 96x96."""
    return ju.VAE(ju.VAEConfig(**CONFIGS[network], precision=dtype))


@functools.cache
def images(network: Network) -> np.ndarray:
    """Make uint8 images, more than any cache holds."""
    shape = (4 * STEPS * BATCH_SIZE[network], *CONFIGS[network]["image_shape"])
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _indices(network: Network) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.integers(0, len(images(network)), (STEPS, BATCH_SIZE[network]), np.int32)


def ours(network: Network, phase: Phase, dtype: Dtype, *, steps: int = STEPS) -> Runner:
    """Return our side: a call does updates, or scores as many batches, or all images on the device.

    Training runs the same program of `STEPS` updates for any number of steps.
    """
    if phase == "train":
        config = ju.TrainConfig(steps=10**6, batch_size=BATCH_SIZE[network], steps_per_dispatch=STEPS)
        vae = model(network, dtype).for_platform(jax.default_backend())
        resident, indices = jnp.asarray(images(network)), _indices(network)
        states = [init_state(vae, config, jax.random.key(0))]

        def train() -> int:
            state, metrics = train_steps(vae, config, states.pop(), resident, indices, np.int32(steps))
            states.append(state)
            metrics.loss.block_until_ready()
            return indices[:steps].size

        return train
    scorer = ju.make_scorer(model(network, dtype), trained(network))
    if phase == "score_on_device":
        folded, count = fold_scorer(scorer), np.int32(_BATCHES_ON_DEVICE)
        batches = jnp.asarray(images(network).reshape(_BATCHES_ON_DEVICE, -1, *CONFIGS[network]["image_shape"]))

        def score_on_device() -> int:
            jax.block_until_ready(apply_in_batches(apply.terms, folded, batches, count))
            return batches.shape[0] * batches.shape[1]

        return score_on_device
    batch = images(network)[: steps * BATCH_SIZE[network]]

    def score() -> int:
        ju.score_images(scorer, batch)
        return len(batch)

    return score


# A file of the weights, for a process whose memory is measured. Training would take most of the memory.
_WEIGHTS = "BENCHMARKS_WEIGHTS"


@functools.cache
def trained(network: Network) -> Mapping[str, Any]:
    """Return weights after a few steps, so that no batch statistic is still at its starting value."""
    if _WEIGHTS in os.environ:
        with np.load(os.environ[_WEIGHTS]) as arrays:
            return unflatten_dict(dict(arrays), sep="/")
    config = ju.TrainConfig(steps=3, batch_size=32)
    return ju.fit(model(network), images(network)[:128], config, key=jax.random.key(0), progress=False).variables


def theirs(network: Network, phase: Phase, dtype: Dtype, *, compiled: bool, steps: int = STEPS) -> Runner:
    """Return the peer's side, which does the same work in a call."""
    torch = torch_device.prepare(compiled=compiled)

    from benchmarks import peer

    torch.manual_seed(0)
    vae = peer.TorchVAE(model(network).config)
    how: Any = {"compiled": compiled, "bfloat16": dtype == "bfloat16", "device": torch_device.torch_device()}
    if phase == "train":
        trainer = peer.TorchTrainer(vae, images(network), **how)
        indices = _indices(network)[:steps]

        def train() -> int:
            trainer(indices)
            return indices.size

        return train
    peer.copy_weights(vae, trained(network))
    scorer = peer.TorchScorer(vae, **how)
    if phase == "score_on_device":
        everything = torch.from_numpy(images(network)).to(scorer.device)

        def score_on_device() -> int:
            scorer.on_device(everything, len(everything) // _BATCHES_ON_DEVICE)
            torch_device.finish()
            return len(everything)

        return score_on_device
    batch = images(network)[: steps * BATCH_SIZE[network]]

    def score() -> int:
        scorer(batch, BATCH_SIZE[network])
        return len(batch)

    return score


def check_agreement(network: Network) -> None:
    """Check that both sides compute the same D, A and M from the same weights. Otherwise the comparison is void."""
    from benchmarks import peer

    vae = peer.TorchVAE(model(network).config)
    peer.copy_weights(vae, trained(network))
    batch = images(network)[:32]
    scorer = peer.TorchScorer(vae, compiled=False, bfloat16=False, device=torch_device.torch_device())
    with multiplied_as("float32"):
        expected = scorer(batch, 32)
        found = np.stack(ju.score_images(ju.make_scorer(model(network), trained(network)), batch))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def flops(network: Network, phase: Phase) -> float:
    """Return an image's floating-point operations in convolutions and dense layers, two a multiplication and addition.

    Training counts three times the forward pass, but only twice for the first layer, whose input needs no gradient.
    """
    config = model(network).config
    return training_flops(config) if phase == "train" else sum(_layer_flops(config).values())


def training_flops(config: ju.VAEConfig) -> float:
    """Return the operations of training on an image, as `flops` counts them."""
    layers = _layer_flops(config)
    return 3 * sum(layers.values()) - layers["encoder Convolution_0"]


def layer_flops(network: Network) -> dict[str, float]:
    """Return the operations of scoring an image, by layer, in the order of the network."""
    return _layer_flops(model(network).config)


def _layer_flops(config: ju.VAEConfig) -> dict[str, float]:
    height, width, c_in = config.image_shape
    encoder = []
    for layer in range(config.depth):
        height, width, c_out = height // 2, width // 2, config.base_channels * 2**layer
        encoder.append(2.0 * height * width * 16 * c_in * c_out)
        c_in = c_out
    dense = 2.0 * height * width * c_in * config.latent_dim
    # The transposed layer has the same products, except the last, which makes 2 maps a channel instead of 1.
    decoder = [*encoder[:0:-1], 2 * encoder[0]]
    return {
        **{f"encoder Convolution_{layer}": product for layer, product in enumerate(encoder)},
        "encoder Dense_0": 2 * dense,
        "decoder Dense_0": dense,
        **{f"decoder Convolution_{layer}": product for layer, product in enumerate(decoder)},
    }


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` also counts the memory of the parent before this program was loaded.
        (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    # Bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def machine() -> str:
    """Return the processor and its number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def versions(*, with_torch: bool = True) -> dict[str, str]:
    """Return the machine, JAX's devices, and the packages that the figures depend on."""
    packages = ("jax", "torch", "numpy") if with_torch else ("jax", "numpy")
    return {"machine": machine(), "device": device(), **{name: version(name) for name in packages}}


def in_process(network: Network, phase: Phase, dtype: Dtype, name: str) -> dict[str, float]:
    """Return compile time, cold and from the persistent cache, and peak memory of one side, in fresh processes."""
    options = ("--network", network, "--phase", phase, "--dtype", dtype, "--name", name)
    with tempfile.TemporaryDirectory() as folder:
        environment = {}
        if phase != "train":
            environment[_WEIGHTS] = str(Path(folder, "weights.npz"))
            np.savez(environment[_WEIGHTS], **flatten_dict(trained(network), sep="/"))
        return measured("benchmarks.side", options, cached=name == "jaxunreg", environment=environment)


def main(network: Network, phase: Phase, dtype: Dtype, name: Name) -> None:
    """Print the compile time (how much longer the first call takes) and the peak memory of one side."""
    # One update a call, because the time of a longer call varies by more than the compile time.
    steps = 1 if phase == "train" else STEPS
    if name == "jaxunreg":
        work = ours(network, phase, dtype, steps=steps)
    else:
        work = theirs(network, phase, dtype, compiled=name == "compile", steps=steps)

    def seconds() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    first = seconds()
    later = statistics.median(seconds() for _ in range(3))
    print(json.dumps({"compile_seconds": max(0.0, first - later), "peak_memory_mb": peak_memory_mb()}))


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
