"""The peer: the paper's VAE as a good PyTorch user writes it, for a CPU or a GPU.

channels_last throughout, `inference_mode` when scoring, `zero_grad(set_to_none=True)`, fused Adam, images normalised on
the fly from uint8, and no synchronisation with Python inside a run of steps. `copy_weights` gives it the weights of a
`jaxunreg.VAE`, so that the benchmark can check that both sides compute the same thing before it times them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from jaxunreg.models.vae import VAEConfig


def _soft_clip(x: Tensor, low: float, high: float) -> Tensor:
    return low + functional.softplus(high - functional.softplus(high - x) - low)


class TorchVAE(nn.Module):
    """The network of `jaxunreg.VAE`, layer by layer, with NCHW shapes in channels_last memory."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        height, width, channels = config.bottom_shape
        widths = [config.base_channels * 2**layer for layer in range(config.depth)]

        def norm(features: int) -> nn.Module:
            return nn.BatchNorm2d(features, config.batch_norm_epsilon, 1.0 - config.batch_norm_momentum)

        down: list[nn.Module] = []
        for c_in, c_out in zip([config.image_shape[-1], *widths], widths, strict=False):
            down += [nn.Conv2d(c_in, c_out, 4, 2, 1, bias=False), norm(c_out), nn.ReLU(inplace=True)]
        self.down = nn.Sequential(*down)
        self.to_latent = nn.Linear(height * width * channels, 2 * config.latent_dim)
        self.from_latent = nn.Linear(config.latent_dim, height * width * channels, bias=False)
        up: list[nn.Module] = [norm(channels), nn.ReLU(inplace=True)]
        for c_in, c_out in zip(widths[:0:-1], widths[-2::-1], strict=True):
            up += [nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, bias=False), norm(c_out), nn.ReLU(inplace=True)]
        up.append(nn.ConvTranspose2d(widths[0], 2 * config.image_shape[-1], 4, 2, 1))
        self.up = nn.Sequential(*up)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        mean, log_var = self.to_latent(self.down(x).flatten(1)).chunk(2, dim=1)
        return mean, _soft_clip(log_var + config.z_log_var_init, config.z_log_var_min, config.z_log_var_max)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        height, width, channels = config.bottom_shape
        x = self.from_latent(z).view(-1, channels, height, width).contiguous(memory_format=torch.channels_last)
        mean, log_var = self.up(x).chunk(2, dim=1)
        log_var = _soft_clip(log_var + config.x_log_var_init, config.x_log_var_min, config.x_log_var_max)
        return mean + 0.5, log_var

    def forward(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return D, A and M of each image, at the posterior mean or, with `noise`, at a sample."""
        z_mean, z_log_var = self.encode(x)
        z = z_mean if noise is None else z_mean + torch.exp(0.5 * z_log_var) * noise
        x_mean, x_log_var = self.decode(z)
        # In full precision, even after autocast.
        z_mean, z_log_var, x_mean, x_log_var = (t.float() for t in (z_mean, z_log_var, x_mean, x_log_var))
        d = 0.5 * (z_mean.square() + torch.expm1(z_log_var) - z_log_var).sum(1)
        a = 0.5 * (np.log(2 * np.pi) + x_log_var).sum((1, 2, 3))
        m = 0.5 * ((x - x_mean).square() * torch.exp(-x_log_var)).sum((1, 2, 3))
        return d, a, m


def copy_weights(peer: TorchVAE, variables: Mapping[str, Any]) -> None:
    """Give the peer the weights of a `jaxunreg.VAE` of the same config."""
    params, stats = variables["params"], variables["batch_stats"]
    height, width, channels = peer.config.bottom_shape

    def put(parameter: Tensor, value: Any) -> None:
        with torch.no_grad():
            parameter.copy_(torch.tensor(np.asarray(value)))

    def put_norm(layer: Any, side: str, name: str) -> None:
        put(layer.weight, params[side][name]["scale"])
        put(layer.bias, params[side][name]["bias"])
        put(layer.running_mean, stats[side][name]["mean"])
        put(layer.running_var, stats[side][name]["var"])

    for side, body, axes in (("encoder", peer.down, (3, 2, 0, 1)), ("decoder", peer.up, (2, 3, 0, 1))):
        layers = [layer for layer in body if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
        for index, layer in enumerate(layers):
            weights = params[side][f"Convolution_{index}"]
            put(layer.weight, np.transpose(np.asarray(weights["kernel"]), axes))
            if layer.bias is not None:
                put(layer.bias, weights["bias"])
        names = [] if side == "encoder" else ["Dense_0"]
        names += [f"Convolution_{index}" for index in range(len(layers))]
        norms = [layer for layer in body if isinstance(layer, nn.BatchNorm2d)]
        for layer, name in zip(norms, names, strict=False):
            put_norm(layer, side, name)
    # Dense layers count their rows as channel, row, column here and as row, column, channel there.
    dense = np.asarray(params["encoder"]["Dense_0"]["kernel"]).reshape(height, width, channels, -1)
    put(peer.to_latent.weight, dense.transpose(3, 2, 0, 1).reshape(dense.shape[-1], -1))
    put(peer.to_latent.bias, params["encoder"]["Dense_0"]["bias"])
    dense = np.asarray(params["decoder"]["Dense_0"]["kernel"]).reshape(-1, height, width, channels)
    put(peer.from_latent.weight, dense.transpose(3, 1, 2, 0).reshape(-1, dense.shape[0]))


def channels_last(images: Tensor) -> Tensor:
    """Return uint8 NHWC images as a float NCHW tensor whose memory is NHWC."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)


class TorchTrainer:
    """Train steps of the peer over images that are in memory."""

    def __init__(
        self, peer: TorchVAE, images: np.ndarray, *, compiled: bool, bfloat16: bool, device: str = "cpu"
    ) -> None:
        self.device = device
        self.peer = peer.to(device, memory_format=torch.channels_last).train()
        self.images = torch.from_numpy(images).to(device)
        self.optimizer = torch.optim.Adam(peer.parameters(), 1e-3, weight_decay=1e-4, fused=True)
        self.forward = torch.compile(peer) if compiled else peer
        self.bfloat16 = bfloat16

    def __call__(self, indices: np.ndarray) -> float:
        """Do one update for each row of `indices`, and return the last loss, for which the host waits."""
        loss = torch.zeros(())
        for rows in torch.from_numpy(indices).long().to(self.device):
            x = channels_last(self.images[rows])
            noise = torch.randn(len(rows), self.peer.config.latent_dim, device=self.device)
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
                d, a, m = self.forward(x, noise)
            loss = (d + a + m).mean()
            loss.backward()
            self.optimizer.step()
        return float(loss.detach())


class TorchScorer:
    """Scores of the peer, in batches."""

    def __init__(self, peer: TorchVAE, *, compiled: bool, bfloat16: bool, device: str = "cpu") -> None:
        self.device = device
        self.peer = peer.to(device, memory_format=torch.channels_last).eval()
        self.forward = torch.compile(peer) if compiled else peer
        self.bfloat16 = bfloat16

    def __call__(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """Return D, A and M, `[3, N]`, from the host's images to the host's scores."""
        return self.on_device(torch.from_numpy(images).to(self.device), batch_size).cpu().numpy()

    def on_device(self, images: Tensor, batch_size: int) -> Tensor:
        """Return the same on the device, for images there. A GPU may still be at work."""
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            parts = [torch.stack(self.forward(channels_last(batch))) for batch in images.split(batch_size)]
            return torch.cat(parts, dim=1)
