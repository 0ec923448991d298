"""A detector: a trained model with all that its verdicts rest on, in one folder; and how one is made."""

import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float32, Float64

from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.decomposition import Term
from jaxunreg.errors import CheckpointError
from jaxunreg.files import replacing, temporary_sibling
from jaxunreg.inspection.calibration import Calibration, calibrate
from jaxunreg.inspection.checks import MOST_TOP_K, check_scoring, patch_of
from jaxunreg.inspection.verdict import Box, ImageVerdict
from jaxunreg.models.autoencoder import Autoencoder
from jaxunreg.scoring.aggregation import highest_scores
from jaxunreg.scoring.each import heat_map_each, score_each
from jaxunreg.scoring.patches import patch_grid
from jaxunreg.scoring.scorer import Scorer, make_scorer
from jaxunreg.serialization import fingerprint, to_json
from jaxunreg.training.saved_model import load_model, save_model

FORMAT = 1

FILE = "detector.json"

MODEL = "model"

TRAINING = "training"

# A pixel's term is that of one draw of its noise, and the eye looks for what goes on around it. In patches.
SMOOTHING = 1 / 32

PixelLevels: TypeAlias = Mapping[str, tuple[float, float]]
"""For each term the median and the 99.9th percentile of the pixels of the held-out images' smoothed heat maps, nats."""

HeldOutScores: TypeAlias = Mapping[str, Float32[np.ndarray, "images patches"]]
"""For each term the highest patch scores of each held-out image, descending; NaN where it has fewer patches."""


@dataclass(frozen=True, eq=False)
class AnomalyDetector:
    """A trained model, calibrated on held-out normal images; made by `fit_detector` or `calibrate_detector`.

    With another term, `top_k` or false-positive rate it is calibrated anew from what it keeps of the held-out images:
    `dataclasses.replace(detector, top_k=3)`. Another stride needs `calibrate_detector`, since it changes the scores.

    Attributes:
      scorer: the model.
      held_out: the highest patch scores of each held-out normal image, for each term.
      pixel_levels: what the pixels of normal heat maps reach, for each term.
      stride: pixels from one patch to the next.
      term: the score.
      top_k: an image's score is the mean of its so many highest patches, or of all where it has fewer.
      false_positive_rate: of the verdicts.
      bits: of the images it was made of: 8, 16, or 32 for floating point.
      record: what it was made of and how, JSON data.

    Raises:
      ValueError: a field out of its range, a model of images that are not square, or a rate that so few held-out images
        cannot support.
    """

    scorer: Scorer
    held_out: HeldOutScores
    pixel_levels: PixelLevels
    stride: int
    term: Term = "m"
    top_k: int = 1
    false_positive_rate: float = 0.05
    bits: int = 8
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_scoring(self.term, self.stride, patch_of(self.scorer), self.top_k)
        missing = set(get_args(Term)) - (set(self.held_out) & set(self.pixel_levels))
        if missing:
            raise ValueError(f"got held-out scores of {sorted(self.held_out)}; expected those of {sorted(missing)} too")
        self.calibration.threshold(self.false_positive_rate)

    @property
    def patch(self) -> int:
        """Height and width of a patch, the model's."""
        return patch_of(self.scorer)

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for RGB."""
        return self.scorer.model.config.image_shape[2]

    @functools.cached_property
    def calibration(self) -> Calibration:
        """Of the image scores of the term."""
        # An autoencoder's M is a mean squared error.
        unit = "" if isinstance(self.scorer.model, Autoencoder) else "nats"
        return calibrate([_mean_of_highest(row, self.top_k) for row in self.held_out[self.term]], unit=unit)

    @property
    def threshold(self) -> float:
        """The score above which an image is anomalous, in nats."""
        return self.calibration.threshold(self.false_positive_rate)

    def summary(self) -> str:
        """The threshold, what it rests on and what it promises, in one sentence."""
        return self.calibration.summary(self.false_positive_rate)

    def image_score(self, patches: Float32[np.ndarray, "rows columns"]) -> float:
        """An image's score from its patches': the mean of the `top_k` highest, or of all where it has fewer."""
        return _mean_of_highest(kept_scores(patches), self.top_k)

    def scores(self, images: Iterable[np.ndarray]) -> Iterator[ImageVerdict]:
        """Score images of any sizes, by one compiled program.

        Args:
          images: `[height, width, channels]` each, at least as large as a patch; uint8, or floating point in [0, 1],
            all in one dtype, e.g. `ImageFiles`. Read one after another.

        Yields:
          For each image, in order, its score, p-value and verdict, and the maps of its patches.

        Raises:
          TypeError, ValueError: see `score_image`.
        """
        sizes: list[tuple[int, int]] = []

        def noted() -> Iterator[np.ndarray]:
            for image in images:
                sizes.append(np.shape(image)[:2])
                yield image

        for maps in score_each(self.scorer, noted(), stride=self.stride):
            patches = getattr(maps, self.term)
            score = self.image_score(patches)
            grid = patch_grid(*sizes.pop(0), patch=(self.patch, self.patch), stride=self.stride)
            row, column = np.unravel_index(int(patches.argmax()), patches.shape)
            yield ImageVerdict(
                score=score,
                p_value=float(self.calibration.p_values([score])[0]),
                threshold=self.threshold,
                is_anomalous=score > self.threshold,
                worst=Box(int(grid.rows[row]), int(grid.columns[column]), self.patch, self.patch),
                maps=maps,
            )

    def heat_maps(
        self, images: Iterable[np.ndarray], *, stride: int | None = None, smooth: bool = False
    ) -> Iterator[Float64[np.ndarray, "height width"]]:
        """The term for each pixel of images of any sizes, by one compiled program; see `heat_map_each`.

        Args:
          images: see `scores`.
          stride: pixels from one patch to the next, at most the size of a patch; default: the detector's.
          smooth: whether to smooth the map for the eye, by a Gaussian whose standard deviation is `smoothing`.

        Yields:
          For each image, in order, float64 `[height, width]`, in nats a pixel, higher is more anomalous.

        Raises:
          TypeError, ValueError: see `heat_map`.
        """
        for maps in heat_map_each(self.scorer, images, stride=self.stride if stride is None else stride):
            heat = getattr(maps, self.term)
            yield smoothed(heat, self.smoothing) if smooth else heat

    @property
    def smoothing(self) -> float:
        """Of heat maps that are shown, in pixels: 3 for patches of 96."""
        return self.patch * SMOOTHING

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
        return np.array([remembered in seen for remembered in remembered_hashes(images)], bool)

    def save(self, directory: str | Path) -> None:
        """Save the detector: model, calibration and record together, without pickle; whole or not at all.

        Args:
          directory: a folder that does not exist yet, or is empty.

        Raises:
          CheckpointError: the folder is not empty or cannot be written.
        """
        target = Path(directory).absolute()
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CheckpointError(f"got {directory}, which is already used; expected a new or empty folder")
        temporary = temporary_sibling(target)
        try:
            temporary.mkdir(parents=True)
            self.write_into(temporary)
            os.replace(temporary, target)
        except OSError as error:
            raise cannot_write(target, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def write_into(self, directory: Path) -> None:
        """Put the model and then `detector.json`, without which a folder is no detector, into a folder that exists.

        What is called `model` there is replaced. `save` is for users.
        """
        temporary = directory / f".{MODEL}.tmp"
        for leftover in (temporary, directory / MODEL):
            shutil.rmtree(leftover, ignore_errors=True)
        save_model(temporary, self.scorer.model, self.scorer.variables)
        os.replace(temporary, directory / MODEL)
        content = {
            "format": FORMAT,
            "term": self.term,
            "stride": self.stride,
            "top_k": self.top_k,
            "false_positive_rate": self.false_positive_rate,
            "summary": self.summary(),
            "color": "gray" if self.channels == 1 else "rgb",
            "bits": self.bits,
            "model_sha256": fingerprint(self.scorer.variables),
            "record": self.record,
            "pixel_levels": self.pixel_levels,
            "held_out": {
                term: [[float(value) for value in row[~np.isnan(row)]] for row in rows]
                for term, rows in self.held_out.items()
            },
        }
        with replacing(directory / FILE) as file:
            file.write_text(json.dumps(to_json(content), allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> "AnomalyDetector":
        """Load what `save`, or `fit_detector` with a directory, wrote.

        Args:
          directory: the folder.

        Returns:
          A detector that scores to the same bits.

        Raises:
          CheckpointError: there is none, or it is unfinished, damaged or of another version.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise CheckpointError(f"got {directory}, which is not a folder; expected one that `jaxunreg fit` wrote")
        if not (directory / FILE).exists():
            if (directory / TRAINING).is_dir():
                raise CheckpointError(
                    f"got {directory}, whose training has not ended; expected a finished detector; start `jaxunreg "
                    "fit` again with that output to go on"
                )
            raise CheckpointError(f"got {directory}, without a {FILE}; expected a folder that `jaxunreg fit` wrote")
        try:
            content = json.loads((directory / FILE).read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}, expected {FORMAT}")
            fields = {name: content[name] for name in ("stride", "term", "top_k", "false_positive_rate", "bits")}
            rows = {term: _padded(content["held_out"][term]) for term in get_args(Term)}
            levels = {term: (float(low), float(high)) for term, (low, high) in content["pixel_levels"].items()}
            wanted, record = content["model_sha256"], content["record"]
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise _damaged(directory / FILE, f"{type(error).__name__}: {error}") from error
        model, variables = load_model(directory / MODEL)
        if fingerprint(variables) != wanted:
            raise _damaged(directory, f"{MODEL} is not the model that {FILE} was written with")
        try:
            return cls(make_scorer(model, variables), rows, levels, record=record, **fields)
        except (TypeError, ValueError) as error:
            raise _damaged(directory / FILE, str(error)) from error


def kept_scores(patches: np.ndarray) -> Float32[np.ndarray, " most_top_k"]:
    """As many scores as are kept of an image."""
    return highest_scores(patches, MOST_TOP_K).astype(np.float32)


def smoothed(heat: np.ndarray, sigma: float) -> np.ndarray:
    import scipy.ndimage  # slow to import, and no score needs it

    return scipy.ndimage.gaussian_filter(heat, sigma, mode="nearest")


def _mean_of_highest(highest: np.ndarray, top_k: int) -> float:
    return float(np.nanmean(highest[:top_k], dtype=np.float64))


def _padded(rows: Sequence[Sequence[float]]) -> np.ndarray:
    if not rows or not all(rows):
        raise ValueError("a held-out image without a score")
    return np.stack([kept_scores(np.array(row, np.float32)) for row in rows])


def remembered_hashes(images: ImageFiles) -> list[str]:
    """What a detector remembers of each file, 16 hexadecimal digits of its SHA-256."""
    return [digest[:16] for digest in images.hashes]


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"got {path}, which cannot be read: {reason}; expected what `jaxunreg fit` of this version wrote; copy it "
        "again, or fit again into another folder"
    )


def cannot_write(target: Path | str, error: object) -> CheckpointError:
    return CheckpointError(
        f"got {target}, which cannot be written: {error}; expected a folder with room on a disk; choose another one"
    )
