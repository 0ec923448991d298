"""ONNX nodes for the operations of JAX on elements and on shapes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from jaxunreg.errors import ArgumentError
from jaxunreg.export.onnx_graph import OnnxGraph, Operand, Tensor

Rule: TypeAlias = Callable[[OnnxGraph, Any, Sequence[Operand]], Sequence[Operand]]
"""A function from a graph, an operation of JAX and its operands to its results."""


def cannot(what: str) -> ArgumentError:
    """Return the error for an operation for which this export knows no nodes.

    Args:
      what: the operation in words.
    """
    return ArgumentError(
        what, "what this export knows ONNX nodes for", "write it as StableHLO, which has all operations", field="scorer"
    )


def is_empty(aval: Any) -> bool:
    """Return whether an array has no elements."""
    return any(isinstance(length, int) and length == 0 for length in aval.shape)


def constant_slice(graph: OnnxGraph, operand: Operand, ranges: Sequence[tuple[Any, Any, int]]) -> Operand:
    """Slice the first axes of an operand, with start, stop and step."""
    if isinstance(operand, np.ndarray):
        return operand[tuple(slice(*one) for one in ranges)]
    chosen = [k for k, one in enumerate(ranges) if one != (0, operand.shape[k], 1)]
    if not chosen:
        return operand
    if not all(isinstance(number, int | np.integer) for k in chosen for number in ranges[k]):
        raise cannot("a slice along the batch, whose length is not known yet")
    shape = list(operand.shape)
    for k in chosen:
        shape[k] = len(range(*ranges[k]))
    starts, stops, steps = (np.array([ranges[k][part] for k in chosen], np.int64) for part in range(3))
    return graph.node("Slice", [operand, starts, stops, np.array(chosen, np.int64), steps], shape)


def _shape_of(operands: Sequence[Operand]) -> tuple[Any, ...]:
    """Return the shape that ONNX makes of operands, which it repeats along axes of length one."""
    rank = max(len(one.shape) for one in operands)
    shapes = [(1,) * (rank - len(one.shape)) + tuple(one.shape) for one in operands]
    return tuple(next((length for length in lengths if length != 1), 1) for lengths in zip(*shapes, strict=True))


def _elementwise(kind: str) -> Rule:
    def rule(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
        return [graph.node(kind, operands, _shape_of(operands))]

    return rule


def _compared(kind: str) -> Rule:
    def rule(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
        shape = _shape_of(operands)
        return [graph.node("Not", [graph.node(kind, operands, shape)], shape)]

    return rule


def _composed(make: Callable[[OnnxGraph, Any, Sequence[Operand], np.ndarray], Operand]) -> Rule:
    """Add an operation of one operand that needs a one of its dtype."""

    def rule(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
        return [make(graph, equation, operands, np.ones((), equation.invars[0].aval.dtype))]

    return rule


def _square(graph: OnnxGraph, equation: Any, operands: Sequence[Operand], one: np.ndarray) -> Operand:
    return graph.node("Mul", [operands[0], operands[0]], operands[0].shape)


def _integer_pow(graph: OnnxGraph, equation: Any, operands: Sequence[Operand], one: np.ndarray) -> Operand:
    exponent = equation.params["y"]
    if exponent == 2:
        return _square(graph, equation, operands, one)
    return graph.node("Pow", [operands[0], np.asarray(one * exponent, one.dtype)], operands[0].shape)


def _rsqrt(graph: OnnxGraph, equation: Any, operands: Sequence[Operand], one: np.ndarray) -> Operand:
    return graph.node("Reciprocal", [graph.node("Sqrt", operands, operands[0].shape)], operands[0].shape)


def _expm1(graph: OnnxGraph, equation: Any, operands: Sequence[Operand], one: np.ndarray) -> Operand:
    return graph.node("Sub", [graph.node("Exp", operands, operands[0].shape), one], operands[0].shape)


def _log1p(graph: OnnxGraph, equation: Any, operands: Sequence[Operand], one: np.ndarray) -> Operand:
    return graph.node("Log", [graph.node("Add", [operands[0], one], operands[0].shape)], operands[0].shape)


def _bounded(kind: str) -> Rule:
    """Add the larger or the smaller of two. With a number, it is a bound that joins the layer before."""

    def rule(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
        numbers = [one for one in operands if isinstance(one, np.ndarray) and one.size == 1]
        tensors = [one for one in operands if isinstance(one, Tensor)]
        if len(numbers) == len(tensors) == 1:
            return [graph.bounded(tensors[0], **{kind: numbers[0].reshape(())})]
        return [graph.node({"low": "Max", "high": "Min"}[kind], operands, _shape_of(operands))]

    return rule


def _clamp(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    low, x, high = operands
    raised = graph.node("Max", [x, low], _shape_of([x, low]))
    return [graph.node("Min", [raised, high], _shape_of([raised, high]))]


def _select(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    which, if_false, if_true = operands
    return [graph.node("Where", [which, if_true, if_false], _shape_of(operands))]


def _converted(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    before, after = equation.invars[0].aval.dtype, equation.params["new_dtype"]
    return list(operands) if before == after else [graph.cast(operands[0], after)]


def _same(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    return list(operands)


def _reshaped(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    full = graph.expanded(operands[0], equation.invars[0].aval.shape)
    return [graph.reshaped(full, equation.outvars[0].aval.shape)]


def _broadcast(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    """Keep axes of length one, because the following nodes repeat them as needed."""
    shape = [1] * len(equation.params["shape"])
    for axis, length in zip(equation.params["broadcast_dimensions"], operands[0].shape, strict=True):
        shape[axis] = length
    return [graph.reshaped(operands[0], shape)]


def _transposed(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    return [graph.transposed(operands[0], equation.params["permutation"])]


def _concatenated(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    axis = equation.params["dimension"]
    parts = [
        graph.expanded(one, of.aval.shape)
        for one, of in zip(operands, equation.invars, strict=True)
        if not is_empty(of.aval)
    ]
    return [graph.node("Concat", parts, equation.outvars[0].aval.shape, axis=axis)]


def _sliced(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    params, shape = equation.params, equation.invars[0].aval.shape
    steps = params["strides"] or (1,) * len(shape)
    ranges = list(zip(params["start_indices"], params["limit_indices"], steps, strict=True))
    return [constant_slice(graph, graph.expanded(operands[0], shape), ranges)]


def _gathered(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    """Gather elements by their indices, as for `x[:, ::2, 3]`."""
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    shape = equation.invars[0].aval.shape
    if isinstance(operands[1], np.ndarray) and operands[1].ndim == 1 and not numbers.collapsed_slice_dims:
        starts = dict(zip(numbers.start_index_map, operands[1].tolist(), strict=True))
        ranges = [(starts.get(k, 0), starts.get(k, 0) + size, 1) for k, size in enumerate(sizes)]
        return [constant_slice(graph, graph.expanded(operands[0], shape), ranges)]
    by_index, kept = list(numbers.start_index_map), [k for k in range(len(shape)) if k not in numbers.start_index_map]
    whole = all(sizes[k] == shape[k] for k in kept) and set(numbers.collapsed_slice_dims) == set(by_index)
    if not (whole and isinstance(operands[1], np.ndarray)) or numbers.operand_batching_dims:
        raise cannot("a gather of slices, or by indices that are computed from the image")
    front = graph.transposed(graph.expanded(operands[0], shape), [*by_index, *kept])
    indices = operands[1].astype(np.int64)
    found = graph.node("GatherND", [front, indices], [*indices.shape[:-1], *(shape[k] for k in kept)])
    # The axes of the indices come first, among those that are kept.
    out = len(equation.outvars[0].aval.shape)
    of_indices = iter(range(indices.ndim - 1))
    of_kept = iter(range(indices.ndim - 1, out))
    return [graph.transposed(found, [next(of_kept if k in numbers.offset_dims else of_indices) for k in range(out)])]


def _split(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    full = graph.expanded(operands[0], equation.invars[0].aval.shape)
    sizes = np.array(equation.params["sizes"], np.int64)
    shapes = [out.aval.shape for out in equation.outvars]
    return graph.node_of_several("Split", [full, sizes], shapes, axis=equation.params["axis"])


def _reversed(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    full = graph.expanded(operands[0], equation.invars[0].aval.shape)
    axes = equation.params["dimensions"]
    last, first, back = (np.full(len(axes), value, np.int64) for value in (-1, np.iinfo(np.int64).min, -1))
    return [graph.node("Slice", [full, last, first, np.array(axes, np.int64), back], full.shape)]


def _padded(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    full = graph.expanded(operands[0], equation.invars[0].aval.shape)
    widths = equation.params["padding_config"]
    if any(inner or low < 0 or high < 0 for low, high, inner in widths):
        raise cannot("padding between elements, or a negative one")
    both = np.array([low for low, _, _ in widths] + [high for _, high, _ in widths], np.int64)
    return [graph.node("Pad", [full, both, operands[1]], equation.outvars[0].aval.shape)]


def _reduced(kind: str, axes_since: int) -> Rule:
    """Add a reduction. Its axes are an operand since some version of the operators, and were an attribute before."""

    def rule(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
        full = graph.expanded(operands[0], equation.invars[0].aval.shape)
        axes, shape = list(equation.params["axes"]), equation.outvars[0].aval.shape
        if not axes:
            return [full]
        if graph.opset >= axes_since:
            return [graph.node(kind, [full, np.array(axes, np.int64)], shape, keepdims=0)]
        return [graph.node(kind, [full], shape, keepdims=0, axes=axes)]

    return rule


OPERATIONS: Mapping[str, Rule] = {
    **{
        name: _elementwise(kind)
        for name, kind in {
            "abs": "Abs",
            "add": "Add",
            "add_any": "Add",
            "and": "And",
            "ceil": "Ceil",
            "cos": "Cos",
            "div": "Div",
            "eq": "Equal",
            "erf": "Erf",
            "exp": "Exp",
            "floor": "Floor",
            "ge": "GreaterOrEqual",
            "gt": "Greater",
            "le": "LessOrEqual",
            "log": "Log",
            "logistic": "Sigmoid",
            "lt": "Less",
            "mul": "Mul",
            "neg": "Neg",
            "not": "Not",
            "or": "Or",
            "pow": "Pow",
            "sign": "Sign",
            "sin": "Sin",
            "sqrt": "Sqrt",
            "sub": "Sub",
            "tanh": "Tanh",
        }.items()
    },
    "max": _bounded("low"),
    "min": _bounded("high"),
    "ne": _compared("Equal"),
    "square": _composed(_square),
    "integer_pow": _composed(_integer_pow),
    "rsqrt": _composed(_rsqrt),
    "expm1": _composed(_expm1),
    "log1p": _composed(_log1p),
    "clamp": _clamp,
    "select_n": _select,
    "convert_element_type": _converted,
    "copy": _same,
    "copy_p": _same,
    "stop_gradient": _same,
    "optimization_barrier": _same,
    "reshape": _reshaped,
    "squeeze": _reshaped,
    "expand_dims": _reshaped,
    "broadcast_in_dim": _broadcast,
    "transpose": _transposed,
    "concatenate": _concatenated,
    "slice": _sliced,
    "gather": _gathered,
    "split": _split,
    "rev": _reversed,
    "pad": _padded,
    "reduce_sum": _reduced("ReduceSum", 13),
    "reduce_max": _reduced("ReduceMax", 18),
    "reduce_min": _reduced("ReduceMin", 18),
}
"""Emitters by the name of an operation of JAX. Operands may have axes of length one where JAX has longer ones."""
