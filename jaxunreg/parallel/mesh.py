"""The data mesh: arrays that are copied to its devices, or split over them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.typing import PyTree

AXIS = "data"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh of one axis, `data`, over some devices.

    Args:
      devices: the devices; by default all devices of all processes.

    Returns:
      The mesh. The devices of one process stand side by side; otherwise the order is kept.

    Raises:
      ArgumentError: there is no device, a device is named twice, or devices of some but not all other processes.

    >>> import jax
    >>> dict(data_mesh(jax.devices()[:1]).shape)
    {'data': 1}
    """
    devices = jax.devices() if devices is None else list(devices)
    if not devices:
        raise ArgumentError(argument("devices", []), "at least one", f"leave {argument('devices')} out to use all")
    twice = sorted({str(device) for device in devices if devices.count(device) > 1})
    if twice:
        raise ArgumentError(f"devices that are named twice: {', '.join(twice)}", "each once", field="devices")
    processes = {device.process_index for device in devices}
    if processes not in ({jax.process_index()}, set(range(jax.process_count()))):
        raise ArgumentError(
            f"devices of the processes {sorted(processes)} in process {jax.process_index()} of {jax.process_count()}",
            "those of this process, or of all",
            "take jax.local_devices() or jax.devices()",
            field="devices",
        )
    # Auto axes: XLA decides how intermediate values are split.
    devices = sorted(devices, key=lambda device: device.process_index)
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Copy each array to each device of the mesh. Several processes must hold the same values.

    >>> import jax, numpy as np
    >>> replicate(np.zeros(3), data_mesh()).sharding.is_fully_replicated
    True
    """
    sharding = NamedSharding(mesh, PartitionSpec())

    def place(leaf: Any) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(place, tree)


def local(tree: PyTree) -> PyTree:
    """Return this process's first copy of replicated arrays, without moving it.

    Args:
      tree: arrays from `replicate`, or from a program that took them.

    >>> import jax, numpy as np
    >>> len(local(replicate(np.zeros(3), data_mesh())).devices())
    1
    """

    def first(leaf: Array) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(first(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        return leaf.addressable_data(0)

    return jax.tree.map(first, tree)


def own_columns(mesh: Mesh, batch_size: int) -> slice:
    """Return which images of each batch go to the devices of this process.

    Args:
      mesh: from `data_mesh`.
      batch_size: images in a batch, over all devices.

    Raises:
      ArgumentError: the number of devices does not divide the batch size.

    >>> own_columns(data_mesh(jax.devices()[:1]), 12)
    slice(0, 12, None)
    """
    if batch_size % mesh.size:
        below = batch_size // mesh.size * mesh.size
        raise ArgumentError(
            f"{argument('batch_size', batch_size)} with {mesh.size} devices",
            "a multiple, so that each device has as many images",
            f"take {argument('batch_size', below or mesh.size)} or {below + mesh.size}, or fewer devices",
        )
    a_device = batch_size // mesh.size
    mine = [k for k, device in enumerate(mesh.devices.flat) if device.process_index == jax.process_index()]
    return slice(mine[0] * a_device, (mine[-1] + 1) * a_device)


def split_columns(columns: np.ndarray, mesh: Mesh, batch_size: int) -> Array:
    """Make one array over all devices from each process's own columns.

    Args:
      columns: `[steps, own, ...]`, the images `own_columns` of each batch.
      mesh: from `data_mesh`.
      batch_size: images in a batch, over all devices.

    Returns:
      `[steps, batch_size, ...]`, split along its second axis.

    >>> import numpy as np
    >>> split_columns(np.zeros((2, 16, 3)), data_mesh(), 16).shape
    (2, 16, 3)
    """
    sharding = NamedSharding(mesh, PartitionSpec(None, AXIS))
    shape = (columns.shape[0], batch_size, *columns.shape[2:])
    return jax.make_array_from_process_local_data(sharding, columns, shape)
