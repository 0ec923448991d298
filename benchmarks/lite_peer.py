"""The peer of the feature network: EfficientNet-Lite0 of `efficientnet-lite-pytorch`, up to the same two levels.

It uses channels_last, `inference_mode`, the stem and eleven blocks. The mean over 3x3 places, the resizing and the
concatenation of our map follow.
"""

import efficientnet_lite_pytorch
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from jaxunreg.features.efficientnet_layers import STAGES
from jaxunreg.features.weights import weights_path


class TorchFeatures(nn.Module):
    """Maps of features `[n, 152, rows, columns]` of images of one size."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        # TensorFlow's padding depends on the size.
        model = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0", image_size=(height, width))
        model.load_state_dict(torch.load(weights_path(), weights_only=True))
        ends = np.cumsum([stage.repeats for stage in STAGES])
        blocks = list(model._blocks)
        self.stem = nn.Sequential(model._conv_stem, model._bn0, model._swish)
        self.fine = nn.Sequential(*blocks[: ends[2]])
        self.coarse = nn.Sequential(*blocks[ends[2] : ends[4]])

    def forward(self, images: Tensor) -> Tensor:
        """Map images in [0, 1], `[n, 3, height, width]`, to features."""
        fine = self.fine(self.stem((images * 255.0 - 127.0) / 128.0))
        coarse = self.coarse(fine)
        fine, coarse = (functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False) for x in (fine, coarse))
        coarse = functional.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([fine, coarse], dim=1)


class TorchNetwork:
    """The peer from NHWC images to NHWC maps."""

    def __init__(
        self, height: int, width: int, *, compiled: bool = False, bfloat16: bool = False, device: str = "cpu"
    ) -> None:
        module = TorchFeatures(height, width).eval().to(device, memory_format=torch.channels_last)
        self.module = torch.compile(module) if compiled else module
        self.bfloat16 = bfloat16
        self.device = device

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the maps of images, from the host's memory to the host's."""
        return self.on_device(self.to_device(images)).cpu().float().numpy()

    def to_device(self, images: np.ndarray) -> Tensor:
        """Return the images on the device."""
        return torch.from_numpy(images).to(self.device)

    def on_device(self, images: Tensor) -> Tensor:
        """Return the same on the device, for images there. A GPU may still be at work."""
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            # A view whose memory is already channels_last.
            return self.module(images.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
