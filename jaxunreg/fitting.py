"""From normal images to a detector: a VAE trained on random crops, calibrated on images that are held out."""

import contextlib
import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxunreg.batches import image_sizes
from jaxunreg.calibration import images_needed
from jaxunreg.checkpoint import CheckpointError, alone_in, fingerprint, to_json
from jaxunreg.datasets.image_files import ImageFiles, held_out
from jaxunreg.detector import (
    FILE,
    TRAINING,
    AnomalyDetector,
    calibrate_detector,
    cannot_write,
    check_scoring,
    remembered_hashes,
)
from jaxunreg.files import replacing
from jaxunreg.images import check_images
from jaxunreg.provenance import device, versions
from jaxunreg.scoring import Scorer, Term, make_scorer
from jaxunreg.training import FREE_TO_CHANGE, TrainConfig, fit
from jaxunreg.typing import PRNGKey
from jaxunreg.vae import VAE, VAEConfig


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """How a detector is made of a folder of normal images.

    Attributes:
      patch: height and width of the crops that the model is trained on and of the patches that are scored, in pixels;
        a multiple of 2**depth. No image may be smaller.
      depth: convolution layers of the encoder and of the decoder.
      base_channels: channels of the first feature map. Half of them train about three times as fast.
      latent_dim: dimensions of the latent space.
      stride: pixels from one scored patch to the next. Half of it takes four times as long.
      term: the score. m is the unregularized score; nelbo is the sum of d, a and m.
      top_k: an image's score is the mean of its so many most anomalous patches.
      calibration_fraction: share of the normal parts that are held out from training and set the threshold.
      false_positive_rate: share of normal images that may be called anomalous. 0.05 needs 19 held-out parts, 0.01
        needs 99.
      seed: of the choice of the held-out parts, the initial weights, the crops and the noise.
      train: how the model is trained.

    Raises:
      ValueError: a field out of its range.

    >>> DetectorConfig(patch=100)
    Traceback (most recent call last):
    ValueError: got patch=100 with depth=5; expected a multiple of 2**5 = 32, e.g. 96
    """

    patch: int = 96
    depth: int = 5
    base_channels: int = 32
    latent_dim: int = 50
    stride: int = 16
    term: Term = "m"
    top_k: int = 1
    calibration_fraction: float = 0.25
    false_positive_rate: float = 0.05
    seed: int = 0
    train: TrainConfig = TrainConfig(
        steps=1_000,
        batch_size=64,
        learning_rate=3e-5,
        warmup_steps=100,
        start="linear",
        batch_statistics="fixed",
        checkpoint_every=200,
    )

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"got depth={self.depth}; expected at least 1")
        step = 2**self.depth
        if self.patch < 1 or self.patch % step:
            nearest = max(1, round(self.patch / step)) * step
            raise ValueError(
                f"got patch={self.patch} with depth={self.depth}; expected a multiple of 2**{self.depth} = {step}, "
                f"e.g. {nearest}"
            )
        self.model(channels=1)
        check_scoring(self.term, self.stride, self.patch, self.top_k)
        if not 0.0 < self.calibration_fraction < 1.0:
            raise ValueError(
                f"got calibration_fraction={self.calibration_fraction}; expected a number between 0 and 1, e.g. 0.25"
            )
        images_needed(self.false_positive_rate)
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"got seed={self.seed}; expected an integer of 64 bits, -2**63 to 2**63 - 1")

    def model(self, channels: int) -> VAE:
        """The network for gray (1) or RGB (3) images."""
        return VAE(
            VAEConfig(
                image_shape=(self.patch, self.patch, channels),
                depth=self.depth,
                base_channels=self.base_channels,
                latent_dim=self.latent_dim,
            )
        )


def fit_detector(
    images: ImageFiles | Sequence[np.ndarray],
    config: DetectorConfig,
    *,
    key: PRNGKey,
    directory: str | Path | None = None,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
) -> AnomalyDetector:
    """Train a VAE on random crops of normal images, and calibrate it on normal images that are held out.

    Held out are whole groups (`ImageFile.group`: all photographs of one part; parts that share an image, byte by byte,
    are one). The threshold rests on one image of each, chosen by the seed: several images of one part are alike, and
    would promise more than they can keep.

    Args:
      images: normal images of any sizes from a patch on, one channel or three.
      config: see `DetectorConfig`.
      key: PRNG key of the training.
      directory: where the detector goes, with its training in `training/`. A training that was stopped there goes on;
        a detector that is there and was made of the same images, config and key is loaded. Without it nothing is
        written.
      progress: show progress bars.
      record: what else to note of how the detector was made, JSON data; what this function notes goes before it.

    Returns:
      The detector.

    Raises:
      TypeError, ValueError: see `fit`; also too few images for the false-positive rate, before anything is trained.
      NonFiniteLossError: see `fit`.
      CheckpointError: the directory cannot be written, another run is writing into it, or it holds something else, or
        a detector or training of other images, another config or another key.

    >>> import jax, jaxunreg as ju
    >>> rng = np.random.default_rng(0)
    >>> images = [rng.integers(0, 256, (12, 16, 1), np.uint8) for _ in range(16)]
    >>> sizes = dict(patch=8, depth=2, base_channels=4, latent_dim=3, stride=4)
    >>> config = ju.DetectorConfig(**sizes, false_positive_rate=0.2, train=ju.TrainConfig(steps=2, batch_size=8))
    >>> detector = ju.fit_detector(images, config, key=jax.random.key(0), progress=False)
    >>> detector.calibration.count
    4
    >>> [verdict] = detector.scores([np.tile(np.array([[0, 255], [255, 0]], np.uint8), (5, 6))[..., None]])
    >>> verdict.maps.m.shape, verdict.is_anomalous, verdict.p_value
    ((2, 2), True, 0.2)
    >>> dataclasses.replace(detector, top_k=2).threshold < detector.threshold
    True
    """
    groups, names = _groups_and_names(images)
    channels = _check_sizes(images, names, config.patch)
    hashes = _hashes(images)
    groups = _joined(groups, hashes)
    copies = len(hashes) - len(set(hashes))
    out = _hold_out(groups, config, copies)
    chosen = _one_of_each(groups, names, out, config.seed)
    made_of = to_json(
        {
            "config": dataclasses.asdict(config),
            "key": np.asarray(jax.random.key_data(key)).tolist(),
            "images": len(images),
            "fingerprint": images.fingerprint if isinstance(images, ImageFiles) else fingerprint(list(images)),
        }
    )
    target = None if directory is None else Path(directory)
    if target is not None:
        if (target / FILE).exists():
            detector = AnomalyDetector.load(target)
            _check_same(target, detector.record, made_of)
            return detector
        _make_folder(target)
    with contextlib.nullcontext() if target is None else alone_in(target / TRAINING):
        if target is not None:
            _note_beginning(target, made_of)
        scorer = _train(images, ~out, config, channels, key, target, progress)
        if target is not None:
            _write_note(target, made_of)
        detector = calibrate_detector(
            scorer,
            _select(images, chosen),
            stride=config.stride,
            term=config.term,
            top_k=config.top_k,
            false_positive_rate=config.false_positive_rate,
            bits=images.bits if isinstance(images, ImageFiles) else 8 if images[0].dtype == np.uint8 else 32,
            record={
                **to_json(dict(record or {})),
                **made_of,
                "parts": len(set(groups)),
                "copies": copies,
                "trained_on": int((~out).sum()),
                "held_out": int(out.sum()),
                "calibrated_on": len(chosen),
                "versions": versions(),
                "device": device(),
                "files": hashes if isinstance(images, ImageFiles) else [],
            },
            progress=progress,
        )
        if target is not None:
            try:
                detector.write_into(target)
            except OSError as error:
                raise cannot_write(target, error) from error
            # What was needed to go on.
            shutil.rmtree(target / TRAINING / "checkpoints", ignore_errors=True)
        return detector


def _train(
    images: ImageFiles | Sequence[np.ndarray],
    chosen: np.ndarray,
    config: DetectorConfig,
    channels: int,
    key: PRNGKey,
    target: Path | None,
    progress: bool,
) -> Scorer:
    model = config.model(channels)
    state = fit(
        model,
        _select(images, np.flatnonzero(chosen).tolist()),
        config.train,
        key=key,
        directory=None if target is None else target / TRAINING,
        progress=progress,
    )
    return make_scorer(model, state.variables)


def _hold_out(groups: Sequence[str], config: DetectorConfig, copies: int = 0) -> np.ndarray:
    """Which images are held out, or an error that says what would do."""
    parts = len(set(groups))
    needed, rate = images_needed(config.false_positive_rate), config.false_positive_rate
    besides = f" ({copies} of {len(groups)} images are copies of others, byte by byte)" if copies else ""
    if parts < 2:
        raise ValueError(
            f"got {parts} normal part{besides}; expected at least {needed + 1}, to train on and to calibrate with"
        )
    out = held_out(groups, config.calibration_fraction, seed=config.seed)
    count = len({group for group, is_out in zip(groups, out, strict=True) if is_out})
    if count < needed:
        # Rounded up to two digits, and never so far that less is left to train on than is held out.
        fraction = math.ceil(100 * needed / parts) / 100
        ways = [f"raise calibration_fraction to {fraction:g}"] if fraction <= 0.5 else []
        ways += [f"raise false_positive_rate to {math.ceil(1000 / (count + 1)) / 1000:g}"]
        ways += [f"give {math.ceil(needed / config.calibration_fraction)} normal parts"]
        raise ValueError(
            f"got {parts} normal parts{besides}, of which calibration_fraction={config.calibration_fraction:g} holds "
            f"out {count}; expected at least {needed} held-out parts for a false_positive_rate of {rate:g}; "
            f"{', or '.join(ways)}"
        )
    return out


def _one_of_each(groups: Sequence[str], names: Sequence[str], out: np.ndarray, seed: int) -> list[int]:
    """One held-out image of each group, by the hash of its name, so that it depends on neither order nor platform."""
    ranked = sorted(
        np.flatnonzero(out).tolist(), key=lambda k: hashlib.sha256(f"{seed}/{names[k]}".encode()).digest(), reverse=True
    )
    return sorted({groups[k]: k for k in ranked}.values())


def _groups_and_names(images: ImageFiles | Sequence[np.ndarray]) -> tuple[list[str], list[str]]:
    if isinstance(images, ImageFiles):
        return [file.group for file in images.files], [file.path.name for file in images.files]
    return [str(k) for k in range(len(images))], [f"image {k}" for k in range(len(images))]


def _hashes(images: ImageFiles | Sequence[np.ndarray]) -> list[str]:
    if isinstance(images, ImageFiles):
        return remembered_hashes(images)
    return [fingerprint(image) for image in images]


def _joined(groups: Sequence[str], hashes: Sequence[str]) -> list[str]:
    """The group of each image, where groups that share an image are one, by the first of their names.

    >>> _joined(["c", "b", "a", "d"], ["1", "2", "1", "3"])
    ['a', 'b', 'a', 'd']
    """
    into = {group: group for group in groups}

    def name(group: str) -> str:
        while into[group] != group:
            group = into[group]
        return group

    first: dict[str, str] = {}
    for group, digest in zip(groups, hashes, strict=True):
        low, high = sorted((name(group), name(first.setdefault(digest, group))))
        into[high] = low
    return [name(group) for group in groups]


def _check_sizes(images: ImageFiles | Sequence[np.ndarray], names: Sequence[str], patch: int) -> int:
    """The number of channels, once the images are found to be large enough."""
    if not len(images):
        raise ValueError("got no image; expected normal images to train on and to calibrate with")
    sizes = image_sizes(images)
    small = np.flatnonzero((sizes < patch).any(axis=1))
    if small.size:
        height, width = sizes[small[0]]
        more = f" (and {small.size - 1} more)" if small.size > 1 else ""
        raise ValueError(
            f"{names[small[0]]} has {height}x{width} pixels{more}; expected at least a patch of {patch}x{patch}; leave "
            "it out, or choose a smaller patch"
        )
    check_images(images[0], (None, None, None))
    channels = images[0].shape[-1]
    if channels not in (1, 3):
        raise ValueError(f"got images of {channels} channels; expected 1 (gray) or 3 (RGB)")
    return channels


def _select(images: ImageFiles | Sequence[np.ndarray], indices: list[int]) -> Any:
    return images.select(indices) if isinstance(images, ImageFiles) else [images[k] for k in indices]


def _make_folder(target: Path) -> None:
    """Make the folder of a run, or see that it is one."""
    training = target / TRAINING
    note = training / "config.json"
    try:
        if target.exists() and not note.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CheckpointError(
                f"got {target}, which is already used for something else; expected a new or empty folder, or one in "
                "which a training was stopped; choose another output"
            )
        training.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(target, error) from error


def _note_beginning(target: Path, made_of: Mapping[str, Any]) -> None:
    training = target / TRAINING
    begun = any(path.name.isdigit() for path in training.glob("checkpoints/*"))
    # With a checkpoint it is for `fit` to say whether the training may go on, and the old note stays until it has.
    if not begun or not (training / "config.json").exists():
        _write_note(target, made_of)


def _write_note(target: Path, made_of: Mapping[str, Any]) -> None:
    try:
        with replacing(target / TRAINING / "config.json") as file:
            file.write_text(json.dumps(made_of, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(target, error) from error


def _check_same(target: Path, record: Mapping[str, Any], made_of: Mapping[str, Any]) -> None:
    def flat(config: Mapping[str, Any]) -> dict[str, Any]:
        return {**{k: v for k, v in config.items() if k != "train"}, **config["train"]}

    missing = sorted(made_of.keys() - record.keys())
    if missing:
        raise CheckpointError(
            f"got {target}, which holds a detector without a note of its {', '.join(missing)}; expected one that "
            "`fit_detector` of this version made; choose another output, or load it by `AnomalyDetector.load`"
        )
    before, now = flat(record["config"]), flat(made_of["config"])
    differing = [
        f"{k} was {before.get(k)}, is now {now.get(k)}"
        for k in now
        if before.get(k) != now[k] and k not in FREE_TO_CHANGE
    ]
    if before["seed"] == now["seed"] and record["key"] != made_of["key"]:
        differing.append(f"key was {record['key']}, is now {made_of['key']}")
    if record["fingerprint"] != made_of["fingerprint"]:
        differing.append(f"it was made of other images ({record['images']}, now {made_of['images']})")
    if differing:
        raise CheckpointError(
            f"got {target}, which holds a detector of another kind: {'; '.join(differing)}; choose another output, or "
            "the old settings"
        )
