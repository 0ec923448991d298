"""A Gaussian of the rows of a table, with D, A and M of each row."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from jaxunreg.decomposition import LOG_2PI, Decomposition
from jaxunreg.errors import ArgumentError
from jaxunreg.signatures import checked

SHRINKAGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)
"""The shrinkages to try. They are above zero, so that the covariance of fewer rows than columns has an inverse."""

_FOLDS = 5


@dataclass(frozen=True, eq=False)
class RowGaussian:
    """A Gaussian of rows, whose negative log-likelihood is D + A + M. `fit_row_gaussian` makes it.

    `Sigma` is `diag(scale) C diag(scale)`, and `C` has variances along some axes and another across them.

    Attributes:
      mean: `mu`, float64 `[features]`.
      scale: standard deviation of each column, `[features]`; 1 for a column that does not vary.
      axes: orthonormal columns, `[features, k]`, with `k` at most the number of rows of the fit.
      variances: `[k]`.
      rest: the variance across the axes, `[features]`: `s`, and 1 for a column that does not vary.
      log_normalizer: A, `1/2 log det(2 pi Sigma)`, in nats.
      shrinkage: `s`, the share by which the correlations were reduced.
      held_out_nats: mean of A + M over the rows of other folds for each of `SHRINKAGES`, in nats a row.
    """

    mean: Float64[np.ndarray, " features"]
    scale: Float64[np.ndarray, " features"]
    axes: Float64[np.ndarray, "features k"]
    variances: Float64[np.ndarray, " k"]
    rest: Float64[np.ndarray, " features"]
    log_normalizer: float
    shrinkage: float
    held_out_nats: tuple[float, ...]

    @checked
    def decompose(self, rows: Float64[np.ndarray, "n features"]) -> Decomposition:
        """Return D, A and M of each row.

        Args:
          rows: rows with the columns of the fit.

        Returns:
          Leaves float64 NumPy arrays `[n]`, in nats; higher is more anomalous. D is zero, because there is no latent
          variable.

        Raises:
          ArgumentError: the number of columns differs.
          ArgumentTypeError: rows of another dtype.
        """
        if rows.shape[1] != len(self.mean):
            raise ArgumentError(
                f"rows of {rows.shape[1]} columns", f"{len(self.mean)}, as those of the fit", field="rows"
            )
        standard = (rows - self.mean) / self.scale
        along = standard @ self.axes
        # The residual first: a difference of squares would lose digits.
        across = np.square(standard - along @ self.axes.T)
        m = 0.5 * ((np.square(along) / self.variances).sum(axis=1) + (across / self.rest).sum(axis=1))
        return Decomposition(d=np.zeros_like(m), a=np.full_like(m, self.log_normalizer), m=m)


@checked
def fit_row_gaussian(rows: Float64[np.ndarray, "n features"], *, seed: int = 0) -> RowGaussian:
    """Fit a Gaussian to rows, with the shrinkage that predicts held-out rows best.

    Columns are divided by their standard deviation, so their units do not matter. Their correlation matrix `R` is
    shrunk to `(1 - s) R + s I`. The Gaussian of four folds predicts the fifth, for each of five folds, and the `s` with
    the fewest nats is taken. The density describes the original rows: A includes the scale of the columns.

    A column that does not vary has a variance of 1.

    Args:
      rows: rows that are assumed normal, finite; two or more. A fit takes some `features^2 rows` operations, or
        `features rows^2` where there are fewer rows than columns.
      seed: seed of the folds.

    Returns:
      The Gaussian.

    Raises:
      ArgumentError: there are fewer than two rows.
      ArgumentTypeError: rows of another dtype.

    >>> rows = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 10.0, 100.0]
    >>> gaussian = fit_row_gaussian(rows)
    >>> terms = gaussian.decompose(np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    >>> bool(terms.m[1] > 30 > terms.m[0])
    True
    """
    if len(rows) < 2:
        raise ArgumentError(f"{len(rows)} row(s)", "at least 2 to fit a covariance to", "add rows", field="rows")
    # By the values: after rounding, the standard deviation of equal numbers is not always zero.
    is_constant = rows.min(axis=0) == rows.max(axis=0)
    mean = np.where(is_constant, rows[0], rows.mean(axis=0))
    scale = np.where(is_constant, 1.0, rows.std(axis=0, ddof=1))
    standard = (rows - mean) / scale
    nats = _held_out_nats(standard[:, ~is_constant], seed) + 0.5 * LOG_2PI * is_constant.sum()
    shrinkage = SHRINKAGES[int(np.argmin(nats))]
    values, inner = _principal(standard[:, ~is_constant])
    axes = np.zeros((len(mean), len(values)))
    axes[~is_constant] = inner
    variances = _shrunk(values, shrinkage)
    left = int((~is_constant).sum()) - len(values)
    log_determinant = float(np.log(variances).sum() + left * np.log(shrinkage) + 2.0 * np.log(scale).sum())
    return RowGaussian(
        mean=mean,
        scale=scale,
        axes=axes,
        variances=variances,
        rest=np.where(is_constant, 1.0, shrinkage),
        log_normalizer=0.5 * (LOG_2PI * len(mean) + log_determinant),
        shrinkage=shrinkage,
        held_out_nats=tuple(float(value + np.log(scale).sum()) for value in nats),
    )


def _held_out_nats(standard: np.ndarray, seed: int) -> np.ndarray:
    """Return the mean of A + M of every row under the Gaussian of the other folds, for each shrinkage."""
    order = np.random.default_rng(seed).permutation(len(standard))
    total = np.zeros(len(SHRINKAGES))
    for fold in np.array_split(order, min(_FOLDS, len(standard))):
        others = np.delete(standard, fold, axis=0)
        mean = others.mean(axis=0)
        values, axes = _principal(others - mean)
        centred = standard[fold] - mean
        along = centred @ axes
        across = np.square(centred - along @ axes.T).sum()
        left = standard.shape[1] - len(values)
        for k, shrinkage in enumerate(SHRINKAGES):
            variances = _shrunk(values, shrinkage)
            log_determinant = np.log(variances).sum() + left * np.log(shrinkage)
            distances = (np.square(along) / variances).sum() + across / shrinkage
            total[k] += 0.5 * (len(fold) * (LOG_2PI * standard.shape[1] + log_determinant) + distances)
    return total / len(standard)


def _principal(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variances and axes of centred rows: as many as columns, or as rows where those are fewer."""
    free = max(len(centred) - 1, 1)
    if len(centred) < centred.shape[1]:
        _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
        return np.square(lengths) / free, axes.T
    variances, axes = np.linalg.eigh(centred.T @ centred / free)
    return np.maximum(variances, 0.0), axes


def _shrunk(variances: np.ndarray, shrinkage: float) -> np.ndarray:
    return (1.0 - shrinkage) * variances + shrinkage
