"""Measures of how good scores are: for images, for pixels, and against the complexity of the images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
