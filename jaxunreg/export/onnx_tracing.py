"""A function of JAX as an ONNX graph: it is traced, its operations follow one after another, constants come first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxunreg.export.onnx_graph import OnnxGraph, Operand
from jaxunreg.export.onnx_layers import LAYERS
from jaxunreg.export.onnx_operations import OPERATIONS, cannot, constant_slice, is_empty

# The most steps of a loop. Each step has its own nodes.
_MOST_STEPS = 512

# Operations that call a function, and where they keep it.
_CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "checkpoint",
    "remat",
    "remat2",
    "custom_jvp_call",
    "custom_vjp_call",
)
_CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")

# Constants are enlarged when the graph is loaded, not in the file.
_WIDENING = ("convert_element_type", "broadcast_in_dim")


def to_onnx(
    function: Callable[..., Sequence[Any]],
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    outputs: Sequence[str],
    *,
    opset: int = 17,
) -> Any:
    """Trace a function, and write it as an ONNX model.

    It knows the operations of networks of convolutions and matrix products. It writes out calls, and loops of up to 512
    steps.

    Args:
      function: maps arrays to a tuple of arrays. Arrays that it closes over are constants of the graph.
      inputs: shape and dtype of each argument, by its name in the graph. One length may be a symbol.
      outputs: names of the results.
      opset: version of ONNX's operators, 13 or later.

    Returns:
      The model, a `ModelProto`.

    Raises:
      MissingPackageError: onnx is not installed.
      ArgumentError: the function has an operation without known nodes.
    """
    traced = jax.make_jaxpr(lambda *arrays: tuple(function(*arrays)))(*inputs.values())
    graph = OnnxGraph(inputs, opset)
    results = _run(graph, traced.jaxpr, [np.asarray(one) for one in traced.consts], graph.inputs)
    return graph.model(dict(zip(outputs, zip(results, traced.out_avals, strict=True), strict=True)))


def _run(graph: OnnxGraph, jaxpr: Any, consts: Sequence[Operand], arguments: Sequence[Operand]) -> list[Operand]:
    known: dict[Any, Operand] = dict(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))

    def value(variable: Any) -> Operand:
        if isinstance(variable, core.Literal):
            return np.asarray(variable.val, np.dtype(variable.aval.dtype))  # type: ignore[attr-defined]
        return known[variable]

    for equation in jaxpr.eqns:
        results = _results(graph, equation, [value(variable) for variable in equation.invars])
        known.update(zip(equation.outvars, results, strict=True))
    return [value(variable) for variable in jaxpr.outvars]


def _results(graph: OnnxGraph, equation: Any, operands: list[Operand]) -> Sequence[Operand]:
    kind = equation.primitive.name
    if kind == "scan":
        return _loop(graph, equation, operands)
    if kind in _CALLS:
        called = next(equation.params[name] for name in _CALLED if name in equation.params)
        inner, consts = (called.jaxpr, called.consts) if hasattr(called, "consts") else (called, [])
        return _run(graph, inner, [np.asarray(one) for one in consts], operands)
    if all(is_empty(one.aval) for one in equation.outvars):
        # The following operations leave it out.
        return [np.zeros(0, one.aval.dtype) for one in equation.outvars]
    constants = [one for one in operands if isinstance(one, np.ndarray)]
    if len(constants) == len(operands) and _can_be_computed(equation):
        full = [np.broadcast_to(one, of.aval.shape) for one, of in zip(constants, equation.invars, strict=True)]
        found = equation.primitive.bind(*(jnp.asarray(one) for one in full), **equation.params)
        return [np.asarray(one) for one in (found if equation.primitive.multiple_results else [found])]
    if kind in OPERATIONS:
        return OPERATIONS[kind](graph, equation, operands)
    if kind in LAYERS:
        # Their nodes need an operand in its full length.
        lengthened = [graph.expanded(one, of.aval.shape) for one, of in zip(operands, equation.invars, strict=True)]
        return LAYERS[kind](graph, equation, lengthened)
    raise cannot(f"the operation {kind} of JAX")


def _can_be_computed(equation: Any) -> bool:
    """Return whether to compute an operation of constants now: not if its result would only be larger."""
    before, after = ([one.aval for one in variables] for variables in (equation.invars, equation.outvars))
    if not all(isinstance(length, int) for aval in after for length in aval.shape):
        return False
    larger = sum(map(_nbytes, after)) > sum(map(_nbytes, before))
    return not (larger and equation.primitive.name in _WIDENING)


def _nbytes(aval: Any) -> int:
    return int(aval.size * aval.dtype.itemsize)


def _loop(graph: OnnxGraph, equation: Any, operands: list[Operand]) -> list[Operand]:
    """Write out a loop over arrays, step by step."""
    params = equation.params
    length, inner = params["length"], params["jaxpr"]
    if length > _MOST_STEPS:
        raise cannot(f"a loop of {length} steps, more than {_MOST_STEPS}")
    fixed, carried = _fixed_and_carried(params)
    consts, carry, arrays = operands[:fixed], operands[fixed : fixed + carried], operands[fixed + carried :]
    shapes = [of.aval.shape for of in equation.invars[fixed + carried :]]
    rows: list[list[Operand]] = []
    steps = range(length)
    for k in reversed(steps) if params["reverse"] else steps:
        parts = [_row(graph, graph.expanded(one, shape), k) for one, shape in zip(arrays, shapes, strict=True)]
        found = _run(graph, inner.jaxpr, [np.asarray(one) for one in inner.consts], [*consts, *carry, *parts])
        carry = found[:carried]
        rows.append(found[carried:])
    if params["reverse"]:
        rows.reverse()
    stacked: list[Operand] = []
    for number, of in enumerate(equation.outvars[carried:]):
        one_row = (1, *of.aval.shape[1:])
        parts = [graph.reshaped(graph.expanded(row[number], one_row[1:]), one_row) for row in rows]
        stacked.append(graph.node("Concat", parts, of.aval.shape, axis=0))
    return [*carry, *stacked]


def _fixed_and_carried(params: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many operands of a loop are the same in each step, and how many go from step to step."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    fixed, carried, _ = params["ft_in"].unpack()  # from JAX 0.12 on
    return len(fixed), len(carried)


def _row(graph: OnnxGraph, operand: Operand, k: int) -> Operand:
    if isinstance(operand, np.ndarray):
        return operand[k]
    return graph.reshaped(constant_slice(graph, operand, [(k, k + 1, 1)]), operand.shape[1:])
