"""A detector on disk: its scorer and the basis of its verdicts, in one folder without pickle."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np

from jaxunreg.decomposition import Term
from jaxunreg.errors import ArgumentError, CheckpointError
from jaxunreg.features.network import FeatureNetwork
from jaxunreg.files import remove, replacing, temporary_sibling
from jaxunreg.finite import check_finite
from jaxunreg.inspection.held_out import HeldOutScores, kept_scores
from jaxunreg.inspection.mask_folder import load_masks, save_masks
from jaxunreg.inspection.named_regions import NamedRegion
from jaxunreg.inspection.scorer_folder import load_scorer, save_scorer
from jaxunreg.integers import check_integer
from jaxunreg.paths import given_path, read_file
from jaxunreg.scoring.map_scorer import MapScorer
from jaxunreg.serialization import file_hashes, with_checksum, without_checksum

FORMAT = 3

# A detector of format 2 has neither masks nor a review band, and does not know the highest pixels.
_READ = (2, FORMAT)

FILE = "detector.json"
"""The file that is written last. A folder without it is not a detector."""

MODEL = "model"

TRAINING = "training"

_SETTINGS = ("stride", "term", "top_k", "false_positive_rate", "bits", "arithmetic", "record")

_OF_A_REGION = ("name", "false_positive_rate", "top_k")

_T = TypeVar("_T")


def save_detector(directory: str | Path, scorer: MapScorer, fields: Mapping[str, Any]) -> None:
    """Write a detector into its own folder, whole or not at all; see `AnomalyDetector.save`.

    Args:
      directory: a folder that does not exist yet, or is empty.
      scorer: the scorer.
      fields: the other fields of `AnomalyDetector`, and further entries for readers of the file.

    Raises:
      CheckpointError: the folder is not empty or cannot be written.
    """
    target = given_path("directory", directory).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{directory}, which is already used", "a new or empty folder", "choose another one")
    temporary = temporary_sibling(target)
    try:
        temporary.mkdir(parents=True)
        write_detector(temporary, scorer, fields)
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_detector(directory: Path, scorer: MapScorer, fields: Mapping[str, Any]) -> None:
    """Write the scorer and then `detector.json` into a folder that exists.

    A folder called `model` there is replaced.

    Args:
      directory: the folder.
      scorer: the scorer.
      fields: see `save_detector`.

    Raises:
      ArgumentError: the learned arrays are not finite.
      OSError: the folder cannot be written.
    """
    check_finite(scorer.learned)
    # A name at which nobody can have made a link.
    temporary = temporary_sibling(directory / MODEL)
    try:
        save_scorer(temporary, scorer)
        remove(directory / MODEL)
        os.replace(temporary, directory / MODEL)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    write_description(directory, scorer, fields)


def write_description(directory: Path, scorer: MapScorer, fields: Mapping[str, Any]) -> None:
    """Write the masks and `detector.json` into a folder where the scorer is already saved.

    Args:
      directory: the folder.
      scorer: the saved scorer.
      fields: see `save_detector`.

    Raises:
      OSError: the folder cannot be written.
    """
    regions: Sequence[NamedRegion] = fields["named_regions"]
    peaks = fields["pixel_peaks"]
    content = {
        "format": FORMAT,
        **{name: value for name, value in fields.items() if name != "ignored"},
        "space": scorer.space,
        "model_files": file_hashes(directory / MODEL),
        "mask_files": save_masks(directory, fields["ignored"], [region.mask for region in regions]),
        "held_out": _without_padding(fields["held_out"]),
        "kept": _kept(fields["held_out"]),
        "pixel_peaks": None if peaks is None else {term: np.asarray(values).tolist() for term, values in peaks.items()},
        "named_regions": [
            {
                **{name: getattr(region, name) for name in _OF_A_REGION},
                "held_out": _without_padding(region.held_out),
                "kept": _kept(region.held_out),
            }
            for region in regions
        ],
    }
    with replacing(directory / FILE) as file:
        file.write_text(json.dumps(with_checksum(content), allow_nan=False) + "\n", encoding="utf-8")


def read_detector(directory: str | Path, make: Callable[..., _T], network: FeatureNetwork | None = None) -> _T:
    """Read a detector that `write_detector` wrote.

    Args:
      directory: the folder.
      make: makes a detector of the fields of `AnomalyDetector`.
      network: the feature network of the detector, if it was the user's own.

    Returns:
      The result of `make`.

    Raises:
      CheckpointError: the folder holds no detector, or the detector is unfinished, damaged, of another version, or made
        with another feature network.
    """
    directory = given_path("directory", directory)
    if not directory.is_dir():
        raise CheckpointError(f"{directory}, which is not a folder", "one that `jaxunreg fit` wrote", "check the path")
    if not (directory / FILE).exists():
        if (directory / TRAINING).is_dir():
            raise CheckpointError(
                f"{directory}, whose training has not ended",
                "a finished detector",
                "start `jaxunreg fit` again with that output to go on",
            )
        raise CheckpointError(f"{directory}, without a {FILE}", "a folder that `jaxunreg fit` wrote", "check the path")
    try:
        content = json.loads(read_file(directory / FILE).decode())
        if not isinstance(content, dict) or content.get("format") not in _READ:
            found = f"format {content.get('format')!r}" if isinstance(content, dict) else type(content).__name__
            raise ArgumentError(found, f"format {FORMAT}", field="format")
        content = without_checksum(content)
        fields = {name: content[name] for name in _SETTINGS}
        fields["held_out"] = _held_out(content)
        fields["pixel_levels"] = {term: tuple(levels) for term, levels in content["pixel_levels"].items()}
        model_files, space = dict(content["model_files"]), content["space"]
        if content["format"] != 2:
            fields |= _additions(directory, content)
    # A file written by hand may hold anything. Other types raise AttributeError, many brackets RecursionError.
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OSError) as error:
        raise _damaged(directory / FILE, f"{type(error).__name__}: {error}") from error
    with ThreadPoolExecutor(1) as beside:
        hashing = beside.submit(file_hashes, directory / MODEL)
        scorer = load_scorer(directory / MODEL, space, network)
        found_files = hashing.result()
    differing = [name for name, sha256 in model_files.items() if found_files.get(name) != sha256]
    if differing or not model_files:
        raise _damaged(directory, f"{MODEL} is not the model that {FILE} was written with ({', '.join(differing)})")
    try:
        check_finite(scorer.learned)
        return make(scorer=scorer, **fields)
    except (TypeError, ValueError) as error:
        raise _damaged(directory / FILE, str(error)) from error


def cannot_write(target: Path | str, error: object) -> CheckpointError:
    """Return the error for a folder or file that cannot be written.

    Args:
      target: the folder or file.
      error: the operating system's error.
    """
    return CheckpointError(
        f"{target}, which cannot be written: {error}", "a folder with room on a disk", "choose another one"
    )


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}, which cannot be read: {reason}",
        "a file that `jaxunreg fit` of this version wrote",
        "copy it again, or fit again into another folder",
    )


def _additions(directory: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that format 2 does not have."""
    peaks, told = content["pixel_peaks"], content["named_regions"]
    ignored, masks = load_masks(directory, dict(content["mask_files"]), len(told))
    return {
        "review_rate": content["review_rate"],
        "pixel_peaks": None if peaks is None else {term: np.array(peaks[term], np.float64) for term in get_args(Term)},
        "ignored": ignored,
        "named_regions": tuple(
            NamedRegion(mask=mask, held_out=_held_out(region), **{name: region[name] for name in _OF_A_REGION})
            for region, mask in zip(told, masks, strict=True)
        ),
    }


def _held_out(content: Mapping[str, Any]) -> HeldOutScores:
    return {term: _padded(content["held_out"][term], content["kept"]) for term in get_args(Term)}


def _kept(held_out: HeldOutScores) -> int:
    return max(rows.shape[1] for rows in held_out.values())


def _without_padding(held_out: HeldOutScores) -> dict[str, list[list[float]]]:
    return {term: [[float(value) for value in row[~np.isnan(row)]] for row in rows] for term, rows in held_out.items()}


def _padded(rows: Sequence[Sequence[float]], kept: int) -> np.ndarray:
    if not rows or not all(rows):
        raise ArgumentError("a held-out image without a score", "one at least", field="held_out")
    if max(map(len, rows)) > check_integer("kept", kept, at_least=1):
        raise ArgumentError(f"a held-out image with {max(map(len, rows))} scores", f"at most {kept}", field="held_out")
    return np.stack([kept_scores(np.array(row, np.float32), kept) for row in rows])
