"""The image of a part without defect and noise: a brushed face around a threaded hole."""

import math

import numpy as np
from jaxtyping import Float, Float32

from jaxunreg.datasets.generated_parts.geometry import Part
from jaxunreg.datasets.generated_parts.random_bits import Uniforms

_STREAKS_ALONG, _MOTTLE = 5, 7


def render(part: Part, u: Uniforms, height: int, width: int) -> Float32[np.ndarray, "height width"]:
    """Draw the part without defect and noise. It is above 0 everywhere, so that a defect can darken it."""
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


def _brushed(part: Part, u: Uniforms, y: np.ndarray, x: np.ndarray) -> Float[np.ndarray, "height width"]:
    """Draw a brushed face: fine parallel streaks, and slow stains."""
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


def _thread(part: Part, y: np.ndarray, x: np.ndarray) -> Float[np.ndarray, "height width"]:
    """Draw the inside of the hole: deeper parts are nearer to the center, smaller and darker.

    At depth d (0 at the rim, 1 at the bottom) the wall appears at the radius `rim / (1 + (rim / bottom - 1) d)`, around
    a center that moves with the camera's tilt.
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
    # The turns lie closer together with depth, until the lens cannot resolve them.
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
