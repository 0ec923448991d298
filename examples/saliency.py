"""The gradient of M with respect to the image: which pixels make the image anomalous.

python -m examples.saliency
"""

import jax
import jax.numpy as jnp
import numpy as np

import jaxunreg as ju
from examples.trained import DEFECT, SIZE, held_out, trained, with_defects
from jaxunreg.datasets.digits.erasing import anomaly_masks


@jax.jit
def saliency(scorer: ju.Scorer, images: jax.Array) -> jax.Array:
    """Return `|dM / dx|` summed over channels: `[n, height, width]`, in nats a unit of intensity in [0, 1]."""
    gradient = jax.vmap(jax.grad(lambda image: scorer(image).m))(images)
    return jnp.sum(jnp.abs(gradient), axis=-1)


def main(steps: int = 200, count: int = 32) -> np.ndarray:
    """Return how much more salient a pixel of the defect is than one beside it, for each image."""
    images, boxes = with_defects(held_out(count))
    maps = saliency(trained(steps=steps), images / np.float32(255))

    defect = anomaly_masks(boxes, (SIZE, SIZE), DEFECT.size)
    inside, outside = (np.mean(maps, axis=(1, 2), where=mask) for mask in (defect, ~defect))
    ratio = inside / outside
    print(f"a pixel of the defect is {np.median(ratio):.1f} times as salient as one beside it")
    assert np.median(ratio) > 1.0
    return ratio


if __name__ == "__main__":
    main()
