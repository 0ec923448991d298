"""A detector: a trained model with all that its verdicts rest on, in one folder; and how one is made."""

import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Float32, Float64

from jaxunreg.autoencoder import Autoencoder
from jaxunreg.calibration import Calibration, calibrate, images_needed
from jaxunreg.checkpoint import CheckpointError, fingerprint, load_model, save_model, to_json
from jaxunreg.datasets.image_files import ImageFiles
from jaxunreg.decomposition import Decomposition
from jaxunreg.files import replacing, temporary_sibling
from jaxunreg.patches import patch_grid
from jaxunreg.progress import with_bar
from jaxunreg.scoring import Scorer, Term, heat_map_each, highest_scores, make_scorer, score_each

FORMAT = 1
FILE = "detector.json"
MODEL = "model"
TRAINING = "training"

MOST_TOP_K = 16
"""The patches of each held-out image whose scores a detector keeps, so that `top_k` may be chosen later."""

# Of these the levels of normal pixels are taken: enough for a 99.9th percentile, however large the images.
_PIXELS_AN_IMAGE = 20_000
# A pixel's term is that of one draw of its noise, and the eye looks for what goes on around it. In patches.
_SMOOTHING = 1 / 32

LETTERS = {"nelbo": "L", "d": "D", "a": "A", "m": "M"}
"""The names that the terms have in the paper."""


class Box(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class ImageVerdict(NamedTuple):
    """What a detector says of one image.

    Attributes:
      score: of its most anomalous patch or patches, in nats; higher is more anomalous.
      p_value: share of normal images that score as high or higher, as the held-out images tell; see `Calibration`.
      threshold: the score above which an image is anomalous.
      is_anomalous: whether it is.
      worst: the most anomalous patch.
      maps: D, A and M of each patch, float32 `[rows, columns]`, in nats.
    """

    score: float
    p_value: float
    threshold: float
    is_anomalous: bool
    worst: Box
    maps: Decomposition


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
        check_scoring(self.term, self.stride, _patch(self.scorer), self.top_k)
        missing = set(get_args(Term)) - (set(self.held_out) & set(self.pixel_levels))
        if missing:
            raise ValueError(f"got held-out scores of {sorted(self.held_out)}; expected those of {sorted(missing)} too")
        self.calibration.threshold(self.false_positive_rate)

    @property
    def patch(self) -> int:
        """Height and width of a patch, the model's."""
        return _patch(self.scorer)

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
        return _mean_of_highest(_highest(patches), self.top_k)

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
            yield _smoothed(heat, self.smoothing) if smooth else heat

    @property
    def smoothing(self) -> float:
        """Of heat maps that are shown, in pixels: 3 for patches of 96."""
        return self.patch * _SMOOTHING

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


def calibrate_detector(
    scorer: Scorer,
    images: Sequence[np.ndarray],
    *,
    stride: int,
    term: Term = "m",
    top_k: int = 1,
    false_positive_rate: float = 0.05,
    bits: int = 8,
    record: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> AnomalyDetector:
    """A detector of a model that is trained already.

    Args:
      scorer: from `make_scorer`.
      images: normal images that the model was not trained on, one a part; see `AnomalyDetector.scores`.
      stride: pixels from one patch to the next.
      term: the score.
      top_k: see `AnomalyDetector`.
      false_positive_rate: wanted share of normal images above the threshold.
      bits: see `AnomalyDetector`.
      record: see `AnomalyDetector`.
      progress: show a progress bar.

    Returns:
      The detector.

    Raises:
      TypeError, ValueError: see `score_image` and `AnomalyDetector`.
    """
    check_rate(len(images), false_positive_rate)
    check_scoring(term, stride, _patch(scorer), top_k)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in get_args(Term)}
    maps = score_each(scorer, iter(images), stride=stride)
    for found in with_bar(maps, len(images), "calibrating", visible=progress):
        for name, row in rows.items():
            row.append(_highest(getattr(found, name)))
    pixels: dict[str, list[np.ndarray]] = {name: [] for name in get_args(Term)}
    heats = heat_map_each(scorer, iter(images), stride=stride)
    for found in with_bar(heats, len(images), "calibrating heat maps", visible=progress):
        for name, part in pixels.items():
            values = _smoothed(getattr(found, name), _patch(scorer) * _SMOOTHING).ravel()
            part.append(values[:: 1 + values.size // _PIXELS_AN_IMAGE])
    return AnomalyDetector(
        scorer,
        {name: np.stack(row) for name, row in rows.items()},
        {name: _levels(np.concatenate(part)) for name, part in pixels.items()},
        stride=stride,
        term=term,
        top_k=top_k,
        false_positive_rate=false_positive_rate,
        bits=bits,
        record=record or {},
    )


def check_rate(held_out_images: int, false_positive_rate: float, advice: str = "add images, or raise the rate") -> None:
    """Refuse a false-positive rate that so few held-out images cannot support.

    Raises:
      ValueError: as said.

    >>> check_rate(10, 0.05)
    Traceback (most recent call last):
    ValueError: got 10 held-out normal images; expected at least 19 for a false_positive_rate of 0.05; add images, or...
    """
    needed = images_needed(false_positive_rate)
    if held_out_images < needed:
        raise ValueError(
            f"got {held_out_images} held-out normal images; expected at least {needed} for a false_positive_rate of "
            f"{false_positive_rate:g}; {advice}"
        )


def check_scoring(term: str, stride: int, patch: int, top_k: int) -> None:
    """Check what an `AnomalyDetector` and a `DetectorConfig` share.

    Raises:
      ValueError: a value out of its range.
    """
    if term not in get_args(Term):
        raise ValueError(f"got term={term!r}; expected one of {list(get_args(Term))}")
    check_stride("stride", stride, patch)
    if not 1 <= top_k <= MOST_TOP_K:
        raise ValueError(f"got top_k={top_k}; expected 1 to {MOST_TOP_K}")


def check_stride(name: str, stride: int, patch: int) -> None:
    """Refuse a stride that is no step, or with which pixels would be in no patch.

    Raises:
      ValueError: as said, by the name of the argument.

    >>> check_stride("heat_map_stride", 0, 96)
    Traceback (most recent call last):
    ValueError: got heat_map_stride=0; expected 1 to 96, the size of a patch, since a longer one leaves pixels unseen
    """
    if not 1 <= stride <= patch:
        raise ValueError(
            f"got {name}={stride}; expected 1 to {patch}, the size of a patch, since a longer one leaves pixels unseen"
        )


def _patch(scorer: Scorer) -> int:
    """Height and width of the model's images, or an error where they differ."""
    height, width, _ = scorer.model.config.image_shape
    if height != width:
        raise ValueError(f"got a model of {height}x{width} images; expected as many rows as columns for a detector")
    return height


def _highest(patches: np.ndarray) -> Float32[np.ndarray, " most_top_k"]:
    """As many scores as are kept of an image."""
    return highest_scores(patches, MOST_TOP_K).astype(np.float32)


def _smoothed(heat: np.ndarray, sigma: float) -> np.ndarray:
    import scipy.ndimage  # slow to import, and no score needs it

    return scipy.ndimage.gaussian_filter(heat, sigma, mode="nearest")


def _levels(pixels: np.ndarray) -> tuple[float, float]:
    median, high = np.quantile(pixels, (0.5, 0.999))
    # Where all pixels are alike, as those of D nearly are, a scale must still have two ends.
    return float(median), float(max(high, median + 1e-6 * max(1.0, abs(median))))


def _mean_of_highest(highest: np.ndarray, top_k: int) -> float:
    return float(np.nanmean(highest[:top_k], dtype=np.float64))


def _padded(rows: Sequence[Sequence[float]]) -> np.ndarray:
    if not rows or not all(rows):
        raise ValueError("a held-out image without a score")
    return np.stack([_highest(np.array(row, np.float32)) for row in rows])


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
