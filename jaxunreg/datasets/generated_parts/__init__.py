"""A machined part drawn from a seed, with and without defects whose masks are exact."""

from jaxunreg.datasets.generated_parts.synth import Parts, synth_parts
from jaxunreg.datasets.generated_parts.writing import write_parts

__all__ = ["Parts", "synth_parts", "write_parts"]
