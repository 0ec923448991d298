"""Scores at detection time: D, A and M of images, of patches and of pixels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
