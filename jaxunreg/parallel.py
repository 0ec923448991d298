"""Several devices and several processes: the data mesh, the sharded scorer, and what training needs of them.

Work is split along one mesh axis, `data`. Scoring needs no communication: each process scores its own images on its
own devices, and a device its own share of them. Training is one program over the devices of all processes, in which
XLA sums the moments of batch normalisation, the loss and the gradients over the whole batch: `jit` with shardings and
not `shard_map`, since so the model and its noise are written once, for one device.
"""

import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jaxunreg.decomposition import Decomposition
from jaxunreg.images import check_images
from jaxunreg.scoring import (
    Scorer,
    Term,
    apply_in_batches,
    batched_corners,
    batches_a_call,
    checked_grid,
    checked_term,
    filled,
    fold_scorer,
    images_a_batch,
    patch_terms,
    sum_patches,
)
from jaxunreg.typing import AnyImage, AnyImages, PyTree

AXIS = "data"
# Batches a device takes in one call of the program, at most. One alone is 0.8 times as fast on a CPU, where each call
# gets its memory anew; more would make more of what a small request is filled up with.
_BATCHES_A_CALL = 4
Backend = Literal["shard_map", "pmap"]
T = TypeVar("T")


class ProcessError(RuntimeError):
    """Another process of the program stopped with an error."""


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of one axis, `data`, over some devices.

    Args:
      devices: by default all, of all processes.

    Returns:
      The mesh; the devices of one process stand side by side, else they keep their order.

    Raises:
      ValueError: no device, one that is named twice, or devices of some other processes and not of all.

    >>> import jax
    >>> dict(data_mesh(jax.devices()[:1]).shape)
    {'data': 1}
    """
    devices = jax.devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("got devices=[]; expected at least one; leave devices out to use all")
    twice = sorted({str(device) for device in devices if devices.count(device) > 1})
    if twice:
        raise ValueError(f"got devices that are named twice: {', '.join(twice)}; expected each once")
    processes = {device.process_index for device in devices}
    if processes not in ({jax.process_index()}, set(range(jax.process_count()))):
        raise ValueError(
            f"got devices of the processes {sorted(processes)} in process {jax.process_index()} of "
            f"{jax.process_count()}; expected those of this process, or of all; take jax.local_devices() or "
            "jax.devices()"
        )
    # Auto axes: XLA works out how the values between are split.
    devices = sorted(devices, key=lambda device: device.process_index)
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


# The sharded scorer.


def sharded_scorer(
    scorer: Scorer,
    devices: Sequence[jax.Device] | None = None,
    *,
    backend: Backend = "shard_map",
    batch_size: int | None = None,
) -> "ShardedScorer":
    """Scores that are computed on several devices: the numbers of one device, in the same order.

    Batch normalisation is folded into the weights, and they are copied to each device, here and never again. The
    compiled programs have no communication between devices.

    Args:
      scorer: from `make_scorer`.
      devices: by default all. Of several processes (`jaxunreg.parallel.start`) each takes those that are its own, and
        scores what it is given, independently of the others.
      backend: `shard_map`, or `pmap` for pipelines that are built on it. They give the same numbers.
      batch_size: images a device takes at a time; by default as many as stay in a processor's cache. What is computed
        is a multiple of `batch_size` times the number of devices, so a smaller one answers small requests sooner.

    Returns:
      A callable: images `[N, height, width, channels]` to a `Decomposition` of `[N]`. Its methods `score_image` and
      `heat_map` spread the patches of one image of any size.

    Raises:
      ValueError: no device, one that is named twice or is of another process, an unknown backend, or a batch size
        below one.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> shard = ju.sharded_scorer(scorer, devices=jax.devices(), batch_size=4)
    >>> shard(jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))).m.shape
    (5,)
    """
    if backend not in get_args(Backend):
        raise ValueError(f"got backend={backend!r}; expected one of {list(get_args(Backend))}")
    batch_size = images_a_batch(scorer, batch_size)
    if devices is None:
        devices = jax.local_devices()
    own = [device for device in devices if device.process_index == jax.process_index()]
    if devices and not own:
        raise ValueError(
            f"got devices of other processes than {jax.process_index()}, which is this one; expected some of its own; "
            "take jax.devices() or jax.local_devices()"
        )
    # Found before the devices of others are left out: none, and twice.
    mesh = data_mesh(own if len(set(devices)) == len(devices) else devices)
    folded = jax.tree.map(np.asarray, fold_scorer(scorer))
    return ShardedScorer(_place_shared(folded, mesh, backend), mesh, backend, batch_size)


@dataclass(frozen=True, eq=False)
class ShardedScorer:
    """See `sharded_scorer`. It starts its own programs, so it is called from the host and not inside of `jit`.

    Attributes:
      scorer: model and folded variables, on every device.
      mesh: the devices.
      backend: `shard_map` or `pmap`.
      batch_size: images a device takes at a time.
    """

    scorer: Scorer
    mesh: Mesh
    backend: Backend
    batch_size: int

    def __call__(self, images: AnyImages) -> Decomposition:
        """D, A and M of any number of images, none included, by one compiled program whatever their number.

        Args:
          images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].

        Returns:
          NumPy float32 arrays `[N]`, in nats, higher is more anomalous.

        Raises:
          TypeError, ValueError: see `decompose`; also images inside of `jit` or `vmap`.
        """
        _refuse_traced(images)
        shape = self.scorer.model.config.image_shape
        if isinstance(images, np.ndarray | jax.Array) and images.ndim == 4 and len(images) == 0:
            check_images(np.zeros((1, *images.shape[1:]), images.dtype), (None, *shape))
            return Decomposition(*(np.zeros(0, np.float32) for _ in Decomposition._fields))
        check_images(images, (None, *shape))
        images = np.asarray(images)
        devices, batch = self.mesh.size, self.batch_size
        most = batches_a_call(self.scorer, batch, _BATCHES_A_CALL)
        call = devices * most * batch
        results: list[Decomposition] = []
        waiting: tuple[Decomposition, int] | None = None
        for start in range(0, len(images), call):
            part = images[start : start + call]
            # Each device takes as many batches, however many there are.
            count = -(-len(part) // (devices * batch))
            part = filled(part, devices * count * batch).reshape(devices, count, batch, *shape)
            part = filled(part, most, axis=1).reshape(-1, batch, *shape)
            result = self._start(_batch_terms, np.int32(count), part)
            # One call is prepared while the one before it runs, and no more, so that memory does not grow.
            if waiting is not None:
                results.append(self._in_order(*waiting))
            waiting = result, count
        assert waiting is not None
        results.append(self._in_order(*waiting))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(images)], *results)

    def _in_order(self, result: Decomposition, count: int) -> Decomposition:
        """The scores of the first `count` batches of each device, in the order of their images."""

        def take(leaf: np.ndarray) -> np.ndarray:
            return leaf.reshape(self.mesh.size, -1, self.batch_size)[:, :count].ravel()

        return jax.tree.map(take, jax.device_get(result))

    def score_image(
        self, image: AnyImage, *, stride: int, patch: int | None = None, batch_size: int | None = None
    ) -> Decomposition:
        """`jaxunreg.score_image`, its patches spread over the devices.

        Args:
          image: `[height, width, channels]`, at least as large as the model's; uint8, or floating point in [0, 1].
          stride: pixels from one patch to the next.
          patch: size of a patch. It is the model's, and may be given to have it checked.
          batch_size: patches a device takes at a time; by default that of the scorer.

        Returns:
          NumPy float32 maps `[rows, columns]`, in nats a patch, higher is more anomalous.

        Raises:
          TypeError, ValueError: see `jaxunreg.score_image`; also an image inside of `jit` or `vmap`.
        """
        _refuse_traced(image)
        grid = checked_grid(self.scorer, image, patch, stride)
        corners = batched_corners(grid, self._patches_a_batch(batch_size), self.mesh.size)
        maps = jax.device_get(self._start(patch_terms, image, corners))
        return jax.tree.map(lambda leaf: leaf.ravel()[: len(grid.corners)].reshape(grid.shape), maps)

    def heat_map(
        self,
        image: AnyImage,
        *,
        stride: int,
        patch: int | None = None,
        batch_size: int | None = None,
        term: Term = "m",
    ) -> Float[np.ndarray, "height width"]:
        """`jaxunreg.heat_map`, its patches spread over the devices; their maps are added on the host.

        Args:
          image: `[height, width, channels]`, at least as large as the model's; uint8, or floating point in [0, 1].
          stride: pixels from one patch to the next, at most the size of a patch.
          patch: see `score_image`.
          batch_size: see `score_image`.
          term: which one; `nelbo` is their sum.

        Returns:
          NumPy float32 `[height, width]`, in nats a pixel, higher is more anomalous.

        Raises:
          TypeError, ValueError: see `jaxunreg.heat_map`; also an image inside of `jit` or `vmap`.
        """
        _refuse_traced(image)
        grid = checked_grid(self.scorer, image, patch, stride)
        checked_term(term, grid, stride)
        corners = batched_corners(grid, self._patches_a_batch(batch_size), self.mesh.size)
        # What fills up the last batches counts for nothing.
        weights = (np.arange(corners[..., 0].size) < len(grid.corners)).astype(np.float32)
        parts = self._start(_patch_sum(term), image, (corners, weights.reshape(corners.shape[:2])))
        height, width = image.shape[:2]
        total = np.zeros((height, width), np.float32)
        # One after another, since each is as large as the image.
        for part in parts.addressable_shards:
            total += jax.device_get(part.data).reshape(height, width)
        return total / grid.coverage(height, width).astype(np.float32)

    def _patches_a_batch(self, batch_size: int | None) -> int:
        return self.batch_size if batch_size is None else images_a_batch(self.scorer, batch_size)

    def _start(self, function: Callable[..., Any], shared: Any, split: Any) -> Any:
        program, arguments = self._prepare(function, shared, split)
        return program(*arguments)

    def _prepare(self, function: Callable[..., Any], shared: Any, split: Any) -> tuple[Any, tuple[Any, ...]]:
        """`function(scorer, shared, split)` compiled for each device, and its arguments.

        `shared` goes to each device whole, the leading axis of `split` is cut into as many parts, and the leading axis
        of the result is put together from theirs. With pmap, each part has an axis of its own before that.
        """
        if self.backend == "pmap":
            split = jax.tree.map(lambda leaf: leaf.reshape(self.mesh.size, -1, *leaf.shape[1:]), split)
        split = jax.device_put(split, NamedSharding(self.mesh, PartitionSpec(AXIS)))
        program = _on_each_device(function, self.mesh, self.backend)
        return program, (self.scorer, _place_shared(shared, self.mesh, self.backend), split)


@functools.lru_cache(maxsize=64)
def _on_each_device(function: Callable[..., Any], mesh: Mesh, backend: Backend) -> Any:
    if backend == "pmap":
        return jax.pmap(function, axis_name=AXIS, devices=list(mesh.devices.flat))
    specs = (PartitionSpec(), PartitionSpec(), PartitionSpec(AXIS))
    # Every output is split, so nothing that is replicated is there to be checked.
    each = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False)
    return jax.jit(each)


def _place_shared(tree: PyTree, mesh: Mesh, backend: Backend) -> PyTree:
    """A copy of each array on each device; for pmap as one array with an axis of devices."""
    if backend == "pmap":
        tree = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (mesh.size, *leaf.shape)), tree)
        return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(AXIS)))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def _batch_terms(scorer: Scorer, count: Array, batches: Array) -> Decomposition:
    return apply_in_batches("terms", scorer, batches, count)


@functools.cache
def _patch_sum(term: Term) -> Callable[..., Array]:
    def one(scorer: Scorer, image: Array, batches: tuple[Array, Array]) -> Array:
        return sum_patches(scorer, image, *batches, term)[None]

    return one


def _refuse_traced(images: Any) -> None:
    if isinstance(images, jax.core.Tracer):
        raise TypeError(
            "got images inside of jit, vmap or grad; expected arrays with values, since a sharded scorer starts "
            "programs of its own; inside of a program use the scorer itself, jax.vmap(scorer), and give jit the "
            "sharding of the images"
        )


# What training needs of a mesh.


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """A copy of each array on each device of the mesh; several processes must hold the same values.

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
    """This process's first copy of what `replicate` made, or what a program made of that, without moving it.

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
    """Which images of each batch are for the devices of this process.

    Args:
      mesh: from `data_mesh`.
      batch_size: images in a batch, over all devices.

    Raises:
      ValueError: a batch size that the number of devices does not divide.

    >>> own_columns(data_mesh(jax.devices()[:1]), 12)
    slice(0, 12, None)
    """
    if batch_size % mesh.size:
        below = batch_size // mesh.size * mesh.size
        raise ValueError(
            f"got batch_size={batch_size} with {mesh.size} devices; expected a multiple, so that each device has as "
            f"many images; take batch_size={below or mesh.size} or {below + mesh.size}, or fewer devices"
        )
    a_device = batch_size // mesh.size
    mine = [k for k, device in enumerate(mesh.devices.flat) if device.process_index == jax.process_index()]
    return slice(mine[0] * a_device, (mine[-1] + 1) * a_device)


def split_columns(columns: np.ndarray, mesh: Mesh, batch_size: int) -> Array:
    """One array over all devices from each process's own columns.

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


# Several processes.


def start(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    heartbeat_seconds: int = 100,
    start_seconds: int = 300,
) -> None:
    """Make this process one of several that run the same program; before anything else of JAX.

    Under SLURM, Open MPI and on TPU pods JAX finds the others by itself, and no argument is needed. After it,
    `jax.devices()` are those of all processes, `fit` trains on all of them, and a sharded scorer scores this process's
    own images. When a process dies, or ends with an error, the others end with an error within about
    `heartbeat_seconds`; start them all again to go on from the last checkpoint.

    Args:
      coordinator: address and port of process 0, `host:port`.
      processes: how many there are.
      process: which one this is, from 0.
      heartbeat_seconds: after which silence a process counts as dead.
      start_seconds: how long to wait for the others.

    Raises:
      ValueError: JAX finds no cluster, and not all arguments are given.
      RuntimeError: JAX has already been used, or the others did not come.
    """
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            initialization_timeout=start_seconds,
            heartbeat_timeout_seconds=heartbeat_seconds,
        )
    except ValueError as error:
        raise ValueError(
            f"got coordinator={coordinator!r}, processes={processes}, process={process} where JAX finds no cluster by "
            f"itself ({error}); expected all three, or a start by SLURM (srun), Open MPI or on a TPU pod"
        ) from error
    sys.excepthook = functools.partial(_end_at_once, sys.excepthook)


def _end_at_once(
    hook: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say what happened and end, since Python's way out waits for the others, and they wait for this process."""
    hook(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def share(count: int) -> slice:
    """Which of `count` images this process feeds, such that each is fed by one, and in the order of the processes.

    >>> share(10)
    slice(0, 10, None)
    """
    process, processes = jax.process_index(), jax.process_count()
    return slice(count * process // processes, count * (process + 1) // processes)


def gather(tree: PyTree) -> PyTree:
    """The rows of all processes one after another, on each process; all of them must call it.

    Args:
      tree: arrays, whose first axis may have another length in each process.

    Returns:
      NumPy arrays of the same dtypes, 64 bits included.

    >>> import numpy as np
    >>> gather(np.arange(3)).tolist()
    [0, 1, 2]
    """
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))
    if jax.process_count() > 1 and leaves:
        counts = multihost_utils.process_allgather(np.array([len(leaf) for leaf in leaves]))
        longest = counts.max(axis=0)
        alike = [filled(leaf, length) for leaf, length in zip(leaves, longest, strict=True)]
        # As bytes: JAX would make 32 bits of 64.
        parts = multihost_utils.process_allgather([np.frombuffer(leaf.tobytes(), np.uint8) for leaf in alike])
        leaves = [
            np.concatenate(
                [
                    np.frombuffer(np.asarray(part).tobytes(), leaf.dtype).reshape(leaf.shape)[:count]
                    for part, count in zip(rows, column, strict=True)
                ]
            )
            for leaf, rows, column in zip(alike, parts, counts.T, strict=True)
        ]
    return jax.tree.unflatten(structure, leaves)


def is_first(mesh: Mesh) -> bool:
    """Whether this process is the one that writes files and shows progress.

    >>> is_first(data_mesh())
    True
    """
    return not mesh.is_multi_process or jax.process_index() == 0


_MESSAGE_BYTES = 1024


def on_first(mesh: Mesh, action: Callable[[], T], otherwise: T) -> T:
    """Do something on the first process alone; the others wait for it, and stop where it fails.

    Args:
      mesh: from `data_mesh`.
      action: what to do.
      otherwise: what the others return.

    Raises:
      ProcessError: on the others, where `action` raised; the first raises what `action` raised.

    >>> on_first(data_mesh(), lambda: 3, 4)
    3
    """
    if not mesh.is_multi_process:
        return action()
    result, error = otherwise, None
    if is_first(mesh):
        try:
            result = action()
        except Exception as raised:
            error = raised
    said = f"{type(error).__name__}: {error}".encode()[:_MESSAGE_BYTES] if error else b""
    sent = np.frombuffer(said.ljust(_MESSAGE_BYTES, b"\0"), np.uint8)
    heard = np.asarray(multihost_utils.broadcast_one_to_all(sent)).astype(np.uint8).tobytes().rstrip(b"\0")
    if error is not None:
        raise error
    if heard:
        raise ProcessError(f"got an error in process 0: {heard.decode(errors='replace')}")
    return result


def from_first(mesh: Mesh, tree: PyTree) -> PyTree:
    """The arrays of the first process, on each.

    >>> import numpy as np
    >>> from_first(data_mesh(), np.arange(3)).tolist()
    [0, 1, 2]
    """
    if not mesh.is_multi_process:
        return tree
    return multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, tree))


def check_same(mesh: Mesh, what: str, value: Any) -> None:
    """Stop where not all processes have the same JSON data, rather than train on a mixture.

    Raises:
      ValueError: on all of them.

    >>> check_same(data_mesh(), "model", {"depth": 4})
    """
    if not mesh.is_multi_process:
        return
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    digests = np.asarray(multihost_utils.process_allgather(np.frombuffer(digest, np.uint8)))
    others = np.flatnonzero((digests != digests[0]).any(axis=1)).tolist()
    if others:
        raise ValueError(
            f"got another {what} in the processes {others} than in process 0; expected the same in all; give each "
            "process all images, of which it reads its own share"
        )
