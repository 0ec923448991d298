"""Cracks and blowholes. They change an image only near themselves."""

import math

import numpy as np
from jaxtyping import Float32

from jaxunreg.datasets.generated_parts.geometry import Part
from jaxunreg.datasets.generated_parts.random_bits import Uniforms

# With less coverage, a defect's rim would be in the mask but could not be seen.
_LEAST_COVERAGE = 0.25


def add_crack(
    scene: Float32[np.ndarray, "height width"], part: Part, u: Uniforms
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


def add_blowholes(
    scene: Float32[np.ndarray, "height width"], part: Part, u: Uniforms
) -> Float32[np.ndarray, "height width"]:
    """Draw one to four small dark ellipses close together, each with a rim that shines where it faces the light."""
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


def _place(part: Part, u: Uniforms, height: int, width: int) -> tuple[float, float]:
    """Return a point on the thread or on the face, with equal probability."""
    margin = 14 * part.scale
    if next(u) < 0.5:
        turn, r = u.between(0.0, 2 * math.pi), part.rim * u.between(0.6, 0.92)
        return part.center[0] + r * math.sin(turn), part.center[1] + r * math.cos(turn)
    for _ in range(100):
        y, x = u.between(margin, height - margin), u.between(margin, width - margin)
        if math.hypot(y - part.center[0], x - part.center[1]) > part.rim + part.chamfer + margin:
            return y, x
    raise AssertionError("the face is more than half of the image")
