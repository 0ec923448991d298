"""ONNX nodes for matrix products, convolutions and pooling."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxunreg.export.onnx_graph import OnnxGraph, Operand
from jaxunreg.export.onnx_operations import Rule, cannot


def _product(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    """Add a matrix product. Axes are shared, own, summed on the left, and shared, summed, own on the right."""
    (summed, shared) = equation.params["dimension_numbers"]
    left, right = operands
    if isinstance(right, np.ndarray) and (len(left.shape), right.ndim, *summed) == (4, 2, (3,), (0,)):
        return [_of_each_place(graph, left, right)]
    owns = [
        [k for k in range(len(one.shape)) if k not in (*sums, *shares)]
        for one, sums, shares in zip(operands, summed, shared, strict=True)
    ]
    (left_own, right_own) = owns
    lengths = [left.shape[k] for k in shared[0]]
    inner = math.prod(left.shape[k] for k in summed[0])

    def flat(lengths: Sequence[Any]) -> Any:
        # A symbolic length is kept apart from the others, so that no product with it is needed.
        return math.prod(lengths) if lengths else 1

    rows, columns = flat([left.shape[k] for k in left_own]), flat([right.shape[k] for k in right_own])
    a = graph.reshaped(graph.transposed(left, [*shared[0], *left_own, *summed[0]]), [*lengths, rows, inner])
    b = graph.reshaped(graph.transposed(right, [*shared[1], *summed[1], *right_own]), [*lengths, inner, columns])
    product = graph.node("MatMul", [a, b], [*lengths, rows, columns])
    return [graph.reshaped(product, equation.outvars[0].aval.shape)]


def _of_each_place(graph: OnnxGraph, maps: Operand, matrix: np.ndarray) -> Operand:
    """Multiply each place of maps by a matrix, as a convolution, which runtimes join with its neighbours."""
    images, rows, columns, _ = maps.shape
    kernel = np.ascontiguousarray(matrix.T)[:, :, None, None]
    y = graph.node("Conv", [graph.transposed(maps, (0, 3, 1, 2)), kernel], (images, matrix.shape[1], rows, columns))
    return graph.transposed(y, (0, 2, 3, 1))


def _convolution(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
    params = equation.params
    numbers = params["dimension_numbers"]
    if params["batch_group_count"] != 1:
        raise cannot("a convolution whose batch is in groups")
    x = graph.transposed(operands[0], numbers.lhs_spec)
    kernel = graph.transposed(operands[1], numbers.rhs_spec)
    out = [equation.outvars[0].aval.shape[k] for k in numbers.out_spec]
    size, group = kernel.shape[2:], params["feature_group_count"]
    padding, dilation = params["padding"], params["lhs_dilation"]
    if all(step == 1 for step in dilation):
        y: Operand = graph.node(
            "Conv",
            [x, kernel],
            out,
            group=group,
            strides=list(params["window_strides"]),
            dilations=list(params["rhs_dilation"]),
            pads=_pads(padding),
        )
    else:
        if group != 1 or any(step != 1 for step in (*params["window_strides"], *params["rhs_dilation"])):
            raise cannot("a transposed convolution with groups, with a stride or with a dilation")
        # It scatters, so its kernel is turned. The padding of the gathering convolution gives the parts to cut off.
        turned = _turned(kernel)
        pads = _pads([(k - 1 - low, k - 1 - high) for k, (low, high) in zip(size, padding, strict=True)])
        y = graph.node("ConvTranspose", [x, turned], out, strides=list(dilation), pads=pads)
    order = [numbers.out_spec.index(k) for k in range(len(out))]
    return [graph.transposed(y, order)]


def _turned(kernel: Operand) -> np.ndarray:
    if not isinstance(kernel, np.ndarray):
        raise cannot("a transposed convolution whose kernel is computed from the image")
    axes = tuple(range(2, kernel.ndim))
    return np.ascontiguousarray(np.flip(kernel, axes).swapaxes(0, 1))


def _pads(padding: Sequence[tuple[int, int]]) -> list[int]:
    if any(width < 0 for pair in padding for width in pair):
        raise cannot("a negative padding")
    return [low for low, _ in padding] + [high for _, high in padding]


def _pooled(kind: str, scaled: bool) -> Rule:
    """Add the maximum or the sum over windows of the axes between the first and the last one."""

    def rule(graph: OnnxGraph, equation: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
        params = equation.params
        window, strides, padding = (params[name] for name in ("window_dimensions", "window_strides", "padding"))
        dilated = (*params["base_dilation"], *params["window_dilation"])
        if window[0] != 1 or window[-1] != 1 or any(step != 1 for step in dilated):
            raise cannot("windows over images or channels, or with a dilation")
        rank = len(window)
        x = graph.transposed(operands[0], [0, rank - 1, *range(1, rank - 1)])
        shape = equation.outvars[0].aval.shape
        more = {"count_include_pad": 1} if scaled else {}
        y: Operand = graph.node(
            kind,
            [x],
            [shape[0], shape[-1], *shape[1:-1]],
            kernel_shape=list(window[1:-1]),
            strides=list(strides[1:-1]),
            pads=_pads(padding[1:-1]),
            **more,
        )
        if scaled:
            y = graph.node("Mul", [y, np.array(math.prod(window), equation.invars[0].aval.dtype)], y.shape)
        return [graph.transposed(y, [0, *range(2, rank), 1])]

    return rule


LAYERS: Mapping[str, Rule] = {
    "dot_general": _product,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _pooled("MaxPool", scaled=False),
    "reduce_window_sum": _pooled("AveragePool", scaled=True),
}
"""Emitters by the name of an operation of JAX. Operands have the same lengths as in JAX."""
