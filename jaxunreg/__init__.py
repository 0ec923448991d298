"""Unsupervised image anomaly detection with the unregularized score of a variational autoencoder.

The public names are those of `__init__.pyi`. They bring JAX, Flax and Orbax with them, which take a second to import.
So each is imported when it is first asked for, and `jaxunreg --help` does without.
"""

import importlib.metadata

import lazy_loader

__version__ = importlib.metadata.version("jaxunreg")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
