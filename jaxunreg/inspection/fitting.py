"""Fitting a detector: it learns from most normal images, and is calibrated on those that are held out."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.doors import check_key, check_kind
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features.network import FeatureNetwork
from jaxunreg.files import remove_leftovers
from jaxunreg.inspection.calibrating import calibrate_detector
from jaxunreg.inspection.checks import check_region_rates
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.detector_folder import FILE, TRAINING, cannot_write
from jaxunreg.inspection.feature_fitting import feature_learning
from jaxunreg.inspection.fit_folder import (
    check_same,
    clean_up,
    make_folder,
    note_beginning,
    refuse_training,
    write_note,
)
from jaxunreg.inspection.masks_of_fit import check_masks, masks_record, share_of
from jaxunreg.inspection.normal_images import check_sizes, normal_images
from jaxunreg.inspection.pixel_fitting import pixel_learning
from jaxunreg.inspection.region_to_tell import RegionToTell
from jaxunreg.inspection.selection import hold_out, joined, one_of_each
from jaxunreg.paths import given_path
from jaxunreg.provenance import device, versions
from jaxunreg.serialization import to_json
from jaxunreg.training.checkpoints import alone_in
from jaxunreg.typing import PRNGKey


def fit_detector(
    images: ImageFiles | Sequence[np.ndarray],
    config: DetectorConfig,
    *,
    key: PRNGKey | None = None,
    directory: str | Path | None = None,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
    network: FeatureNetwork | None = None,
    ignored: Bool[np.ndarray, "height width"] | None = None,
    named_regions: Mapping[str, RegionToTell] | None = None,
) -> AnomalyDetector:
    """Learn from normal images, and calibrate on held-out normal images.

    By default, a Gaussian is fitted to a pretrained network's features of the images. It is chosen among several by how
    well each predicts normal images outside of its fit, so no defect is needed. With `DetectorConfig(space="pixels")`,
    a VAE is trained on random crops.

    Whole groups are held out. A group (`ImageFile.group`) is all photographs of one part. Parts that share an image,
    byte by byte, are one group. The threshold rests on one image of each group, chosen by the seed, because several
    images of one part are alike and would promise too much.

    Args:
      images: normal images of any sizes from 16x16 or, with pixels, a patch on; one channel or three.
      config: see `DetectorConfig`.
      key: PRNG key for training a VAE; by default `jax.random.key(config.seed)`. Features need none.
      directory: folder for the detector, with its training in `training/`. A stopped training of a VAE goes on, and a
        fit to features begins again. If the folder holds a detector of the same images, config and key, it is loaded.
        Without a directory, nothing is written.
      progress: whether to show progress bars.
      record: further notes on how the detector was made, JSON data. Entries of this function replace entries with the
        same name.
      network: your own feature network instead of `EfficientNetLite0`. The detector stores its SHA-256, and
        `AnomalyDetector.load` needs the network again.
      ignored: pixels of the image that do not count, a mask of any size. They are painted gray before anything is
        learned or scored.
      named_regions: regions with their own thresholds, by their names.

    Returns:
      The detector.

    Raises:
      ArgumentError: before anything is learned, if there are too few images for the false-positive rate or for a
        covariance, an image is too small, or a feature network is given for pixels.
      FeatureError: the features are not finite, or do not vary.
      TypeError, ValueError, NonFiniteLossError: the errors of `fit`.
      CheckpointError: the directory cannot be written, another run is writing into it, or it holds something else, such
        as a detector or training with other images, config or key.

    >>> import jax, jaxunreg as ju
    >>> rng = np.random.default_rng(0)
    >>> images = [rng.integers(0, 256, (12, 16, 1), np.uint8) for _ in range(16)]
    >>> sizes = dict(patch=8, depth=2, base_channels=4, latent_dim=3, stride=4)
    >>> training = ju.TrainConfig(steps=2, batch_size=8)
    >>> config = ju.DetectorConfig(space="pixels", **sizes, false_positive_rate=0.2, train=training)
    >>> detector = ju.fit_detector(images, config, key=jax.random.key(0), progress=False)
    >>> detector.calibration.count
    4
    >>> [verdict] = detector.scores([np.tile(np.array([[0, 255], [255, 0]], np.uint8), (5, 6))[..., None]])
    >>> verdict.maps.m.shape, verdict.is_anomalous, verdict.p_value
    ((2, 2), True, 0.2)
    >>> dataclasses.replace(detector, top_k=2).threshold < detector.threshold
    True
    """
    check_kind("config", config, DetectorConfig, "a DetectorConfig", "make it by ju.DetectorConfig()")
    if key is not None:
        check_key("key", key)
    normal = normal_images(images)
    key = jax.random.key(config.seed) if key is None else key
    check_sizes(normal, config.smallest_image)
    if network is not None and config.space != "features":
        raise ArgumentError(
            f"a feature network, {network.name}, with {argument('space', config.space)}",
            argument("space", "features"),
            f"leave {argument('network')} out, or learn from features",
            field="network",
        )
    check_masks(normal, ignored, named_regions)
    normal = dataclasses.replace(normal, ignored=ignored)
    groups = joined(normal.groups, normal.hashes)
    copies = len(normal) - len(set(normal.hashes))
    out = hold_out(groups, config, copies)
    chosen = one_of_each(groups, normal.names, out, config.seed)
    check_region_rates(len(chosen), named_regions)
    made_of = to_json(
        {
            "config": dataclasses.asdict(config),
            "key": np.asarray(jax.random.key_data(key)).tolist(),
            "images": len(normal),
            "fingerprint": normal.fingerprint,
            **masks_record(ignored, named_regions),
        }
    )
    target = None if directory is None else given_path("directory", directory)
    if target is not None and (target / FILE).exists():
        detector = AnomalyDetector.load(target, network=network)
        check_same(target, detector.record, made_of)
        return detector
    if config.space == "features":
        if target is not None:
            refuse_training(target)
        learn = feature_learning(normal, ~out, groups, config, network, progress=progress)
    else:
        learn = pixel_learning(normal, ~out, config, key, progress=progress)
    if target is not None:
        make_folder(target)
    with contextlib.nullcontext() if target is None else alone_in(target / TRAINING):
        if target is not None:
            for folder in (target, target / TRAINING):
                remove_leftovers(folder, seconds=0.0)
            note_beginning(target, made_of)
        learned = learn(None if target is None else target / TRAINING)
        if target is not None:
            write_note(target, made_of)
        detector = calibrate_detector(
            learned.scorer,
            normal.select(chosen),
            stride=learned.stride,
            term=config.term,
            top_k=share_of(learned.top_k, ignored) if config.top_k is None else config.top_k,
            false_positive_rate=config.false_positive_rate,
            bits=normal.bits,
            record={
                **to_json(dict(record or {})),
                **made_of,
                **to_json(dict(learned.record)),
                "parts": len(set(groups)),
                "copies": copies,
                "trained_on": int((~out).sum()),
                "held_out": int(out.sum()),
                "calibrated_on": len(chosen),
                "versions": versions(),
                "device": device(),
                "files": normal.remembered,
            },
            progress=progress,
            review_rate=config.review_rate,
            ignored=ignored,
            named_regions=named_regions,
        )
        if target is not None:
            try:
                detector.write_into(target)
            except OSError as error:
                raise cannot_write(target, error) from error
            clean_up(target)
        return detector
