"""A machined part drawn from a seed: a brushed metal face, which is simple, around a threaded hole, which is complex.

The images stand in for a production line's, in the spirit of the paper's screw data set: what varies from part to
part is where the thread begins, the pitch, the position, the camera's tilt, the light and the sensor's noise, and
most of that is seen in the hole. Cracks and blowholes may lie on either region, with their exact masks.
"""

import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image

from jaxunreg.datasets.digits.dataset import check_integer
from jaxunreg.datasets.folders.image_file import GOOD

Defect: TypeAlias = Literal["none", "crack", "blowhole", "mixed"]

_DEFECTS = ("crack", "blowhole")

_SMALLEST_SIDE, _LARGEST_SIDE = 64, 1024

# The look is made for this length of the shorter side and scales with it.
_DESIGN_SIDE = 256

# Streams of random bits, one of each for every image.
_STYLE_STREAM, _TEXTURE_STREAM, _NOISE_STREAM, _DEFECT_STREAM = range(4)

_STREAKS_ALONG, _MOTTLE = 5, 7

# Below this coverage a defect's rim would be in the mask and could not be seen.
_LEAST_COVERAGE = 0.25

# Where the splits of `write_parts` begin in the endless data set; none reaches as far as the next.
_STARTS = {"train": 0, GOOD: 10**9, "crack": 2 * 10**9, "blowhole": 3 * 10**9}


class Parts(NamedTuple):
    """Images of a part, with the exact place of its defect.

    Attributes:
      images: uint8 `[n, height, width, 1]`.
      masks: bool `[n, height, width]`, the pixels that the defect changed.
      labels: `"good"`, `"crack"` or `"blowhole"`.
    """

    images: UInt8[np.ndarray, "n height width 1"]
    masks: Bool[np.ndarray, "n height width"]
    labels: tuple[str, ...]


def synth_parts(
    n: int, *, seed: int = 0, image_size: tuple[int, int] = (256, 256), defect: Defect = "none", start: int = 0
) -> Parts:
    """Draw images `start` to `start + n - 1` of the endless data set that `seed` stands for.

    Image i depends on `(seed, image_size, i)` and on its defect alone, so `start` makes splits that do not overlap.
    With and without a defect it is the same part under the same light with the same noise: the images are equal
    outside the mask. The random bits are PCG64's own and the same everywhere; the gray levels go through
    transcendental functions, so that single ones may differ by one from one platform to another.

    Args:
      n: number of images, at least 1.
      seed: not negative.
      image_size: height and width in pixels, 64 to 1024 each.
      defect: of every image; `"mixed"` draws a crack or a blowhole for each.
      start: index of the first image, not negative.

    Returns:
      The images, masks and labels.

    Raises:
      TypeError: an argument is not an integer.
      ValueError: an argument is out of its range.

    >>> good, cracked = synth_parts(2, seed=1), synth_parts(2, seed=1, defect="crack")
    >>> cracked.images.shape, cracked.labels
    ((2, 256, 256, 1), ('crack', 'crack'))
    >>> changed = (good.images != cracked.images)[..., 0]
    >>> bool(changed.any()), bool((changed & ~cracked.masks).any())
    (True, False)
    """
    n = check_integer("n", n, at_least=1, advice="ask for one image or more")
    seed = check_integer("seed", seed, at_least=0, advice="any natural number will do")
    start = check_integer("start", start, at_least=0, advice="the data set begins with image 0")
    if defect not in ("none", *_DEFECTS, "mixed"):
        raise ValueError(f"defect is {defect!r}, expected 'none', 'crack', 'blowhole' or 'mixed'")
    if len(image_size) != 2:
        raise ValueError(f"image_size is {image_size}, expected (height, width)")
    height, width = (
        check_integer("image_size", side, at_least=_SMALLEST_SIDE, advice="a thread cannot be drawn in fewer pixels")
        for side in image_size
    )
    if max(height, width) > _LARGEST_SIDE:
        raise ValueError(f"image_size is {image_size}, expected at most {_LARGEST_SIDE} each")

    images = np.empty((n, height, width, 1), np.uint8)
    masks = np.zeros((n, height, width), bool)
    labels = []
    for k in range(n):
        u = _Uniforms(seed, _STYLE_STREAM, start + k)
        part = _Part.draw(u, height, width)
        scene = _render(part, _Uniforms(seed, _TEXTURE_STREAM, start + k), height, width)
        label = GOOD
        if defect != "none":
            draws = _Uniforms(seed, _DEFECT_STREAM, start + k)
            kind = next(draws)  # drawn in any case, so that a crack is the same whether it is mixed or not
            label = defect if defect != "mixed" else _DEFECTS[int(2 * kind)]
            marred = (_add_crack if label == "crack" else _add_blowholes)(scene, part, draws)
            masks[k] = marred != scene
            scene = marred
        noise = part.noise * _standard_normal(seed, start + k, height * width).reshape(height, width)
        images[k, :, :, 0] = np.clip(np.rint(scene + noise), 0, 255)
        labels.append(label)
    return Parts(images, masks, tuple(labels))


def write_parts(
    directory: str | Path,
    *,
    train: int = 60,
    test: int = 12,
    seed: int = 0,
    image_size: tuple[int, int] = (256, 256),
) -> Path:
    """Write parts as an MVTec-style tree of PNG files, whole or not at all.

    Args:
      directory: where; it must not exist, or be empty.
      train: number of images in `train/good`, at least 1.
      test: number of images in each of `test/good`, `test/crack` and `test/blowhole`, at least 1. Each defect has its
        mask in `ground_truth`.
      seed: see `synth_parts`.
      image_size: see `synth_parts`.

    Returns:
      The directory.

    Raises:
      FileExistsError: there is something already.
      TypeError: an argument is not an integer.
      ValueError: an argument is out of its range.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tree = write_parts(Path(folder) / "part", train=1, test=1, image_size=(64, 64))
    ...     sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*_mask.png"))
    ['ground_truth/blowhole/000_mask.png', 'ground_truth/crack/000_mask.png']
    """
    directory = Path(directory).expanduser()
    train = check_integer("train", train, at_least=1, advice="ask for one image or more")
    test = check_integer("test", test, at_least=1, advice="ask for one image or more")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} exists and is not empty; give another directory, or remove it")
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that it can be renamed at the end.
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        for split, count in (("train", train), (GOOD, test), *((defect, test) for defect in _DEFECTS)):
            label = GOOD if split == "train" else split
            folder = partial / ("train" if split == "train" else "test") / label
            truth = partial / "ground_truth" / label
            for path in (folder,) if label == GOOD else (folder, truth):
                path.mkdir(parents=True)
            digits = max(3, len(str(count - 1)))
            for k in range(count):
                parts = synth_parts(
                    1,
                    seed=seed,
                    image_size=image_size,
                    defect="none" if label == GOOD else label,  # type: ignore[arg-type]
                    start=_STARTS[split] + k,
                )
                Image.fromarray(parts.images[0, :, :, 0]).save(folder / f"{k:0{digits}}.png")
                if label != GOOD:
                    Image.fromarray(parts.masks[0]).save(truth / f"{k:0{digits}}_mask.png")
        partial.chmod(0o755)  # mkdtemp's is the owner's alone
        if directory.exists():
            directory.rmdir()
        os.replace(partial, directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return directory


def _bits(seed: int, stream: int, index: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream, index)))


class _Uniforms:
    """Uniform numbers on [0, 1) from one stream of one image; of a generator NumPy keeps only the raw bits."""

    def __init__(self, seed: int, stream: int, index: int):
        self._generator = _bits(seed, stream, index)

    def __next__(self) -> float:
        return (int(self._generator.random_raw()) >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * next(self)

    def array(self, *shape: int) -> Float32[np.ndarray, "..."]:
        raw = self._generator.random_raw(math.prod(shape))
        return ((raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def _standard_normal(seed: int, index: int, count: int) -> Float32[np.ndarray, " count"]:
    """Nearly normal, of mean 0 and variance 1, within 3.5: the sum of four bytes, centred and scaled."""
    raw = _bits(seed, _NOISE_STREAM, index).random_raw((count + 1) // 2).astype("<u8", copy=False)
    sums = raw.view(np.uint8).reshape(-1, 4).sum(axis=1, dtype=np.int32)[:count]
    # A byte has the variance (256^2 - 1) / 12.
    return ((sums - 510) / math.sqrt(4 * (256**2 - 1) / 12)).astype(np.float32)


class _Part(NamedTuple):
    """What one part looks like; lengths in pixels, angles in radians, gray levels 0 to 255."""

    scale: float
    center: tuple[float, float]  # of the rim: y, x
    tilt: tuple[float, float]  # from the rim's center to the bottom's: y, x
    rim: float  # radius
    bottom: float  # radius, as it is seen from above
    chamfer: float  # width
    turns: float  # of the thread
    phase: float  # in turns
    rotation: float
    light: float
    gradient: float
    vignette: float
    face: float  # gray level
    streaks: float  # gray levels
    metal: float  # gray level of the thread
    gloss: float
    noise: float  # gray levels

    @classmethod
    def draw(cls, u: _Uniforms, height: int, width: int) -> "_Part":
        # The order of the draws is the data set: a new one goes to the end.
        side = min(height, width)
        rim = side * u.between(0.25, 0.27)
        return cls(
            scale=side / _DESIGN_SIDE,
            center=(height / 2 + side * u.between(-0.06, 0.06), width / 2 + side * u.between(-0.06, 0.06)),
            tilt=(rim * u.between(-0.10, 0.10), rim * u.between(-0.10, 0.10)),
            rim=rim,
            bottom=rim * u.between(0.36, 0.42),
            chamfer=rim * u.between(0.09, 0.13),
            turns=u.between(5.2, 6.2),
            phase=next(u),
            rotation=math.radians(u.between(-5.0, 5.0)),
            light=math.radians(u.between(-70.0, 70.0) - 90.0),
            gradient=u.between(0.04, 0.20),
            vignette=u.between(0.10, 0.22),
            face=u.between(128.0, 152.0),
            streaks=u.between(3.0, 5.5),
            metal=u.between(120.0, 150.0),
            gloss=u.between(0.7, 1.3),
            noise=u.between(1.5, 2.5),
        )


def _render(part: _Part, u: _Uniforms, height: int, width: int) -> Float32[np.ndarray, "height width"]:
    """The part without defect and noise; above 0 everywhere, so that a defect has something to darken."""
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(part.center[0])
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(part.center[1])
    radius = np.hypot(y, x)
    angle = np.arctan2(y, x)

    face = part.face + _brushed(part, u, y, x)
    # The chamfer is a cone around the hole: bright where it faces the light, dark where it turns away.
    toward = np.cos(angle - np.float32(part.light))
    cone = part.face * (0.92 - 0.42 * toward * part.gloss)
    scene = _over(face, cone, part.rim + part.chamfer - radius)
    scene = _over(scene, _thread(part, y, x), part.rim - radius)

    # Uneven light over the whole, and the lens's vignette.
    along = (x * math.cos(part.light) + y * math.sin(part.light)) / (0.5 * max(height, width))
    middle_y = (np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2) / (height / 2)
    middle_x = (np.arange(width, dtype=np.float32)[None, :] - (width - 1) / 2) / (width / 2)
    scene = scene * (1 + part.gradient * along) * (1 - part.vignette * (middle_y**2 + middle_x**2) / 2)
    return np.clip(scene, 4.0, 250.0).astype(np.float32)


def _over(below: np.ndarray, above: np.ndarray, inside: np.ndarray) -> Float[np.ndarray, "height width"]:
    """Lay one surface over another where `inside` is positive, with an edge of one pixel."""
    cover = np.clip(inside + 0.5, 0.0, 1.0)
    return below + cover * (above - below)


def _brushed(part: _Part, u: _Uniforms, y: np.ndarray, x: np.ndarray) -> Float[np.ndarray, "height width"]:
    """Fine parallel streaks, and slow stains: what brushing leaves on a face."""
    across = y * math.cos(part.rotation) - x * math.sin(part.rotation)
    along = x * math.cos(part.rotation) + y * math.sin(part.rotation)
    reach = max(y.size, x.size)
    streaks = u.array(2 * reach, _STREAKS_ALONG) - 0.5
    fine = _interpolate(streaks, across / (1.6 * part.scale) + reach, (along / reach + 1) * (_STREAKS_ALONG - 1) / 2)
    stains = _interpolate(
        u.array(_MOTTLE, _MOTTLE) - 0.5, *((axis / reach + 1) * (_MOTTLE - 1) / 2 for axis in (across, along))
    )
    return part.streaks * (2.2 * fine + 1.2 * stains)


def _interpolate(lattice: np.ndarray, row: np.ndarray, column: np.ndarray) -> Float[np.ndarray, "height width"]:
    """Read a lattice of random values bilinearly, at places that may lie a little outside."""
    rows, columns = lattice.shape
    row, column = np.clip(row, 0, rows - 1.001), np.clip(column, 0, columns - 1.001)
    i, j = row.astype(np.int64), column.astype(np.int64)
    s, t = row - i, column - j
    return (1 - s) * ((1 - t) * lattice[i, j] + t * lattice[i, j + 1]) + s * (
        (1 - t) * lattice[i + 1, j] + t * lattice[i + 1, j + 1]
    )


def _thread(part: _Part, y: np.ndarray, x: np.ndarray) -> Float[np.ndarray, "height width"]:
    """The inside of the hole: what lies deeper is seen nearer to the center, smaller and darker.

    At depth d (0 at the rim, 1 at the bottom) the wall is seen at the radius `rim / (1 + (rim / bottom - 1) d)`,
    around a center that moves with the camera's tilt.
    """
    narrowing = part.rim / part.bottom - 1
    depth = np.zeros((y.size, x.size), np.float32)
    for _ in range(3):  # the center depends on the depth, and the depth on the center
        dy, dx = y - depth * part.tilt[0], x - depth * part.tilt[1]
        radius = np.hypot(dy, dx)
        depth = np.clip((part.rim / np.maximum(radius, 1e-3) - 1) / narrowing, 0.0, 1.0)
    angle = np.arctan2(dy, dx)

    # A right-handed helix: once around is one pitch deeper.
    turn = np.float32(2 * math.pi) * (depth * part.turns + part.phase) + angle
    flank = np.tanh(1.8 * np.cos(turn)) / math.tanh(1.8)  # 1 where it faces up, -1 where it faces down
    lit = -np.cos(angle - np.float32(part.light))  # the wall opposite the light
    # The turns lie closer together with depth, until the lens cannot tell them apart.
    contrast = 1 - 0.45 * depth
    diffuse = 0.46 + contrast * (0.26 * flank + 0.17 * flank * lit) + 0.16 * lit
    crest = np.clip(np.cos(turn - 0.9), 0.0, 1.0) ** 6 * np.clip(0.35 + 0.65 * lit, 0.0, 1.0)
    wall = part.metal * (diffuse + 0.55 * part.gloss * contrast * crest) * np.exp(-0.75 * depth)

    # The drill's cone at the bottom, with a faint reflection of the light.
    dy, dx = y - part.tilt[0], x - part.tilt[1]
    radius = np.hypot(dy, dx)
    reflection = 1 - np.hypot(
        dy - 0.35 * part.bottom * math.sin(part.light), dx - 0.35 * part.bottom * math.cos(part.light)
    ) / (1.6 * part.bottom)
    cone = 0.16 * part.metal * (0.7 + 0.8 * np.clip(reflection, 0.0, 1.0))
    return _over(wall, cone, part.bottom - radius)


def _place(part: _Part, u: _Uniforms, height: int, width: int) -> tuple[float, float]:
    """A point on the thread or on the face, as likely on one as on the other."""
    margin = 14 * part.scale
    if next(u) < 0.5:
        turn, r = u.between(0.0, 2 * math.pi), part.rim * u.between(0.6, 0.92)
        return part.center[0] + r * math.sin(turn), part.center[1] + r * math.cos(turn)
    for _ in range(100):
        y, x = u.between(margin, height - margin), u.between(margin, width - margin)
        if math.hypot(y - part.center[0], x - part.center[1]) > part.rim + part.chamfer + margin:
            return y, x
    raise AssertionError("the face is more than half of the image")


def _add_crack(
    scene: Float32[np.ndarray, "height width"], part: _Part, u: _Uniforms
) -> Float32[np.ndarray, "height width"]:
    """Darken the pixels near a random walk that keeps its heading for a while, tapered at both ends."""
    height, width = scene.shape
    y, x = _place(part, u, height, width)
    thickest = u.between(1.5, 2.8) * max(part.scale, 0.8)
    contrast = u.between(0.20, 0.50)
    steps = int(u.between(36.0, 88.0))
    step = 0.75 * part.scale
    heading, bend = u.between(0.0, 2 * math.pi), 0.0
    points = []
    for _ in range(steps):
        points.append((y, x))
        bend = 0.7 * bend + u.between(-0.10, 0.10)
        heading += bend
        y, x = y + step * math.sin(heading), x + step * math.cos(heading)
        if not (0 <= y < height and 0 <= x < width):  # it ends at the image's edge, and does not come back
            break

    # Only the pixels around the crack are looked at.
    (top, left), (end, right) = np.min(points, axis=0) - thickest - 2, np.max(points, axis=0) + thickest + 2
    rows = np.arange(max(int(top), 0), min(int(end) + 1, height), dtype=np.float32)[:, None]
    columns = np.arange(max(int(left), 0), min(int(right) + 1, width), dtype=np.float32)[None, :]
    near = np.zeros((rows.size, columns.size), np.float32)
    for k, (y, x) in enumerate(points):
        taper = 0.6 + 0.4 * math.sin(math.pi * (k + 0.5) / len(points))
        np.maximum(near, np.clip(thickest * taper / 2 + 0.5 - np.hypot(rows - y, columns - x), 0, 1), out=near)
    cover = np.zeros_like(scene)
    cover[int(rows[0, 0]) : int(rows[-1, 0]) + 1, int(columns[0, 0]) : int(columns[0, -1]) + 1] = near
    cover[cover < _LEAST_COVERAGE] = 0
    return scene * (1 - np.float32(contrast) * cover)


def _add_blowholes(
    scene: Float32[np.ndarray, "height width"], part: _Part, u: _Uniforms
) -> Float32[np.ndarray, "height width"]:
    """Lay one to four small dark ellipses close together, each with a rim that shines where it faces the light."""
    height, width = scene.shape
    center = _place(part, u, height, width)
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    marred = scene
    for k in range(1 + int(4 * next(u))):
        spread = 9.0 * part.scale * min(k, 1)
        y, x = (place + u.between(-spread, spread) for place in center)
        major = u.between(1.8, 5.0) * part.scale * (1.0 if k == 0 else 0.7)
        minor, turn = max(major * u.between(0.55, 1.0), 0.8), u.between(0.0, math.pi)
        contrast, shine = u.between(0.40, 0.70), u.between(0.25, 0.50)
        dy, dx = rows - y, columns - x
        a = (dx * math.cos(turn) + dy * math.sin(turn)) / max(major, 0.8)
        b = (dy * math.cos(turn) - dx * math.sin(turn)) / minor
        outside = (np.hypot(a, b) - 1) * minor  # nearly the distance to the ellipse, in pixels
        hole = np.clip(0.5 - outside, 0, 1)
        # The far side of the rim faces the light.
        facing = np.clip(
            -(dy * math.sin(part.light) + dx * math.cos(part.light)) / np.maximum(np.hypot(dy, dx), 1), 0, 1
        )
        rim = np.clip(1.5 * max(part.scale, 0.6) - np.abs(outside - 1), 0, 1) * facing
        hole[hole < _LEAST_COVERAGE] = 0
        rim[rim < _LEAST_COVERAGE] = 0
        marred = marred * (1 - np.float32(contrast) * hole) * (1 + np.float32(shine) * rim * (1 - hole))
    return np.minimum(marred, 250).astype(np.float32)
