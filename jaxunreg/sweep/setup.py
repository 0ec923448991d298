"""The setup that all parts of a sweep share, which also places arrays on the devices."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxunreg.models.base import Model
from jaxunreg.padding import filled
from jaxunreg.serialization import fingerprint
from jaxunreg.sweep.latent_padding import PaddedLatentSpace
from jaxunreg.sweep.members import Member
from jaxunreg.training.batches import stay_on_device
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.evaluation import HeldOut
from jaxunreg.typing import AnyImages, PyTree, Variables

EvaluateMember: TypeAlias = Callable[[Model, Variables], Mapping[str, Any]]
"""A function from a padded model and a member's padded variables to JSON data."""


@dataclass(frozen=True)
class SweepSetup:
    """The setup that all parts of a sweep share.

    Attributes:
      model: the model of the largest latent size, as it was given.
      images: training images.
      config: the settings that the members share.
      members: all of them.
      slots: number of members in the program, at least as many as in a part.
      mesh: the devices, with the axis `members`.
      vectorize: whether a device runs all its members at a time.
      held_out: images that every member scores.
      evaluate: called for each member.
    """

    model: Model
    images: AnyImages
    config: TrainConfig
    members: tuple[Member, ...]
    slots: int
    mesh: Mesh
    vectorize: bool
    held_out: HeldOut | None
    evaluate: EvaluateMember | None

    @functools.cached_property
    def masked(self) -> bool:
        """Whether any member of any part is padded. All parts use one program."""
        return any(member.latent_dim not in (None, self.model.latent_dim) for member in self.members)

    @functools.cached_property
    def padded(self) -> Model:
        """The model of the largest latent size, whose variables every member has."""
        return self.model.with_latent_space(PaddedLatentSpace()) if self.masked else self.model

    @functools.cached_property
    def resident(self) -> Array | None:
        """The images on each device, or None where they stay on the host."""
        return (
            self.everywhere(self.images) if stay_on_device(self.images.nbytes, self.config.images_on_device) else None
        )

    @functools.cached_property
    def held_out_batches(self) -> Array:
        """The held-out images in batches on each device; the last is filled up with zeros."""
        assert self.held_out is not None
        held_out = np.asarray(self.held_out)
        batch = min(len(held_out), self.config.batch_size)
        whole = filled(held_out, -(-len(held_out) // batch) * batch)
        return self.everywhere(whole.reshape(-1, batch, *held_out.shape[1:]))

    @functools.cached_property
    def images_sha256(self) -> str:
        """A hash of the training images, which is computed only where it is read."""
        return fingerprint(self.images)

    def everywhere(self, tree: PyTree) -> PyTree:
        """Put arrays on all devices of the mesh."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def spread(self, tree: PyTree) -> PyTree:
        """Fill up the leading axis of members with the last member, and split it over the devices."""

        def fill(leaf: Any) -> Any:
            return leaf[np.minimum(np.arange(self.slots), len(leaf) - 1)]

        return jax.device_put(jax.tree.map(fill, tree), NamedSharding(self.mesh, PartitionSpec("members")))
