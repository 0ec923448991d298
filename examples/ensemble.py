"""An ensemble in one program: the scorers' variables stacked, and `vmap` over them.

python -m examples.ensemble
"""

import jax
import jax.numpy as jnp
import numpy as np

import jaxunreg as ju
from examples.trained import held_out, score, trained, with_defects


def main(steps: int = 200, members: int = 3, count: int = 64) -> ju.Decomposition:
    """Score normal images, then the same images with a defect, by every member: `[members, 2 count]`."""
    scorers = [trained(seed, steps) for seed in range(members)]
    # A scorer is a pytree. Its arrays stack, and the result is again a scorer, of all members.
    ensemble = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scorers)
    images = np.concatenate([held_out(count), with_defects(held_out(count)).images])
    terms = jax.vmap(score, in_axes=(0, None))(ensemble, images)

    for member, scorer in enumerate(scorers):
        np.testing.assert_allclose(terms.m[member], score(scorer, images).m, rtol=1e-3)
    normal, defect = jnp.split(jnp.mean(terms.m, axis=0), 2)
    spread = jnp.mean(jnp.std(terms.m, axis=0))
    print(f"mean M of {members} members: {jnp.mean(normal):.0f} nats, with a defect {jnp.mean(defect):.0f}; ", end="")
    print(f"they differ by {spread:.0f} nats (standard deviation)")
    return terms


if __name__ == "__main__":
    main()
