"""The scorer inside `lax.scan`: watch a video, smooth M over its frames, and raise an alarm.

python -m examples.video
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxunreg as ju
from examples.trained import held_out, score, trained, with_defects


class Watch(NamedTuple):
    """The values after each frame: its D, A and M, the smoothed M, and whether the alarm is on."""

    terms: ju.Decomposition
    smoothed: jax.Array
    alarm: jax.Array


@jax.jit
def watch(scorer: ju.Scorer, frames: jax.Array, start: jax.Array, threshold: jax.Array) -> Watch:
    """Watch frames one after another, in memory for one: `s <- 0.8 s + 0.2 M(frame)` from `start`."""

    def step(smoothed: jax.Array, frame: jax.Array) -> tuple[jax.Array, Watch]:
        terms = scorer(frame)
        smoothed = 0.8 * smoothed + 0.2 * terms.m
        return smoothed, Watch(terms, smoothed, smoothed > threshold)

    return jax.lax.scan(step, start, frames)[1]


def main(steps: int = 200, count: int = 64) -> Watch:
    """Watch a still scene with camera noise. A defect comes half-way."""
    scorer = trained(steps=steps)
    scene = held_out(1)
    still = np.concatenate([np.repeat(scene, count, axis=0), np.repeat(with_defects(scene).images, count, axis=0)])
    noise = np.random.default_rng(0).normal(0.0, 4.0, still.shape)
    frames = np.clip(np.round(still + noise), 0, 255).astype(np.uint8)

    one_by_one = score(scorer, frames).m
    usual = one_by_one[: count // 2]
    result = watch(scorer, frames, jnp.mean(usual), jnp.mean(usual) + 5.0 * jnp.std(usual))

    np.testing.assert_allclose(result.terms.m, one_by_one, rtol=1e-3)
    print(f"the defect comes at frame {count}, the alarm at frame {jnp.argmax(result.alarm)}")
    return result


if __name__ == "__main__":
    main()
