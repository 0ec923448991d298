"""Show doctests in docstrings as code, because Markdown takes `>>>` for a quotation."""

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^(?P<indent> *)>>> .*?(?=\n *\n|\Z)", re.MULTILINE | re.DOTALL)


def fenced(text: str) -> str:
    r"""Return a docstring with a fence around each doctest.

    >>> fenced("Add.\n\n>>> 1 + 1\n2")
    'Add.\n\n```pycon\n>>> 1 + 1\n2\n```'
    """
    return _DOCTEST.sub(lambda found: f"{found['indent']}```pycon\n{found[0]}\n{found['indent']}```", text)


class Doctests(griffe.Extension):
    """The extension that mkdocstrings calls for each object that it shows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Mark the doctests of an object."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
