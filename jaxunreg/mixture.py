"""The decomposition of a Gaussian mixture's likelihood into D, A and M (eq. 7 and 8 of the paper)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxunreg.decomposition import LOG_2PI, Decomposition


def gmm_component_terms(
    x: Float[Array, "features"],
    weights: Float[Array, "components"],
    means: Float[Array, "components features"],
    precisions_cholesky: Float[Array, "components features features"],
) -> Decomposition:
    r"""Return D, A and M of one sample under every component of a Gaussian mixture (eq. 8, for each `k`).

    `D_k = -log w_k`, `A_k = 1/2 log((2 pi)^N |Sigma_k|)`, `M_k = 1/2 (x - mu_k)^T Sigma_k^-1 (x - mu_k)`, so
    that `D_k + A_k + M_k = -log p(x, z = k)`. The log-sum-exp of the negated sum over `k` is `log p(x)`, and its
    softmax is `p(z | x)`.

    Args:
      x: one sample, floating point. `jax.vmap` makes this a function of a batch, with matrix products.
      weights: `w_k`, positive, summing to one; same dtype.
      means: `mu_k`; same dtype.
      precisions_cholesky: `U_k` with `U_k U_k^T = Sigma_k^-1` and a positive diagonal, upper triangular as
        scikit-learn has it (`GaussianMixture.precisions_cholesky_` of full covariances); same dtype.

    Returns:
      Leaves `[components]`, in nats.

    >>> import jax.numpy as jnp
    >>> mixture = jnp.array([0.5, 0.5]), jnp.array([[1.0], [3.0]]), jnp.ones((2, 1, 1))
    >>> terms = gmm_component_terms(jnp.array([3.0]), *mixture)
    >>> terms.m.tolist()
    [2.0, 0.0]
    """
    log_determinants = jnp.sum(jnp.log(jnp.diagonal(precisions_cholesky, axis1=1, axis2=2)), axis=1)
    return Decomposition(
        d=-jnp.log(weights),
        a=0.5 * x.shape[0] * LOG_2PI - log_determinants,
        m=_half_squared_mahalanobis(x, means, precisions_cholesky),
    )


def gmm_map_component(terms: Decomposition) -> Int[Array, ""]:
    """Return the maximum a posteriori component, `k = argmax_z p(z | x)`, of one sample.

    The evidence `p(x)` is common to all components, so this is the component with the smallest `D_k + A_k + M_k`, the
    first of equals.

    Args:
      terms: leaves `[components]`, as `gmm_component_terms` returns them.

    Returns:
      The index, a scalar.

    >>> import jax.numpy as jnp
    >>> terms = Decomposition(d=jnp.zeros(2), a=jnp.array([0.0, 1.0]), m=jnp.array([3.0, 1.0]))
    >>> int(gmm_map_component(terms))
    1
    """
    return jnp.argmin(terms.nelbo)


def gmm_decompose_with_component(
    x: Float[Array, "features"],
    weights: Float[Array, "components"],
    means: Float[Array, "components features"],
    precisions_cholesky: Float[Array, "components features features"],
) -> tuple[Decomposition, Int[Array, ""]]:
    """Return `gmm_decompose`, and the component of its terms.

    >>> import jax.numpy as jnp
    >>> mixture = jnp.array([0.5, 0.5]), jnp.array([[1.0], [3.0]]), jnp.ones((2, 1, 1))
    >>> terms, component = gmm_decompose_with_component(jnp.array([5.0]), *mixture)
    >>> float(terms.m), int(component)
    (2.0, 1)
    """
    terms = gmm_component_terms(x, weights, means, precisions_cholesky)
    component = gmm_map_component(terms)
    return jax.tree.map(lambda leaf: leaf[component], terms), component


def gmm_decompose(
    x: Float[Array, "features"],
    weights: Float[Array, "components"],
    means: Float[Array, "components features"],
    precisions_cholesky: Float[Array, "components features features"],
) -> Decomposition:
    """Return D, A and M of one sample at its maximum a posteriori component (eq. 7 and 8).

    `D + A + M = -log p(x, z = k)` with `k = argmax_z p(z | x)`. With one component D vanishes and M is half
    the squared Mahalanobis distance. The terms are differentiable wherever the component does not change.

    Args:
      x: one sample, floating point.
      weights: `w_k`, positive, summing to one; same dtype.
      means: `mu_k`; same dtype.
      precisions_cholesky: `U_k` with `U_k U_k^T = Sigma_k^-1` and a positive diagonal; same dtype.

    Returns:
      Scalars, in nats; higher is more anomalous.

    >>> import jax, jax.numpy as jnp
    >>> mixture = jnp.array([0.5, 0.5]), jnp.array([[1.0], [3.0]]), jnp.ones((2, 1, 1))
    >>> terms = jax.vmap(gmm_decompose, in_axes=(0, None, None, None))(jnp.array([[0.0], [5.0]]), *mixture)
    >>> terms.m.tolist()
    [0.5, 2.0]
    """
    return gmm_decompose_with_component(x, weights, means, precisions_cholesky)[0]


# Compiled here, because outside of a jit every call of lax.map would compile its body again.
@jax.jit
def _half_squared_mahalanobis(
    x: Float[Array, "features"],
    means: Float[Array, "components features"],
    precisions_cholesky: Float[Array, "components features features"],
) -> Float[Array, "components"]:
    def of_component(component: tuple[Array, Array]) -> Array:
        mean, factor = component
        # The residual comes first: x @ U - mu @ U would subtract two large numbers and lose digits in float32.
        return 0.5 * jnp.sum(jnp.square((x - mean) @ factor))

    # One component after the other, so that under vmap a batch holds one residual per image instead of one per
    # component.
    return jax.lax.map(of_component, (means, precisions_cholesky))
