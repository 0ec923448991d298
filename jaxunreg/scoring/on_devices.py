"""Programs on each of several devices of this process. The devices do not communicate."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.parallel.mesh import AXIS, data_mesh
from jaxunreg.typing import PyTree

Backend = Literal["shard_map", "pmap"]


def mesh_of(devices: Sequence[jax.Device] | None, backend: str) -> Mesh:
    """Return a mesh of the devices, among some, that belong to this process.

    Args:
      devices: devices; by default all of this process.
      backend: backend that will be used with the mesh.

    Raises:
      ArgumentError: there is no device, a device is named twice, all devices belong to other processes, or the backend
        is unknown.
    """
    if backend not in get_args(Backend):
        raise ArgumentError(argument("backend", backend), f"one of {list(get_args(Backend))}")
    if devices is None:
        devices = jax.local_devices()
    own = [device for device in devices if device.process_index == jax.process_index()]
    if devices and not own:
        raise ArgumentError(
            f"devices of other processes than {jax.process_index()}, which is this one",
            "some of its own",
            "take jax.devices() or jax.local_devices()",
            field="devices",
        )
    # With all devices if one is named twice, so that `data_mesh` refuses that even for devices of other processes.
    return data_mesh(own if len(set(devices)) == len(devices) else devices)


def copied(tree: PyTree, mesh: Mesh, backend: Backend) -> PyTree:
    """Copy each array to each device. For pmap, return one array with an axis of devices."""
    if backend == "pmap":
        tree = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (mesh.size, *leaf.shape)), tree)
        return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(AXIS)))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def prepared(
    function: Callable[..., Any], tree: PyTree, shared: Any, split: Any, mesh: Mesh, backend: Backend
) -> tuple[Any, tuple[Any, ...]]:
    """Compile `function(tree, shared, split)` for each device, and place its arguments.

    The leading axis of the result joins the results of the devices. With pmap, the devices have a separate axis before
    it.

    Args:
      function: a pure function, the same object for each call, so that it compiles once.
      tree: arrays from `copied`.
      shared: arrays that each device gets whole.
      split: arrays of which each device gets its part of the leading axis.
      mesh: the devices.
      backend: `shard_map` or `pmap`.
    """
    if backend == "pmap":
        split = jax.tree.map(lambda leaf: leaf.reshape(mesh.size, -1, *leaf.shape[1:]), split)
    split = jax.device_put(split, NamedSharding(mesh, PartitionSpec(AXIS)))
    return _on_each_device(function, mesh, backend), (tree, copied(shared, mesh, backend), split)


@functools.lru_cache(maxsize=64)
def _on_each_device(function: Callable[..., Any], mesh: Mesh, backend: Backend) -> Any:
    if backend == "pmap":
        return jax.pmap(function, axis_name=AXIS, devices=list(mesh.devices.flat))
    specs = (PartitionSpec(), PartitionSpec(), PartitionSpec(AXIS))
    # Every output is split, so there is no replicated output to check.
    each = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False)
    return jax.jit(each)


def refuse_traced(images: Any) -> None:
    """Refuse images inside of a program.

    Raises:
      ArgumentTypeError: the images are traced.
    """
    if isinstance(images, jax.core.Tracer):
        raise ArgumentTypeError(
            "images inside of jit, vmap or grad",
            "arrays with values, since a sharded scorer starts its own programs",
            "inside of a program use the scorer itself, jax.vmap(scorer), and give jit the sharding of the images",
            field="images",
        )
