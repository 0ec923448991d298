"""Checks of the arguments of public functions and configs against their annotations."""

import functools
import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, ParamSpec, TypeGuard, TypeVar, Union, get_args, get_origin

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.errors import ArgumentError, ArgumentTypeError, JaxunregError, argument
from jaxunreg.integers import check_integer
from jaxunreg.masked import check_unmasked

P = ParamSpec("P")
R = TypeVar("R")

_ARRAYS = (np.ndarray, jax.Array)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Make a public function refuse arguments whose kind differs from its annotations.

    Kinds are text, numbers, arrays with their dtype and number of axes, classes, and mappings, sequences and tuples of
    these. The function itself checks values and how they fit each other. Arrays of NumPy and JAX are interchangeable,
    and an integer is a number. Annotations of other kinds are not checked.

    Raises:
      ArgumentTypeError: an argument, or a part of it, is of another kind.
      ArgumentError: an array has another number of axes, or masked values.

    >>> @checked
    ... def draw(values: Mapping[str, float], title: str) -> None: ...
    >>> draw({"tiles": None}, "ROC AUC")
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentTypeError: got values['tiles'] of type NoneType; expected a number; pass float(...)
    """
    signature = inspect.signature(function)
    annotations = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.annotation is not parameter.empty
    }

    @functools.wraps(function)
    def door(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # Python says which argument is missing or superfluous.
        for name, value in given.items():
            if name in annotations:
                check_annotated(name, value, annotations[name])
        return function(*args, **kwargs)

    return door


def check_fields(config: Any) -> None:
    """Refuse a dataclass with a field whose kind differs from its annotation.

    Args:
      config: the dataclass. Its own checks cover ranges.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `checked`.

    >>> import dataclasses
    >>> check_fields(dataclasses.make_dataclass("Config", [("tol", float)])("tight"))
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentTypeError: got tol of type str; expected a number; pass float(...)
    """
    for field in fields(config):
        check_annotated(field.name, getattr(config, field.name), field.type)


def check_annotated(name: str, value: Any, annotation: Any) -> None:
    """Check a value against an annotation.

    Args:
      name: name of the argument, with the place in it: `values['tiles'][0]`.
      value: what was given.
      annotation: a class, a protocol, an array of jaxtyping, or a container or a union of them.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `checked`.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in (Any, object):
        return
    if origin in (Union, types.UnionType):
        _check_union(name, value, inner)
    elif origin is Literal:
        if not isinstance(value, tuple({type(one) for one in inner})):
            raise _wrong(name, value, f"one of {list(inner)}")
    elif origin in (Mapping, dict):
        if not isinstance(value, Mapping):
            raise _wrong(name, value, "a mapping", "pass a dict")
        for key, part in value.items():
            check_annotated(f"key {key!r} of {name}", key, inner[0])
            check_annotated(f"{name}[{key!r}]", part, inner[1])
    elif origin is tuple and inner[-1] is not Ellipsis:
        _check_parts(name, _listed(name, value), dict(enumerate(inner)), list)
    elif origin in (Sequence, Collection, Iterable, list, tuple):
        for place, part in enumerate(_listed(name, value)):
            check_annotated(f"{name}[{place}]", part, inner[0])
    elif origin is Callable:
        if not callable(value):
            raise _wrong(name, value, "a function")
    elif hasattr(annotation, "dim_str"):
        _check_array(name, value, annotation)
    elif isinstance(annotation, type):
        _check_class(name, value, annotation)


def _check_union(name: str, value: Any, kinds: tuple[Any, ...]) -> None:
    if value is None and type(None) in kinds:
        return
    errors: list[JaxunregError] = []
    for kind in kinds:
        if kind is not type(None):
            try:
                return check_annotated(name, value, kind)
            except (ArgumentError, ArgumentTypeError) as error:
                errors.append(error)
    last = errors[-1]
    raise type(last)(last.got, " or ".join(dict.fromkeys(error.expected for error in errors)), last.advice)


def _check_parts(name: str, parts: Sequence[Any], kinds: Mapping[Any, Any], kind: type) -> None:
    if len(parts) != len(kinds):
        raise ArgumentError(
            f"{len(parts)} values in {argument(name)}", f"{len(kinds)} of them", f"pass a {kind.__name__}"
        )
    for part, (place, annotation) in zip(parts, kinds.items(), strict=True):
        check_annotated(f"{name}.{place}" if isinstance(place, str) else f"{name}[{place}]", part, annotation)


def _listed(name: str, value: Any) -> Sequence[Any]:
    """Return the parts of a sequence or an array. For an array of numbers the first is enough: the others are alike."""
    if _is_array(value) and value.ndim:
        return list(value[:1] if _is_numeric(value) else value)
    if isinstance(value, str | bytes | Mapping | jax.Array) or not isinstance(value, Collection):
        raise _wrong(name, value, "several values", "pass a list")
    return list(value)


def _is_array(value: Any) -> TypeGuard[np.ndarray | jax.Array]:
    return isinstance(value, _ARRAYS) and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _check_array(name: str, value: Any, annotation: Any) -> None:
    axes = annotation.dim_str.split()
    wanted = f"an array [{', '.join(axes)}]"
    if not _is_array(value):
        raise _wrong(name, value, wanted, "pass a NumPy or JAX array")
    check_unmasked(value, name)
    dtypes = annotation.dtypes
    if value.dtype.kind == "c" or (isinstance(dtypes, Sequence) and value.dtype.name not in dtypes):
        is_float, is_integer = "float32" in dtypes, "int32" in dtypes
        kinds = "real numbers" if is_float and is_integer else "floating point" if is_float else "integers"
        kinds = kinds if is_float or is_integer else dtypes[0]
        raise ArgumentTypeError(f"{argument(name)} of dtype {value.dtype}", kinds, "convert it with .astype")
    if value.ndim != len(axes) and not any(axis.startswith(("*", "...")) for axis in axes):
        raise ArgumentError(
            f"{argument(name)} of shape {list(value.shape)}", wanted, "add the axes that are missing, or take one part"
        )


def _check_class(name: str, value: Any, kind: type) -> None:
    if kind is int:
        check_integer(name, value, at_least=None)
    elif kind is float:
        check_number(name, value)
    elif kind is bool:
        if not isinstance(value, bool | np.bool_):
            raise _wrong(name, value, "True or False", "pass bool(...)")
    elif kind is str:
        if not isinstance(value, str):
            raise _wrong(name, value, "text", "pass str(...)")
    elif kind in _ARRAYS:
        if not _is_array(value):
            raise _wrong(name, value, "an array", "pass a NumPy or JAX array")
        check_unmasked(value, name)
    elif getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False):
        return
    elif not isinstance(value, kind):
        raise _wrong(name, value, f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}")
    elif isinstance(value, tuple) and hasattr(kind, "_fields"):
        _check_parts(name, value, inspect.get_annotations(kind), kind)


def check_number(name: str, value: Any) -> None:
    """Check that an argument is a real number. NaN and infinities are allowed.

    Raises:
      ArgumentTypeError: it is not a number. A truth value is not one.
      ArgumentError: it is an integer that floating point cannot hold.

    >>> check_number("confidence", "high")
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentTypeError: got confidence of type str; expected a number; pass float(...)
    """
    is_array = _is_array(value) and value.ndim == 0 and _is_numeric(value)
    if isinstance(value, bool) or not (is_array or isinstance(value, int | float | np.integer | np.floating)):
        raise _wrong(name, value, "a number", "pass float(...)")
    if isinstance(value, int):
        try:
            float(value)
        except OverflowError as error:
            raise ArgumentError(f"an integer of {value.bit_length()} bits for {argument(name)}", "a number that "
                                "floating point holds", "lower it") from error  # fmt: skip


def _is_numeric(array: Any) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer))


def _wrong(name: str, value: Any, expected: str, advice: str = "") -> ArgumentTypeError:
    shape = f" and shape {list(value.shape)}" if isinstance(value, _ARRAYS) else ""
    return ArgumentTypeError(f"{argument(name)} of type {type(value).__name__}{shape}", expected, advice)
