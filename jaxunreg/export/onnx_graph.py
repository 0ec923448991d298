"""An ONNX graph that grows node by node."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from jaxunreg.errors import ArgumentError, MissingPackageError

# The bytes of larger constants are not compared.
_SMALL = 1024


class Tensor(NamedTuple):
    """A tensor of a graph.

    Attributes:
      name: name in the graph.
      shape: shape in the graph. Along an axis of length one, the array in JAX may be longer: ONNX repeats it if needed.
    """

    name: str
    shape: tuple[Any, ...]


Operand: TypeAlias = Tensor | np.ndarray
"""A tensor, or a constant."""


def import_for_export(name: str) -> Any:
    """Import a package of the extra `export`.

    Raises:
      MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"no usable {name} ({error})",
            "the packages of the extra 'export'",
            "install them with: pip install 'jaxunreg[export]'",
            name,
        ) from error


class OnnxGraph:
    """Nodes and constants of an ONNX graph.

    Args:
      inputs: shape and dtype of each input by its name. A length may be a symbol of `jax.export`.
      opset: version of ONNX's operators.

    Attributes:
      opset: as above.
      inputs: the tensors of the inputs.

    Raises:
      MissingPackageError: onnx is not installed.
    """

    def __init__(self, inputs: Mapping[str, jax.ShapeDtypeStruct], opset: int) -> None:
        self.opset = opset
        self.inputs = [Tensor(name, tuple(one.shape)) for name, one in inputs.items()]
        self._described = dict(inputs)
        self._onnx = import_for_export("onnx")
        self._nodes: list[Any] = []
        self._constants: dict[str, np.ndarray] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._bounds: dict[str, tuple[Tensor, np.ndarray | None]] = {}
        self._count = 0

    def node(self, kind: str, operands: Sequence[Operand], shape: Sequence[Any], **attributes: Any) -> Tensor:
        """Add a node with one result of a shape."""
        return self.node_of_several(kind, operands, [shape], **attributes)[0]

    def node_of_several(
        self, kind: str, operands: Sequence[Operand], shapes: Sequence[Sequence[Any]], **attributes: Any
    ) -> list[Tensor]:
        """Add a node with a result of each shape."""
        results = [Tensor(self._new_name(kind.lower()), tuple(shape)) for shape in shapes]
        self._add(kind, [self._name(operand) for operand in operands], [one.name for one in results], **attributes)
        return results

    def reshaped(self, operand: Operand, shape: Sequence[Any]) -> Operand:
        """Reshape an operand. One length of the shape may be a symbol."""
        if isinstance(operand, np.ndarray):
            return operand.reshape(tuple(shape))
        if operand.shape == tuple(shape):
            return operand
        lengths = [length if isinstance(length, int) else -1 for length in shape]
        return self.node("Reshape", [operand, np.array(lengths, np.int64)], shape)

    def transposed(self, operand: Operand, order: Sequence[int]) -> Operand:
        """Transpose an operand."""
        if list(order) == sorted(order):
            return operand
        if isinstance(operand, np.ndarray):
            return np.ascontiguousarray(operand.transpose(order))
        return self.node("Transpose", [operand], [operand.shape[k] for k in order], perm=list(order))

    def expanded(self, operand: Operand, shape: Sequence[Any]) -> Operand:
        """Repeat an operand along its axes of length one, to a shape."""
        if operand.shape == tuple(shape):
            return operand
        if isinstance(operand, np.ndarray) and all(isinstance(length, int) for length in shape):
            return np.broadcast_to(operand, tuple(shape))
        lengths = [np.array([one], np.int64) if isinstance(one, int) else self._length(one) for one in shape]
        if all(isinstance(length, np.ndarray) for length in lengths):
            return self.node("Expand", [operand, np.array(shape, np.int64)], shape)
        return self.node("Expand", [operand, self.node("Concat", lengths, (len(shape),), axis=0)], shape)

    def bounded(self, tensor: Tensor, low: np.ndarray | None = None, high: np.ndarray | None = None) -> Tensor:
        """Bound a tensor from below by `low`, or from above by `high`, which joins the node of a lower bound."""
        source, other = self._bounds.get(tensor.name, (tensor, None))
        if other is not None and low is None:
            low, tensor = other, source
        bounds = [self._name(low) if low is not None else "", self._name(high) if high is not None else ""]
        result = Tensor(self._new_name("clip"), tensor.shape)
        self._add("Clip", [tensor.name, *bounds], [result.name])
        if high is None:
            self._bounds[result.name] = (tensor, low)
        return result

    def cast(self, operand: Operand, dtype: Any) -> Tensor:
        """Cast an operand to another dtype."""
        return self.node("Cast", [operand], operand.shape, to=self._kind(dtype))

    def model(self, results: Mapping[str, tuple[Operand, Any]]) -> Any:
        """Return the graph as an ONNX model.

        Args:
          results: for each output's name its operand, and an array or a description with its shape and dtype.
        """
        helper = self._onnx.helper
        for name, (operand, of) in results.items():
            self._add("Identity", [self._name(self.expanded(operand, of.shape))], [name])

        def described(name: str, of: Any) -> Any:
            shape = [length if isinstance(length, int) else str(length) for length in of.shape]
            return helper.make_tensor_value_info(name, self._kind(of.dtype), shape)

        opset = helper.make_opsetid("", self.opset)
        graph = helper.make_graph(
            self._needed(results),
            "jaxunreg",
            [described(name, of) for name, of in self._described.items()],
            [described(name, of) for name, (_, of) in results.items()],
            [self._onnx.numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        version = helper.find_min_ir_version_for([opset])
        return helper.make_model(graph, opset_imports=[opset], ir_version=version, producer_name="jaxunreg")

    def _needed(self, results: Iterable[str]) -> list[Any]:
        """Return the nodes that the results need, in their order."""
        wanted, kept = set(results), []
        for node in reversed(self._nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        return kept[::-1]

    def _add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        # A node has the name of its result, by which tools exclude it or show it.
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))

    def _new_name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def _name(self, operand: Operand) -> str:
        if isinstance(operand, Tensor):
            return operand.name
        content = operand.tobytes() if operand.nbytes <= _SMALL else self._new_name("large").encode()
        key = (operand.dtype.str, operand.shape, content)
        if key not in self._known:
            self._known[key] = self._new_name("constant")
            self._constants[self._known[key]] = np.ascontiguousarray(operand).reshape(operand.shape)
        return self._known[key]

    def _kind(self, dtype: Any) -> int:
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def _length(self, symbol: Any) -> Tensor:
        """Return a length that is known when the graph runs: the length of an input."""
        for tensor in self.inputs:
            for axis, length in enumerate(tensor.shape):
                if not isinstance(length, int) and length == symbol:
                    shape = self.node("Shape", [tensor], (len(tensor.shape),))
                    return self.node("Slice", [shape, *(np.array([k], np.int64) for k in (axis, axis + 1, 0))], (1,))
        raise ArgumentError(
            f"a length of {symbol}", "one that is fixed, or that of an axis of an input", field="scorer"
        )
