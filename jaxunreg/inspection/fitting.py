"""From normal images to a detector: a VAE trained on random crops, calibrated on images that are held out."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.errors import CheckpointError
from jaxunreg.files import replacing
from jaxunreg.inspection.calibrating import calibrate_detector
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.detector import FILE, TRAINING, AnomalyDetector, cannot_write
from jaxunreg.inspection.selection import (
    check_sizes,
    content_hashes,
    groups_and_names,
    hold_out,
    joined,
    one_of_each,
    selected,
)
from jaxunreg.provenance import device, versions
from jaxunreg.scoring.scorer import Scorer, make_scorer
from jaxunreg.serialization import fingerprint, to_json
from jaxunreg.training.checkpoints import alone_in
from jaxunreg.training.identity import FREE_TO_CHANGE
from jaxunreg.training.loop import fit
from jaxunreg.typing import PRNGKey


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
    groups, names = groups_and_names(images)
    channels = check_sizes(images, names, config.patch)
    hashes = content_hashes(images)
    groups = joined(groups, hashes)
    copies = len(hashes) - len(set(hashes))
    out = hold_out(groups, config, copies)
    chosen = one_of_each(groups, names, out, config.seed)
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
            selected(images, chosen),
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
        selected(images, np.flatnonzero(chosen).tolist()),
        config.train,
        key=key,
        directory=None if target is None else target / TRAINING,
        progress=progress,
    )
    return make_scorer(model, state.variables)


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
