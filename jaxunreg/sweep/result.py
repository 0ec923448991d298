"""The result of a sweep."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.errors import JaxunregError, NonFiniteLossError
from jaxunreg.models.base import Model, variables_like
from jaxunreg.models.latent_space import LatentSpace
from jaxunreg.sweep.latent_padding import resized
from jaxunreg.sweep.members import Member
from jaxunreg.training.state import StepMetrics
from jaxunreg.typing import Variables


class NoSuchMemberError(JaxunregError, IndexError):
    """A member was asked for by a number that no member has."""


class Failure(NamedTuple):
    """Why a member has no weights.

    Attributes:
      step: the step of the first loss that was not finite, or at which a parameter was found that is not finite.
      loss: loss of that step; finite if a parameter was the reason.
    """

    step: int
    loss: float

    def __str__(self) -> str:
        what = "a parameter that is NaN or infinite" if np.isfinite(self.loss) else f"a loss of {self.loss}"
        return f"got {what} at step {self.step}; expected finite values; lower learning_rate or raise warmup_steps"


@dataclass(frozen=True)
class SweepResult:
    """The result of `fit_sweep`. Its arrays are NumPy arrays, which hold no device memory.

    Attributes:
      model: the model with the largest latent size. If members have several sizes, it masks the dimensions that each
        lacks.
      members: as they were given, with every `None` replaced.
      history: loss, D, A and M of each step's batch, each `[members, steps]`. They are NaN from the first loss of a
        member that was not finite. `loss` is `kl_weight * D + A + M`.
      evaluations: for each member the records that `fit` writes into `metrics.jsonl` when it evaluates: `step`,
        `held_out` with the means `loss`, `d`, `a`, `m`, and what `evaluate` returned.
      failures: members, by index, whose loss or parameters became NaN or infinite. The others are not affected.
      stacked: variables of all members on a leading axis, padded to the largest latent size. With `model` they score as
        the small models do, so `jax.vmap` over them runs an ensemble of mixed latent sizes as one program. A failed
        member has the variables with which it failed.
    """

    model: Model
    members: tuple[Member, ...]
    history: StepMetrics
    evaluations: tuple[tuple[dict[str, Any], ...], ...]
    failures: Mapping[int, Failure]
    stacked: Variables

    def variables(self, member: int) -> tuple[Model, Variables]:
        """Return a member's own model and variables, as `fit` would have made them, for `make_scorer` or `save_model`.

        Args:
          member: its index in `members`.

        Returns:
          The model of the member's latent size, and its parameters and batch statistics.

        Raises:
          NoSuchMemberError: there is no such member.
          NonFiniteLossError: the member failed.
        """
        if not 0 <= member < len(self.members):
            raise NoSuchMemberError(
                f"member {member}", f"0 to {len(self.members) - 1}", "count the members from 0", field="member"
            )
        if member in self.failures:
            raise NonFiniteLossError(f"member {member} of the sweep failed: {self.failures[member]}")
        model = self.members[member].own_model(self.model.with_latent_space(LatentSpace()))
        shapes = variables_like(model)
        padded = {name: jax.tree.map(lambda leaf: leaf[member], self.stacked[name]) for name in shapes}
        cut = resized(padded, shapes, self.model.latent_dim, model.latent_dim)
        return model, jax.tree.map(jnp.asarray, cut)
