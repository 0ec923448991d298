"""A detector: its verdicts on images, and how it is saved."""

import dataclasses
import functools
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.decomposition import Decomposition
from jaxunreg.errors import ArgumentError
from jaxunreg.features.network import FeatureNetwork
from jaxunreg.inspection.calibrated_scorer import CalibratedScorer
from jaxunreg.inspection.counting import Counted, Counting
from jaxunreg.inspection.detector_folder import read_detector, save_detector, write_description, write_detector
from jaxunreg.inspection.judging import Judge, score_of
from jaxunreg.inspection.named_regions import by_name
from jaxunreg.inspection.painting import painted
from jaxunreg.inspection.regions import Region, find_regions, region_mask
from jaxunreg.inspection.remembered_files import remembered_hashes
from jaxunreg.inspection.smoothing import smoothed
from jaxunreg.inspection.verdict import ImageVerdict, InspectedImage
from jaxunreg.scoring.patches import PatchGrid


class AnomalyDetector(CalibratedScorer):
    """A scorer, calibrated on held-out normal images. `fit_detector` or `calibrate_detector` makes it.

    With another term, `top_k` or rate it calibrates itself again from the held-out scores that it keeps:
    `dataclasses.replace(detector, top_k=3)`. Another stride needs `calibrate_detector`, because it changes the scores.
    Its attributes, and the thresholds that follow from them, are those of `CalibratedScorer`.
    """

    def image_score(
        self, patches: Float32[np.ndarray, "rows columns"], counted: Bool[np.ndarray, "rows columns"] | None = None
    ) -> float:
        """Return an image's score from its patches': the mean of the `top_k` highest, or of all if it has fewer.

        Args:
          patches: the score of each patch.
          counted: whether each of them counts, `ImageVerdict.counted`; None for all.
        """
        return score_of(patches, self.top_k, counted)

    def counted(self, size: tuple[int, int], grid: PatchGrid) -> Counted:
        """Return which places and pixels of an image count, and which belong to the named regions.

        Args:
          size: height and width of the image.
          grid: its places, `ImageMaps.grid`.

        Raises:
          ArgumentError: the errors of `Counting.of`.
        """
        return self._judge.counting.of(size, grid)

    def inspect(
        self, images: Iterable[np.ndarray], *, pixels: bool = False, heat_map_stride: int | None = None
    ) -> Iterator[InspectedImage]:
        """Yield each image with its verdict and, on request, the terms of its pixels.

        One compiled program scores images of any sizes. Each is taken from `images` once. If the heat maps have the
        detector's stride, verdicts and heat maps come from one pass of the network.

        Args:
          images: `[height, width, channels]` each, at least as large as a patch; uint8, or floating point in [0, 1],
            all in one dtype, e.g. `ImageFiles`. They are read one after another, a few ahead of the results.
          pixels: whether to include the terms of the pixels.
          heat_map_stride: pixels from one patch to the next in the heat maps, at most the size of a patch; default: the
            detector's.

        Yields:
          For each image, in order, the image, its verdict and the terms of its pixels.

        Raises:
          ArgumentError: `heat_map_stride` is out of its range.
          TypeError, ValueError: the errors of `score_image`.
        """
        stride = self.stride if heat_map_stride is None else heat_map_stride
        self.scorer.check_stride("heat_map_stride", stride)
        waiting: deque[np.ndarray] = deque()

        def noted() -> Iterator[np.ndarray]:
            for image in images:
                waiting.append(image)
                yield painted(image, self.ignored)

        for maps in self.scorer.maps_each(noted(), stride=self.stride, pixels=pixels, pixel_stride=stride):
            image = waiting.popleft()
            size = (image.shape[0], image.shape[1])
            counted = self.counted(size, maps.grid).pixels
            yield InspectedImage(image, self._judge.verdict(maps.patches, maps.grid, size), maps.pixels, counted)

    def scores(self, images: Iterable[np.ndarray]) -> Iterator[ImageVerdict]:
        """Score images of any sizes, by one compiled program.

        Args:
          images: see `inspect`.

        Yields:
          For each image, in order, its score, p-value and verdict, and the maps of its patches.

        Raises:
          TypeError, ValueError: the errors of `score_image`.
        """
        return (found.verdict for found in self.inspect(images))

    def heat_maps(
        self, images: Iterable[np.ndarray], *, stride: int | None = None, smooth: bool = False
    ) -> Iterator[Float64[np.ndarray, "height width"]]:
        """Yield the term for each pixel of images of any sizes, by one compiled program.

        Args:
          images: see `inspect`.
          stride: pixels from one patch to the next, at most the size of a patch; default: the detector's.
          smooth: whether to smooth the map for display, by a Gaussian with the standard deviation `smoothing`.

        Yields:
          For each image, in order, float64 `[height, width]`, in nats a pixel, higher is more anomalous.

        Raises:
          TypeError, ValueError: the errors of `heat_map`.
        """
        seen = (painted(image, self.ignored) for image in images)
        for maps in self.scorer.maps_each(seen, stride=self.stride if stride is None else stride):
            assert maps.pixels is not None  # for mypy: they were asked for
            yield self.heat_map(maps.pixels, smooth=smooth)

    def heat_map(self, pixels: Decomposition, *, smooth: bool = False) -> Float64[np.ndarray, "height width"]:
        """Return the heat map of one image: the detector's term of its pixels.

        Args:
          pixels: terms of the pixels of an image, from `inspect`.
          smooth: see `heat_maps`.

        Returns:
          Float64 `[height, width]`, in nats a pixel, higher is more anomalous.
        """
        heat = np.asarray(getattr(pixels, self.term))
        return smoothed(heat, self.smoothing) if smooth else heat

    def regions(self, found: InspectedImage, rate: float | None = None) -> tuple[Region, ...]:
        """Return the connected regions of an image above `pixel_level`, the one with the highest peak first.

        Args:
          found: an image, from `inspect` with `pixels` and the detector's stride.
          rate: share of normal images that have any region; default: the detector's false-positive rate.

        Raises:
          ArgumentError: the image has no pixels, or the errors of `pixel_level`.
        """
        return find_regions(self._shown(found), self.pixel_level(rate), found.counted)

    def region_mask(self, found: InspectedImage, rate: float | None = None) -> Bool[np.ndarray, "height width"]:
        """Return the pixels of all `regions` of an image.

        Args:
          found: see `regions`.
          rate: see `regions`.

        Raises:
          ArgumentError: the errors of `regions`.
        """
        return region_mask(self._shown(found), self.pixel_level(rate), found.counted)

    def has_seen(self, images: ImageFiles) -> Bool[np.ndarray, " n"]:
        """Return whether the detector was trained or calibrated on each file, by its bytes."""
        seen = set(self.record.get("files", ()))
        if not seen:
            return np.zeros(len(images), bool)
        return np.array([remembered in seen for remembered in remembered_hashes(images)], bool)

    def save(self, directory: str | Path) -> None:
        """Save the learned arrays, calibration and record of the detector, without pickle, whole or not at all.

        For a feature network, only its name and SHA-256 are saved, not its weights.

        Args:
          directory: a folder that does not exist yet, or is empty.

        Raises:
          CheckpointError: the folder is not empty or cannot be written.
        """
        save_detector(directory, self.scorer, self._content())

    def write_into(self, directory: Path) -> None:
        """Write the detector into a folder that exists and may hold other files. `save` is for users.

        Raises:
          OSError: the folder cannot be written.
        """
        write_detector(directory, self.scorer, self._content())

    def write_calibration_into(self, directory: Path) -> None:
        """Write everything except the scorer into the folder of a detector with the same scorer.

        Raises:
          OSError: the folder cannot be written.
        """
        write_description(directory, self.scorer, self._content())

    @classmethod
    def load(cls, directory: str | Path, *, network: FeatureNetwork | None = None) -> "AnomalyDetector":
        """Load a detector that `save`, or `fit_detector` with a directory, wrote.

        Args:
          directory: the folder.
          network: the feature network of the detector, if it was the user's own.

        Returns:
          A detector whose scores are the same to the bit.

        Raises:
          CheckpointError: the folder holds no detector, or the detector is unfinished, damaged, of another version, or
            made with another feature network.
        """
        return read_detector(directory, cls, network)

    def _content(self) -> dict[str, Any]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "scorer"}
        color = "gray" if self.channels == 1 else "rgb"
        return {**fields, "summary": self.summary(), "color": color}

    def _shown(self, found: InspectedImage) -> np.ndarray:
        if found.pixels is None:
            raise ArgumentError("an image without a heat map", "one", "ask `inspect` for its pixels", field="found")
        return self.heat_map(found.pixels, smooth=True)

    @functools.cached_property
    def _judge(self) -> Judge:
        return Judge(
            term=self.term,
            top_k=self.top_k,
            calibration=self.calibration,
            threshold=self.threshold,
            review_threshold=self.review_threshold,
            counting=Counting(self.ignored, by_name(self.named_regions)),
            ignores=self.ignored is not None,
            regions=[(region, region.calibration(self.term, self.scorer.unit)) for region in self.named_regions],
        )
