"""The scorer inside a larger program: cut the part out of each camera frame, score it and decide, all in one `jit`.

python -m examples.inside_jit
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxunreg as ju
from examples.trained import SIZE, held_out, score, trained, with_defects


class Verdict(NamedTuple):
    """One entry for each frame, and the frame to look at first."""

    terms: ju.Decomposition
    reject: jax.Array
    worst: jax.Array


@jax.jit
def inspect(scorer: ju.Scorer, frames: jax.Array, corners: jax.Array, threshold: jax.Array) -> Verdict:
    """Inspect frames, uint8 `[n, height, width, 3]`, with the corner of each part, by a scorer as an argument."""

    def score_part(frame: jax.Array, corner: jax.Array) -> ju.Decomposition:
        return scorer(jax.lax.dynamic_slice(frame, (corner[0], corner[1], 0), (SIZE, SIZE, 3)))

    terms = jax.vmap(score_part)(frames, corners)
    return Verdict(terms, jnp.greater(terms.m, threshold), jnp.argmax(terms.m))


def main(steps: int = 200, count: int = 64) -> Verdict:
    """Inspect frames. The first half is normal, the second has a defect."""
    scorer = trained(steps=steps)
    parts = np.concatenate([held_out(count), with_defects(held_out(count)).images])
    corners = np.random.default_rng(0).integers(0, 9, size=(len(parts), 2))
    frames = np.zeros((len(parts), SIZE + 8, SIZE + 8, 3), np.uint8)
    for frame, part, (row, column) in zip(frames, parts, corners, strict=True):
        frame[row : row + SIZE, column : column + SIZE] = part

    # The threshold comes from other normal parts.
    usual = score(scorer, held_out(3 * count)[count:]).m
    verdict = inspect(scorer, frames, corners, jnp.quantile(usual, 0.95))

    np.testing.assert_allclose(verdict.terms.m, score(scorer, parts).m, rtol=1e-3)
    kept, found = jnp.mean(verdict.reject[:count]), jnp.mean(verdict.reject[count:])
    print(f"rejected: {kept:.0%} of the normal parts, {found:.0%} of those with a defect")
    return verdict


if __name__ == "__main__":
    main()
