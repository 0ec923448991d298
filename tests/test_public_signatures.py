"""What public signatures name: arrays, this package's own types and protocols, and no type of the network library."""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from typing import Any

import jaxunreg


def faces() -> Iterator[Any]:
    yield jaxunreg
    for found in pkgutil.walk_packages(jaxunreg.__path__, "jaxunreg."):
        if found.ispkg:
            yield importlib.import_module(found.name)


def annotations(where: str, function: Any) -> Iterator[tuple[str, Any]]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a type that has none
        return
    for name, parameter in signature.parameters.items():
        yield f"{where}({name})", parameter.annotation
    yield f"{where} ->", signature.return_annotation


def public_annotations() -> Iterator[tuple[str, Any]]:
    for face in faces():
        for name in getattr(face, "__all__", ()):
            value, where = getattr(face, name), f"{face.__name__}.{name}"
            if callable(value):
                yield from annotations(where, value)
            if inspect.isclass(value):
                for method, member in vars(value).items():
                    inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
                    if not method.startswith("_") and callable(inner):
                        yield from annotations(f"{where}.{method}", inner)


def types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from types_in(part)


def test_no_type_of_flax_is_in_a_public_signature():
    found = list(public_annotations())
    assert len(found) > 1000
    of_flax = {
        where
        for where, annotation in found
        for kind in types_in(annotation)
        if "flax" in (kind if isinstance(kind, str) else str(getattr(kind, "__module__", "")))
    }
    # Linen itself adds this argument to the constructor of each module.
    assert {where for where in of_flax if not where.endswith("(parent)")} == set()
    assert "jaxunreg.VAE(parent)" in of_flax
