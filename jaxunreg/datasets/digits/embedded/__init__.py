"""House-number-like digits drawn from a seed, which need no download."""

from jaxunreg.datasets.digits.embedded.glyphs import fonts_fingerprint
from jaxunreg.datasets.digits.embedded.synth import synth_digits

__all__ = ["fonts_fingerprint", "synth_digits"]
