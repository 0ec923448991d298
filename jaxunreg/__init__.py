"""Unsupervised image anomaly detection with the unregularized score of a variational autoencoder."""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING

__version__ = importlib.metadata.version("jaxunreg")

if TYPE_CHECKING:
    from jaxunreg.public import *  # noqa: F403
else:
    # A type checker that saw this function would take any name for an attribute.
    def __getattr__(name: str) -> object:
        """Import the names of `jaxunreg.public` when the first of them is asked for.

        They bring JAX, flax and orbax with them, which take a second to import. `jaxunreg --help` does without.
        """
        # Python asks every module for names like __path__.
        if name == "__all__" or not name.startswith("__"):
            public = importlib.import_module("jaxunreg.public")
            globals().update({shown: getattr(public, shown) for shown in public.__all__}, __all__=public.__all__)
        if name not in globals():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("jaxunreg.public").__all__})
