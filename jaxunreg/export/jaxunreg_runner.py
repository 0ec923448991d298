"""Run a detector that `jaxunreg export` wrote: images in; score, p-value, verdict, box and heat map out.

This file lies in the exported folder and needs that folder, NumPy, and ONNX Runtime (or JAX, for a folder that was
exported as StableHLO). It does not need the package jaxunreg.

    python jaxunreg_runner.py part.png                    a JSON line for each image; 3 as exit code for an anomaly

    from jaxunreg_runner import Detector
    detector = Detector("exported")                       a folder that `jaxunreg export` wrote
    found = detector(image)                               uint8 [height, width, channels]
    found.score, found.p_value, found.outcome, found.box
"""

import argparse
import hashlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FORMAT = 1

DESCRIPTION_FILE = "exported.json"

# The shares of red, green and blue in gray, in units of 2^-16 (ITU-R BT.601).
_LUMA = (19595, 38470, 7471)

# Up to so many products, one matrix is faster than a loop over rows.
_MOST_PRODUCTS = 2**27

# The largest relative difference between the aspect ratios of an image and of a mask.
_RATIO_TOLERANCE = 0.02

# Exit codes, like those of `jaxunreg score`.
_NORMAL, _ERROR, _ANOMALY = 0, 1, 3


class RunnerError(ValueError):
    """A folder or an image cannot be used."""


class RegionVerdict(NamedTuple):
    """What a detector says about a named region of an image. Its fields have the same meaning as in `Verdict`."""

    name: str
    score: float
    p_value: float
    threshold: float
    is_anomalous: bool


class Verdict(NamedTuple):
    """What a detector says about an image.

    Attributes:
      score: score of its most anomalous places; higher is more anomalous.
      p_value: share of normal images that score as high or higher, from the held-out images.
      threshold: the score above which an image is anomalous.
      is_anomalous: whether the image or one of its named regions is anomalous.
      outcome: normal or anomalous; pass, review or reject for a detector with a review band.
      box: top, left, height and width of the most anomalous place, in pixels.
      named: the verdict on each named region.
      heat_map: float64 `[height, width]`, in nats a pixel; None if it was not asked for.
    """

    score: float
    p_value: float
    threshold: float
    is_anomalous: bool
    outcome: str
    box: tuple[int, int, int, int]
    named: tuple[RegionVerdict, ...]
    heat_map: np.ndarray | None


class _Test(NamedTuple):
    """A score of some places and the basis for judging it."""

    top_k: int
    threshold: float
    held_out: np.ndarray

    def judge(self, places: np.ndarray) -> tuple[float, float, float, bool]:
        """Return score, p-value, threshold, and whether the score is above it."""
        if np.isnan(places).any():
            raise RunnerError("got scores that are not a number; expected numbers; look at the image")
        highest = np.sort(places, axis=None)[::-1][: self.top_k]
        score = float(np.mean(highest, dtype=np.float64))
        above = len(self.held_out) - int(np.searchsorted(self.held_out, score, side="left"))
        return score, (1 + above) / (len(self.held_out) + 1), self.threshold, score > self.threshold


class Detector:
    """A detector, whole, from its exported folder.

    Args:
      folder: folder that `jaxunreg export` wrote.
      threads: threads of the processor; by default as many as ONNX Runtime takes.
      providers: providers of ONNX Runtime; by default the processor.

    Raises:
      RunnerError: the folder holds no exported detector, an altered one, or one of another version.

    Attributes:
      about: the folder's description of itself.
    """

    def __init__(
        self, folder: str | Path, *, threads: int | None = None, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        self.about = read_description(Path(folder))
        load = {"onnx": load_onnx, "stablehlo": _load_stablehlo}[self.about["program_format"]]
        self._programs = {
            name: load(Path(folder) / file, threads, providers) for name, file in self.about["programs"].items()
        }
        self._test = _test_of(self.about)
        mask = self.about["ignored"]
        self._ignored = None if mask is None else read_image(Path(folder) / mask)[:, :, 0] > 0
        self._named = [
            (one["name"], read_image(Path(folder) / one["mask"])[:, :, 0] > 0, _test_of(one))
            for one in self.about["named_regions"]
        ]
        self._maps = {"features": self._maps_of_features, "pixels": self._maps_of_patches}[self.about["space"]]

    def __call__(self, image: np.ndarray, *, heat_map: bool = False) -> Verdict:
        """Return what the detector says about an image.

        Args:
          image: `[height, width]` or `[height, width, channels]` of one to four channels: gray or RGB. An alpha channel
            is dropped. uint8, uint16, or floating point in [0, 1].
          heat_map: whether to make the heat map too.

        Raises:
          RunnerError: the array is of another kind, the image is too small, or a mask does not fit it.
        """
        pixels = prepared(image, self.about["channels"])
        smallest = self.about["smallest_image"]
        if min(pixels.shape[:2]) < smallest:
            raise RunnerError(f"got an image of {pixels.shape[0]}x{pixels.shape[1]}; expected at least {smallest}")
        ignored = None if self._ignored is None else _laid_over(self._ignored, pixels.shape[:2])
        places, boxes, heat = self._maps(pixels if ignored is None else _painted(pixels, ignored), heat_map)
        counted = np.ones(places.shape, bool) if ignored is None else ~_any_in(ignored, boxes)
        score, p_value, threshold, is_anomalous = self._test.judge(_some(places, counted))
        named = tuple(
            RegionVerdict(name, *test.judge(_some(places, counted & _centered_in(mask, pixels.shape[:2], boxes))))
            for name, mask, test in self._named
        )
        is_anomalous = is_anomalous or any(one.is_anomalous for one in named)
        row, column = np.unravel_index(int(np.where(counted, places, -np.inf).argmax()), places.shape)
        (tops, height, _), (lefts, width, _) = boxes
        box = (int(tops[row]), int(lefts[column]), height, width)
        return Verdict(score, p_value, threshold, is_anomalous, self._outcome(score, is_anomalous), box, named, heat)

    def _outcome(self, score: float, is_anomalous: bool) -> str:
        review = self.about["review_threshold"]
        if review is None:
            return "anomalous" if is_anomalous else "normal"
        if is_anomalous:
            return "reject"
        return "review" if score > review else "pass"

    def _maps_of_features(self, pixels: np.ndarray, heat_map: bool) -> tuple[np.ndarray, Any, np.ndarray | None]:
        """Return the score of each place, the boxes of the places, and the heat map."""
        size, working = pixels.shape[:2], tuple(self.about["working_size"])
        image = resized(pixels, working)
        features = np.empty(self.about["map"], np.float32)
        tall, wide = self.about["tile"]
        for top, left, row, column, rows, columns, skipped_rows, skipped_columns in self.about["tiles"]:
            seen = self._programs["network"](image[None, top : top + tall, left : left + wide])[0][0]
            own = seen[skipped_rows : skipped_rows + rows, skipped_columns : skipped_columns + columns]
            features[row : row + rows, column : column + columns] = own
        (places,) = self._programs["density"](features)
        boxes = [
            _boxes(count, length, self.about["places_a_box"]) for count, length in zip(places.shape, size, strict=True)
        ]
        if not heat_map:
            return places, boxes, None
        rows, columns = (_shares(count, length) for count, length in zip(places.shape, size, strict=True))
        share = math.prod(size) / math.prod(working)
        return places, boxes, share * (rows @ places.astype(np.float64) @ columns.T)

    def _maps_of_patches(self, pixels: np.ndarray, heat_map: bool) -> tuple[np.ndarray, Any, np.ndarray | None]:
        image = _as_float(pixels)
        side, count = self.about["patch"], self.about["patches_a_call"]
        tops, lefts = (_starts(length, side, self.about["stride"]) for length in image.shape[:2])
        corners = [(top, left) for top in tops for left in lefts]
        scores, total = [], np.zeros(image.shape[:2])
        for start in range(0, len(corners), count):
            some = corners[start : start + count]
            patches = np.stack([image[top : top + side, left : left + side] for top, left in some])
            filled = np.concatenate([patches, np.zeros((count - len(some), *patches.shape[1:]), np.float32)])
            by_patch, by_pixel = self._programs["patches"](filled)
            scores.append(by_patch[: len(some)])
            if heat_map:
                for (top, left), one in zip(some, by_pixel, strict=False):
                    total[top : top + side, left : left + side] += one
        places = np.concatenate(scores).reshape(len(tops), len(lefts))
        boxes = [(tops, side, tops + side / 2), (lefts, side, lefts + side / 2)]
        if not heat_map:
            return places, boxes, None
        covered = [
            _covered(starts, side, length) for starts, length in zip((tops, lefts), image.shape[:2], strict=True)
        ]
        return places, boxes, total / np.outer(*covered)


def read_description(folder: Path) -> dict[str, Any]:
    """Read an exported folder's description, and compare its files with it.

    Raises:
      RunnerError: the folder holds no exported detector, an altered one, or one of another version.
    """
    path = folder / DESCRIPTION_FILE
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        found, rest = about["format"], {name: value for name, value in about.items() if name != "sha256"}
        files = dict(about["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunnerError(
            f"got {path}, which cannot be read ({error}); expected a folder of `jaxunreg export`"
        ) from None
    if found != FORMAT:
        raise RunnerError(f"got {path} of format {found}; expected {FORMAT}; use the runner of that folder")
    differing = [name for name, sha256 in files.items() if sha256 != _sha256(folder / name)]
    if hashlib.sha256(json.dumps(rest).encode()).hexdigest() != about.get("sha256"):
        differing.append(DESCRIPTION_FILE)
    if differing:
        raise RunnerError(
            f"got {folder}, where {', '.join(differing)} is missing or altered; expected it as it was exported; "
            "copy or export it again"
        )
    return rest


def prepared(image: np.ndarray, channels: int) -> np.ndarray:
    """Return an image with the channels of the detector; uint8, or float32 in [0, 1].

    Raises:
      RunnerError: the array is of another kind.
    """
    pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or 0 in pixels.shape:
        raise RunnerError(f"got an image of shape {list(np.shape(image))}; expected [height, width, 1 to 4]")
    pixels = pixels[:, :, :1] if pixels.shape[2] <= 2 else pixels[:, :, :3]
    if pixels.dtype == np.uint16:
        pixels = _with_channels(pixels, channels).astype(np.float32) / np.float32(65535)
    elif np.issubdtype(pixels.dtype, np.floating):
        low, high = float(pixels.min()), float(pixels.max())
        if not 0.0 <= low <= high <= 1.0:
            raise RunnerError(f"got {pixels.dtype} values from {low} to {high}; expected [0, 1]; divide by the largest")
        pixels = _with_channels(pixels.astype(np.float32), channels)
    elif pixels.dtype == np.uint8:
        pixels = _with_channels(pixels, channels)
    else:
        raise RunnerError(f"got an image of dtype {pixels.dtype}; expected uint8, uint16, or floating point in [0, 1]")
    return pixels


def resized(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize an image by linear interpolation with antialiasing, like Pillow's BILINEAR.

    Returns:
      Float32 `[*size, channels]` in [0, 1].
    """
    full = np.float32(255 if pixels.dtype == np.uint8 else 1)
    for axis in (0, 1):
        if pixels.shape[axis] != size[axis]:
            first = np.ascontiguousarray(np.moveaxis(pixels, axis, 0))
            pixels = np.moveaxis(_resized_first(first, size[axis]), 0, axis)
    return np.ascontiguousarray(pixels.astype(np.float32) / full)


def _resized_first(pixels: np.ndarray, count: int) -> np.ndarray:
    if count * pixels.size <= _MOST_PRODUCTS:
        matrix = np.zeros((count, len(pixels)), np.float32)
        for k, (start, weights) in enumerate(_weights(len(pixels), count)):
            matrix[k, start : start + len(weights)] = weights
        return np.tensordot(matrix, pixels.astype(np.float32), axes=1)
    rows = np.empty((count, *pixels.shape[1:]), np.float32)
    for k, (start, weights) in enumerate(_weights(len(pixels), count)):
        rows[k] = np.tensordot(weights, pixels[start : start + len(weights)].astype(np.float32), axes=1)
    return rows


def _weights(before: int, after: int) -> Iterator[tuple[int, np.ndarray]]:
    """Return for each new pixel the first old pixel that it sees, and the weights of the pixels from there on."""
    scale = before / after
    reach = max(scale, 1.0)
    for k in range(after):
        center = (k + 0.5) * scale
        start, stop = max(0, int(center - reach + 0.5)), min(before, int(center + reach + 0.5))
        weights = np.maximum(0.0, 1.0 - np.abs((np.arange(start, stop) + 0.5 - center) / reach))
        yield start, (weights / weights.sum()).astype(np.float32)


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Convert gray to RGB or RGB to gray, if the detector needs the other one."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    if pixels.dtype == np.float32:
        return pixels @ (np.array(_LUMA, np.float32) / 2**16)[:, None]
    red, green, blue = (pixels[:, :, k, None].astype(np.uint32) * np.uint32(_LUMA[k]) for k in range(3))
    return ((red + green + blue + np.uint32(2**15)) >> np.uint32(16)).astype(pixels.dtype)


def _as_float(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels


def _test_of(about: Mapping[str, Any]) -> _Test:
    return _Test(about["top_k"], about["threshold"], np.array(about["held_out"], np.float64))


def _some(places: np.ndarray, counted: np.ndarray) -> np.ndarray:
    if not counted.any():
        raise RunnerError("got an image where no place counts; expected one at least; look at the masks")
    return places[counted]


def _laid_over(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of an image that overlap a marked pixel of a mask with the same aspect ratio."""
    if mask.shape == tuple(size):
        return mask
    if abs(mask.shape[0] * size[1] / (mask.shape[1] * size[0]) - 1.0) > _RATIO_TOLERANCE:
        raise RunnerError(f"got an image of {size[0]}x{size[1]}; expected the ratio of the mask, {mask.shape}")
    ends = []
    for have, want in zip(mask.shape, size, strict=True):
        first = np.arange(want) * have // want
        ends.append((first, -(-(np.arange(want) + 1) * have // want)))
    return _any_within(mask, *ends)


def _painted(pixels: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Return an image with its ignored pixels gray, so that they cannot affect a score."""
    gray = 128 if pixels.dtype == np.uint8 else 128 / 255
    return np.where(ignored[:, :, None], np.asarray(gray, pixels.dtype), pixels)


def _any_in(mask: np.ndarray, boxes: Any) -> np.ndarray:
    """Return whether a marked pixel lies in the box around the middle of each place."""
    ends = []
    for (_, length, middles), whole in zip(boxes, mask.shape, strict=True):
        first, last = np.floor(middles - length / 2), np.ceil(middles + length / 2)
        ends.append((np.clip(first, 0, whole).astype(np.int64), np.clip(last, 0, whole).astype(np.int64)))
    return _any_within(mask, *ends)


def _any_within(mask: np.ndarray, rows: Any, columns: Any) -> np.ndarray:
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    (top, bottom), (left, right) = rows, columns
    inside = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)]
    return (inside + sums[np.ix_(top, left)]) > 0


def _centered_in(mask: np.ndarray, size: tuple[int, int], boxes: Any) -> np.ndarray:
    """Return whether the middle of each place lies in a region."""
    return _laid_over(mask, size)[np.ix_(*(middles.astype(np.int64) for _, _, middles in boxes))]


def _boxes(places: int, pixels: int, wide: int) -> tuple[np.ndarray, int, np.ndarray]:
    """Return where the box around each place of an axis begins, its length, and the middle of the place."""
    length = min(pixels, -(-wide * pixels // places))
    middles = (np.arange(places) + 0.5) * pixels / places
    return np.clip(np.round(middles - length / 2), 0, pixels - length).astype(np.int64), length, middles


def _shares(places: int, pixels: int) -> np.ndarray:
    """Return the share of each place in each pixel of an axis, by linear interpolation between the places' centres."""
    centers = np.clip((np.arange(pixels) + 0.5) * places / pixels - 0.5, 0, places - 1)
    reach = max(1.0, places / pixels)
    weights = np.maximum(0.0, 1.0 - np.abs(centers[:, None] - np.arange(places)[None]) / reach)
    return weights / weights.sum(axis=0, keepdims=True)


def _starts(length: int, side: int, stride: int) -> np.ndarray:
    """Return where patches begin along an axis. The last one ends with the image."""
    regular = np.arange(0, length - side + 1, stride)
    return regular if regular[-1] == length - side else np.append(regular, length - side)


def _covered(starts: np.ndarray, side: int, length: int) -> np.ndarray:
    """Return how many patches cover each pixel of an axis."""
    return sum((np.arange(length) >= start) & (np.arange(length) < start + side) for start in starts.tolist())


def load_onnx(
    path: Path, threads: int | None, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> Callable[..., list[np.ndarray]]:
    """Return a graph as a function of arrays; see `Detector` for `threads` and `providers`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    names = [one.name for one in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))


def _load_stablehlo(path: Path, threads: int | None, providers: Sequence[str]) -> Callable[..., list[np.ndarray]]:
    import jax
    import jax.export

    program = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
    return lambda *arrays: [np.asarray(one) for one in program(*arrays)]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def read_image(path: Path) -> np.ndarray:
    """Read an image from a `.npy` file, a binary `.pgm` or `.ppm` file, or with Pillow any that Pillow reads.

    Raises:
      RunnerError: it cannot be read.
    """
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix.lower() in (".pgm", ".ppm"):
            return _read_netpbm(path.read_bytes())
        from PIL import Image, ImageOps

        image = ImageOps.exif_transpose(Image.open(path))
        known = ("L", "LA", "RGB", "RGBA", "F", "I;16")
        return np.asarray(image if image.mode in known else image.convert("RGBA"))
    except (OSError, ValueError, ImportError, IndexError) as error:
        raise RunnerError(f"got {path}, which cannot be read ({error}); expected .npy, .pgm, .ppm or Pillow") from None


def _read_netpbm(content: bytes) -> np.ndarray:
    header = re.match(rb"(P[56])" + 3 * rb"(?:\s|#[^\n]*\n)+(\d+)" + rb"\s", content)
    if header is None:
        raise RunnerError("it is no binary file of gray or RGB")
    kind, (width, height, largest) = header[1], (int(word) for word in header.groups()[1:])
    dtype = np.dtype(">u2" if largest > 255 else "u1")
    pixels = np.frombuffer(content, dtype, offset=header.end()).reshape(height, width, 3 if kind == b"P6" else 1)
    if largest in (255, 65535):
        return pixels.astype(dtype.newbyteorder("="))
    return pixels.astype(np.float32) / np.float32(largest)


def main(words: Sequence[str] | None = None) -> int:
    """Print a JSON line for each image. The exit code is 0 if all are normal, 3 if one is anomalous, 1 for an error."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("images", nargs="+", type=Path, help=".npy, .pgm, .ppm, or what Pillow reads, if it is there")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="exported folder; default: this one")
    parser.add_argument("--heat-maps", type=Path, help="folder for the heat map of each image, NAME.npy")
    parser.add_argument("--threads", type=int, help="of the processor; default: as ONNX Runtime has it")
    options = parser.parse_args(words)
    code = _NORMAL
    try:
        detector = Detector(options.folder, threads=options.threads)
        for path in options.images:
            found = detector(read_image(path), heat_map=options.heat_maps is not None)
            print(json.dumps(_row(path, found)), flush=True)
            if found.heat_map is not None:
                options.heat_maps.mkdir(parents=True, exist_ok=True)
                np.save(options.heat_maps / f"{path.name}.npy", found.heat_map)
            code = _ANOMALY if found.is_anomalous else code
    except (RunnerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _ERROR
    return code


def _row(path: Path, found: Verdict) -> Mapping[str, Any]:
    numbers = {name: getattr(found, name) for name in ("score", "p_value", "threshold")}
    box = dict(zip(("top", "left", "height", "width"), found.box, strict=True))
    named = {"regions": [one._asdict() for one in found.named]} if found.named else {}
    return {"path": str(path), **numbers, "verdict": found.outcome, **box, **named}


if __name__ == "__main__":
    sys.exit(main())
