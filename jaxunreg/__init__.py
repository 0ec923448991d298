"""Unsupervised image anomaly detection with the unregularized score of a variational autoencoder.

`__init__.pyi` lists the public names. They need JAX, Flax and Orbax, which take a second to import. So each name is
imported when it is first used, and `jaxunreg --help` imports none.
"""

import importlib.metadata

import lazy_loader

__version__ = importlib.metadata.version("jaxunreg")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
