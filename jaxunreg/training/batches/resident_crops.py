"""Batches of random crops from images that stay in the device's memory."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Array

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.training.batches.crop_plan import CropPlan, describe_crops
from jaxunreg.training.batches.feed import Feed
from jaxunreg.training.training_images import ImageSequence

MOST_PIXELS = 2**31 - 1
"""The most pixels that a 32-bit index reaches."""


class ResidentCrops:
    """All pixels in one array on the device; a step gathers its crops from it."""

    def __init__(self, images: ImageSequence, plan: CropPlan, feed: Feed) -> None:
        self._images, self._plan, self._feed = images, plan, feed
        areas = plan.sizes.prod(axis=1)
        self._first = np.concatenate([[0], np.cumsum(areas)])
        if self._first[-1] > MOST_PIXELS:
            raise ArgumentError(
                f"{self._first[-1]} pixels with {argument('images_on_device', 'yes')}",
                "at most 2^31 - 1, the largest 32-bit index",
                f"use {argument('images_on_device', 'no')}",
            )
        sample = np.asarray(images[0])
        pixels = np.empty((self._first[-1], sample.shape[-1]), sample.dtype)

        def read(k: int) -> None:
            pixels[self._first[k] : self._first[k + 1]] = np.asarray(images[k]).reshape(-1, sample.shape[-1])

        with ThreadPoolExecutor() as pool:
            for _ in pool.map(read, range(len(images))):
                pass
        self._pixels = feed.resident(pixels)

    def describe(self) -> dict[str, Any]:
        """Return how many images and pixels there are, and a hash of their contents, which is computed here."""
        return describe_crops(self._images, self._plan)

    def steps(self, start: int, count: int) -> tuple[Array, Array | np.ndarray]:
        """See `Batches.steps`."""
        indices = np.empty((count, self._plan.batch_size, 2), np.int32)
        for k in range(count):
            images, corners = self._plan.step(start + k)
            widths = self._plan.sizes[images, 1]
            indices[k, :, 0] = self._first[images] + corners[:, 0] * widths + corners[:, 1]
            indices[k, :, 1] = widths
        return self._feed.rows(self._pixels, indices)
