"""Detectors: models with a threshold from held-out normal images, how they are made, and how good they are."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
