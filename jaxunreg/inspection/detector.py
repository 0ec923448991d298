"""A detector: a scorer with all that its verdicts rest on, and its verdicts."""

import dataclasses
import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.decomposition import Decomposition, Term
from jaxunreg.errors import ArgumentTypeError
from jaxunreg.features.network import FeatureNetwork
from jaxunreg.inspection.calibration import Calibration, calibrate
from jaxunreg.inspection.checks import check_arithmetic, check_bits, check_held_out, check_scoring
from jaxunreg.inspection.detector_folder import read_detector, save_detector, write_detector
from jaxunreg.inspection.held_out import HeldOutScores, PixelLevels, kept_scores
from jaxunreg.inspection.remembered_files import remembered_hashes
from jaxunreg.inspection.smoothing import smoothed
from jaxunreg.inspection.verdict import Box, ImageVerdict, InspectedImage
from jaxunreg.scoring.aggregation import mean_of_highest
from jaxunreg.scoring.map_scorer import MapScorer
from jaxunreg.scoring.patches import PatchGrid


@dataclass(frozen=True, eq=False)
class AnomalyDetector:
    """A scorer, calibrated on held-out normal images; made by `fit_detector` or `calibrate_detector`.

    With another term, `top_k` or false-positive rate it is calibrated anew from what it keeps of the held-out images:
    `dataclasses.replace(detector, top_k=3)`. Another stride needs `calibrate_detector`, since it changes the scores.

    Attributes:
      scorer: D, A and M of patches of pixels, or of places of a map of features.
      held_out: the highest patch scores of each held-out normal image, for each term.
      pixel_levels: the median and the 99.9th percentile of the pixels of normal heat maps, for each term.
      stride: pixels from one patch to the next; with features that of their network.
      term: the score.
      top_k: an image's score is the mean of its `top_k` highest patches, or of all where it has fewer.
      false_positive_rate: of the verdicts.
      bits: of the images it was made of: 8, 16, or 32 for floating point.
      arithmetic: what the held-out images were scored in, `scorer.arithmetic`.
      record: what it was made of and how, JSON data.

    Raises:
      ArgumentTypeError: a field is of a kind that it cannot have.
      ArgumentError: a field is out of its range, the model's images are not square, or so few held-out images cannot
        support the rate.
    """

    scorer: MapScorer
    held_out: HeldOutScores
    pixel_levels: PixelLevels
    stride: int
    term: Term = "m"
    top_k: int = 1
    false_positive_rate: float = 0.05
    bits: int = 8
    arithmetic: str = "float32"
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scorer.check_stride("stride", self.stride)
        check_scoring(self.term, self.top_k)
        check_bits(self.bits)
        check_arithmetic(self.scorer.arithmetic, self.arithmetic)
        check_held_out(self.held_out, self.pixel_levels)
        if not isinstance(self.record, Mapping):
            kind = type(self.record).__name__
            raise ArgumentTypeError(f"a record of type {kind}", "a dict of JSON data", "pass a dict", field="record")
        self.calibration.threshold(self.false_positive_rate)

    @property
    def smallest_image(self) -> int:
        """Height and width that an image has at least, in pixels."""
        return self.scorer.smallest_image

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for RGB."""
        return self.scorer.channels

    @functools.cached_property
    def calibration(self) -> Calibration:
        """Of the image scores of the term."""
        unit = self.scorer.unit
        return calibrate([float(mean_of_highest(row, self.top_k)) for row in self.held_out[self.term]], unit=unit)

    @property
    def threshold(self) -> float:
        """The score above which an image is anomalous, in nats."""
        return self.calibration.threshold(self.false_positive_rate)

    def summary(self) -> str:
        """The threshold, what it rests on and what it promises, in one sentence."""
        return self.calibration.summary(self.false_positive_rate)

    def image_score(self, patches: Float32[np.ndarray, "rows columns"]) -> float:
        """An image's score from its patches': the mean of the `top_k` highest, or of all where it has fewer."""
        return float(mean_of_highest(kept_scores(patches, self.top_k), self.top_k))

    def inspect(
        self, images: Iterable[np.ndarray], *, pixels: bool = False, heat_map_stride: int | None = None
    ) -> Iterator[InspectedImage]:
        """Each image with its verdict and, on request, the terms of its pixels.

        Images of any sizes are scored by one compiled program. Each is taken from `images` once. Where the heat maps
        have the detector's stride, verdicts and heat maps come from one pass of the network.

        Args:
          images: `[height, width, channels]` each, at least as large as a patch; uint8, or floating point in [0, 1],
            all in one dtype, e.g. `ImageFiles`. They are read one after another, a few ahead of those that are yielded.
          pixels: whether to give the terms of the pixels too.
          heat_map_stride: pixels from one patch to the next in them, at most the size of a patch; default: the
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
                yield image

        for maps in self.scorer.maps_each(noted(), stride=self.stride, pixels=pixels, pixel_stride=stride):
            yield InspectedImage(waiting.popleft(), self._verdict(maps.patches, maps.grid), maps.pixels)

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
        """The term for each pixel of images of any sizes, by one compiled program.

        Args:
          images: see `inspect`.
          stride: pixels from one patch to the next, at most the size of a patch; default: the detector's.
          smooth: whether to smooth the map for the eye, by a Gaussian whose standard deviation is `smoothing`.

        Yields:
          For each image, in order, float64 `[height, width]`, in nats a pixel, higher is more anomalous.

        Raises:
          TypeError, ValueError: the errors of `heat_map`.
        """
        for maps in self.scorer.maps_each(images, stride=self.stride if stride is None else stride):
            assert maps.pixels is not None  # for mypy: they were asked for
            yield self.heat_map(maps.pixels, smooth=smooth)

    def heat_map(self, pixels: Decomposition, *, smooth: bool = False) -> Float64[np.ndarray, "height width"]:
        """The heat map of one image: the detector's term of its pixels.

        Args:
          pixels: of an image, from `inspect`.
          smooth: see `heat_maps`.

        Returns:
          Float64 `[height, width]`, in nats a pixel, higher is more anomalous.
        """
        heat = np.asarray(getattr(pixels, self.term))
        return smoothed(heat, self.smoothing) if smooth else heat

    @property
    def smoothing(self) -> float:
        """Standard deviation by which shown heat maps are smoothed, in pixels."""
        return self.scorer.smoothing

    @property
    def heat_scale(self) -> tuple[float, float]:
        """The range of colours for smoothed heat maps, in nats a pixel, the same for all images.

        It begins at the median of the held-out normal images' pixels and has their 99.9th percentile in its middle.
        """
        low, high = self.pixel_levels[self.term]
        return low, low + 2 * (high - low)

    def has_seen(self, images: ImageFiles) -> Bool[np.ndarray, " n"]:
        """Whether each file was among those that the detector was trained or calibrated on, by its bytes."""
        seen = set(self.record.get("files", ()))
        if not seen:
            return np.zeros(len(images), bool)
        return np.array([remembered in seen for remembered in remembered_hashes(images)], bool)

    def save(self, directory: str | Path) -> None:
        """Save the detector: what was learned, calibration and record together, without pickle; whole or not at all.

        Of a feature network its name and SHA-256 are saved, and not its weights.

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

    @classmethod
    def load(cls, directory: str | Path, *, network: FeatureNetwork | None = None) -> "AnomalyDetector":
        """Load what `save`, or `fit_detector` with a directory, wrote.

        Args:
          directory: the folder.
          network: the feature network that the detector was made with, if that was one of the user's own.

        Returns:
          A detector that scores to the same bits.

        Raises:
          CheckpointError: the folder holds no detector, or one that is unfinished, damaged, of another version, or made
            with another feature network.
        """
        return read_detector(directory, cls, network)

    def _content(self) -> dict[str, Any]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "scorer"}
        color = "gray" if self.channels == 1 else "rgb"
        return {**fields, "summary": self.summary(), "color": color}

    def _verdict(self, maps: Decomposition, grid: PatchGrid) -> ImageVerdict:
        patches = np.asarray(getattr(maps, self.term))
        score = self.image_score(patches)
        row, column = np.unravel_index(int(patches.argmax()), patches.shape)
        return ImageVerdict(
            score=score,
            p_value=float(self.calibration.p_values([score])[0]),
            threshold=self.threshold,
            is_anomalous=score > self.threshold,
            worst=Box(int(grid.rows[row]), int(grid.columns[column]), grid.height, grid.width),
            maps=maps,
        )
