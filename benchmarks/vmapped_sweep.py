"""Members a second of a sweep in one program, against the same members trained one after another.

    python -m benchmarks.vmapped_sweep --json sweep.json --figure sweep.png

First it checks that both sides compute the same losses from the same seeds. Then they take turns: a dispatch of the
sweep, and a dispatch of the step of `fit`, which trains members one after another. Speed is in images a second (members
x steps x batch), without compilation. Compile time is reported separately: the sweep compiles once, while `fit`
compiles once for each learning rate, weight decay, KL weight and latent size, which are constants of its program.
Memory is XLA's own count for the compiled sweep on one device, beside the estimate of `member_bytes`.

On a CPU the devices are fake and share its cores. Eight of them show that members spread over devices, but not the
speed of eight accelerators.
"""

import dataclasses
import functools
import itertools
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.sharding import NamedSharding, PartitionSpec
from rich.console import Console
from rich.table import Table

import jaxunreg as ju
from benchmarks import side
from benchmarks.fake_devices import ensure_devices
from benchmarks.speed import ratios, take_turns
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.nn.lowering import Lowering
from jaxunreg.sweep.latent_padding import PaddedLatentSpace, with_latent_size
from jaxunreg.sweep.program import member_bytes, place_members, sweep_steps
from jaxunreg.training.optimizer import Hyperparameters
from jaxunreg.training.state import init_state
from jaxunreg.training.step import train_steps

Network = Literal["small", "medium", "toy"]

CONFIGS: dict[Network, dict[str, Any]] = {
    "small": {"image_shape": (16, 16, 1), "depth": 2, "base_channels": 8, "latent_dim": 16},
    "medium": {"image_shape": (32, 32, 3), "depth": 4, "base_channels": 8, "latent_dim": 64},
    "toy": side.CONFIGS["toy"],
}
BATCH_SIZE: dict[Network, int] = {"small": 32, "medium": 64, "toy": 128}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      networks: small (16x16x1, two layers of 8 and 16 channels, batch 32), medium (32x32x3, four layers of 8 to 64,
        batch 64), toy (the paper's for 32x32, batch 128).
      members: number of members that train at once.
      devices: number of devices; on a CPU fake ones.
      vectorize: whether a device runs all its members at a time, or loops over them within the program.
      lowering: how the sweep computes convolutions: as a member alone does, or one way.
      masked: give every other member half the latent size, padded.
      steps: updates a dispatch.
      rounds: how often the sides take turns.
      seconds: how long each side runs in a round.
      tolerance: the largest difference of a loss between the sides, as a share of it.
      json: where to write the list of results.
      figure: file for a figure of the speed against the number of members.
    """

    networks: tuple[Network, ...] = ("small", "medium")
    members: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    devices: tuple[int, ...] = (1, 8)
    masked: bool = False
    vectorize: tuple[bool, ...] = (False, True)
    lowering: Lowering = "auto"
    steps: int = 4
    rounds: int = 5
    seconds: float = 1.0
    tolerance: float = 1e-3
    json: Path | None = None
    figure: Path | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.steps < 1 or not self.seconds > 0:
            raise ArgumentError(
                ", ".join(argument(name, getattr(self, name)) for name in ("rounds", "steps", "seconds")),
                "at least 1, at least 1, and above zero",
            )


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print and write."""
    console = Console()
    if not console.is_terminal:
        console.width = 140
    ensure_devices(max(options.devices))
    console.print(f"jax {jax.__version__} on {side.machine()}")
    results: list[dict[str, Any]] = []
    for network in options.networks:
        alone = _Alone(network, options)
        for devices in options.devices:
            for members, vectorize in itertools.product(options.members, options.vectorize):
                if devices > 1 and place_members(members, jax.devices()[:devices])[0].size == 1:
                    continue  # One member runs on one device, however many there are.
                with console.status(f"{network}, {members} members, {devices} devices"):
                    results.append(_measure(network, members, devices, vectorize, alone, options))
                # Written at once, because the whole takes minutes.
                if options.json is not None:
                    options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        console.print(_table(results, network))
    if options.figure is not None:
        _draw(results, options.figure)
    return results


def _setting(
    network: Network, options: Options, lowering: Lowering = "auto"
) -> tuple[ju.VAE, ju.TrainConfig, np.ndarray]:
    config = ju.TrainConfig(steps=10**6, batch_size=BATCH_SIZE[network], steps_per_dispatch=options.steps)
    vae = ju.VAE(ju.VAEConfig(**CONFIGS[network], lowering=lowering)).for_platform(jax.default_backend())
    shape = (4 * options.steps * config.batch_size, *vae.config.image_shape)
    return vae, config, np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _indices(config: ju.TrainConfig, images: np.ndarray, member: int) -> np.ndarray:
    shape = (config.steps_per_dispatch, config.batch_size)
    return np.random.default_rng(member).integers(0, len(images), shape, np.int32)


class _Alone:
    """`fit`'s step for one member."""

    def __init__(self, network: Network, options: Options) -> None:
        self.model, self.config, images = _setting(network, options)
        self.images, self.indices = jnp.asarray(images), _indices(self.config, images, 0)
        self.state = init_state(self.model, self.config, jax.random.key(0))
        arguments = (self.state, self.images, self.indices, np.int32(options.steps))
        began = time.perf_counter()
        self.program = train_steps.lower(self.model, self.config, *arguments).compile()
        self.compile_seconds = time.perf_counter() - began
        self.first_losses = self.losses()

    def losses(self) -> np.ndarray:
        """Run a dispatch."""
        count = np.int32(self.config.steps_per_dispatch)
        self.state, metrics = self.program(self.state, self.images, self.indices, count)
        return np.asarray(metrics.loss)

    def __call__(self) -> int:
        """Run a dispatch, and return the number of images."""
        self.losses()
        return self.indices.size


class _Together:
    """The sweep's step for many members."""

    def __init__(self, network: Network, members: int, devices: int, vectorize: bool, options: Options) -> None:
        model, self.config, images = _setting(network, options, options.lowering)
        self.lowering = model.config.lowering
        mesh, slots = place_members(members, jax.devices()[:devices])
        spread, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("members",), ()))
        keys = jnp.stack([jax.random.key(member) for member in range(slots)])
        state = jax.jit(jax.vmap(functools.partial(init_state, model, self.config)))(keys)
        if options.masked:
            # The first member has its full size, so its losses are those of the network alone.
            sizes = np.array([model.config.latent_dim // (1 + member % 2) for member in range(slots)], np.int32)
            state = state._replace(variables=with_latent_size(state.variables, sizes))
            model = model.with_latent_space(PaddedLatentSpace())
        rates = np.geomspace(1.0, 0.1, slots, dtype=np.float32) * np.float32(self.config.learning_rate)
        hyper = Hyperparameters(rates, np.full(slots, self.config.weight_decay, np.float32), np.ones(slots, np.float32))
        indices = np.stack([_indices(self.config, images, member) for member in range(slots)])
        self.state = jax.device_put(state, spread)
        self.rest = (
            jax.device_put(hyper, spread),
            jax.device_put(images, everywhere),
            jax.device_put(indices, spread),
            np.int32(options.steps),
        )
        self.images_a_call = members * indices[0].size
        began = time.perf_counter()
        self.program = sweep_steps.lower(model, self.config, mesh, vectorize, self.state, *self.rest).compile()
        self.compile_seconds = time.perf_counter() - began
        memory: Any = self.program.memory_analysis()
        self.device_mb = (memory.temp_size_in_bytes + memory.argument_size_in_bytes - images.nbytes) / 2**20
        each, size = slots // mesh.size, member_bytes(model, self.config)
        self.device_mb_estimate = (each * size.weights + (each if vectorize else 1) * size.activations) / 2**20
        self.first_losses = self.losses()

    def losses(self) -> np.ndarray:
        """Run a dispatch."""
        self.state, metrics = self.program(self.state, *self.rest)
        return np.asarray(metrics.loss)

    def __call__(self) -> int:
        """Run a dispatch, and return the number of images. Members that fill up slots do not count."""
        self.losses()
        return self.images_a_call


def _measure(
    network: Network, members: int, devices: int, vectorize: bool, alone: _Alone, options: Options
) -> dict[str, Any]:
    together = _Together(network, members, devices, vectorize, options)
    # The first member has the seed, the rate and the batches of the single one. Otherwise the comparison is void.
    np.testing.assert_allclose(together.first_losses[0], alone.first_losses, rtol=options.tolerance)
    speeds = take_turns({"alone": alone, "together": together}, options.rounds, options.seconds)
    return {
        "network": network,
        "members": members,
        "devices": devices,
        "vectorize": vectorize,
        "masked": options.masked,
        "lowering": together.lowering,
        **ratios(speeds["together"], speeds["alone"]),
        "images_per_second": statistics.median(speeds["together"]),
        "one_after_another_images_per_second": statistics.median(speeds["alone"]),
        "compile_seconds": together.compile_seconds,
        "one_program_compile_seconds": alone.compile_seconds,
        "device_mb": together.device_mb,
        "device_mb_estimate": together.device_mb_estimate,
        "batch_size": alone.config.batch_size,
        "model": dataclasses.asdict(alone.model.config),
        "rounds": options.rounds,
        "machine": side.machine(),
        "jax": jax.__version__,
    }


def _table(results: list[dict[str, Any]], network: str) -> Table:
    rows = [row for row in results if row["network"] == network]
    table = Table(
        title=f"{network} network, batch {rows[0]['batch_size']}: a sweep in one program, against one after another"
    )
    columns = ("devices", "members", "runs", "ratio", "images/s", "one by one", "compile s", "one", "MB", "estimate")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row["devices"]),
            str(row["members"]),
            "vectorised" if row["vectorize"] else "loop",
            f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})",
            f"{row['images_per_second']:.0f}",
            f"{row['one_after_another_images_per_second']:.0f}",
            f"{row['compile_seconds']:.1f}",
            f"{row['one_program_compile_seconds']:.1f}",
            f"{row['device_mb']:.0f}",
            f"{row['device_mb_estimate']:.0f}",
        )
    return table


def _draw(results: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for index, (network, vectorize) in enumerate(dict.fromkeys((row["network"], row["vectorize"]) for row in results)):
        for devices, line in zip(dict.fromkeys(row["devices"] for row in results), ("-", "--", ":"), strict=False):
            wanted = (network, vectorize, devices)
            rows = [row for row in results if (row["network"], row["vectorize"], row["devices"]) == wanted]
            members, ratios = ([row[name] for row in rows] for name in ("members", "ratio"))
            errors = np.array([[row["ratio"] - row["ratio_low"], row["ratio_high"] - row["ratio"]] for row in rows]).T
            label = f"{network}, {'vectorised' if vectorize else 'loop'}, {devices} device{'s' if devices > 1 else ''}"
            style: dict[str, Any] = {
                "color": f"C{index}",
                "marker": "s" if vectorize else "o",
                "ls": line,
                "lw": 1.2,
                "capsize": 2,
            }
            axes.errorbar(members, ratios, yerr=errors, label=label, **style)
    axes.axhline(1.0, color="black", lw=0.8)
    axes.set_xscale("log", base=2)
    ticks = sorted({row["members"] for row in results})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("members in one program")
    axes.set_ylabel("speed as a multiple of one after another\n(median and range of the rounds)")
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
