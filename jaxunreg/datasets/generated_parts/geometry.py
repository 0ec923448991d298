"""The look of one part, drawn from uniform numbers."""

import math
from typing import NamedTuple

from jaxunreg.datasets.generated_parts.random_bits import Uniforms

# The look is designed for this length of the shorter side and scales with it.
_DESIGN_SIDE = 256


class Part(NamedTuple):
    """The look of one part. Lengths are in pixels, angles in radians, gray levels 0 to 255."""

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
    def draw(cls, u: Uniforms, height: int, width: int) -> "Part":
        """Draw the look of one part in an image of that size."""
        # The order of the draws defines the data set, so a new draw goes to the end.
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
